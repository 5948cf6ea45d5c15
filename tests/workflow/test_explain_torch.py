"""From torch to a file: the module whose node is wrong is named, and torch's own answers count."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from rarn_edge.contract.artifact import Artifact
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.onnx_graph import LoadedModel, load_graph, save_artifact
from rarn_edge.parity.explain import first_fault
from rarn_edge.train.checkpoint import Weights
from rarn_edge.workflow.explain_torch import explain_torch, last_tensors, module_outputs

Cli = Callable[..., subprocess.CompletedProcess[str]]
FACES = synthetic_faces(8, seed=8)
MODULE = "backbone.stages.1.0.conv1"


@pytest.fixture(autouse=True)
def _one_export(request: pytest.FixtureRequest, exported: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fresh export is that of the common weights, made once; on the command line it is made anew."""
    if "cli" not in request.fixturenames:
        monkeypatch.setattr("rarn_edge.workflow.explain_torch.export_weights", lambda _: LoadedModel.read(exported))


def with_bias(artifact: Artifact, path: Path, change: Callable[[np.ndarray], np.ndarray]) -> Artifact:
    """A copy whose node of `MODULE` has another bias."""
    model = load_graph(artifact.path)
    node = next(n for n in model.graph.node if n.op_type == "Conv" and n.input[1] == f"{MODULE}.weight")
    tensor = next(t for t in model.graph.initializer if t.name == node.input[2])
    changed = np.ascontiguousarray(change(numpy_helper.to_array(tensor)), dtype=np.float32)
    tensor.CopyFrom(numpy_helper.from_array(changed, tensor.name))
    return save_artifact(model, artifact.contract, path)


def test_a_right_file_has_no_fault(weights: Weights, simplified: Artifact) -> None:
    rows = explain_torch(weights, simplified, FACES.images)
    assert first_fault(rows) is None
    named = {row.node.split(", ")[0] for row in rows}
    assert {MODULE, "classifier"} <= named
    assert named - {"forward"} <= {path for path, _ in weights.model().named_modules()}


def test_the_module_of_a_dropped_bias_is_named(weights: Weights, simplified: Artifact, tmp_path: Path) -> None:
    rows = explain_torch(weights, with_bias(simplified, tmp_path / "x.onnx", np.zeros_like), FACES.images)
    (fault,) = [row for row in rows if row.cause]  # what follows is right by itself
    assert fault.node.startswith(f"{MODULE}, ")
    assert fault.cause == "its bias is all zeros"


def test_a_changed_function_between_modules_is_named(weights: Weights, simplified: Artifact, tmp_path: Path) -> None:
    """An operation that is no module of its own: the node, inside the module that calls it."""
    model = load_graph(simplified.path)
    node = next(n for n in model.graph.node if n.op_type == "Resize")
    for attribute in node.attribute:
        if attribute.name == "coordinate_transformation_mode":
            attribute.s = b"align_corners"
    mutant = save_artifact(model, simplified.contract, tmp_path / "x.onnx")
    fault = first_fault(explain_torch(weights, mutant, FACES.images))
    assert fault is not None
    assert (fault.node, fault.tensor) == (f"fusion, {node.name}", node.output[0])


def test_torch_counts_where_the_export_is_wrong(
    weights: Weights, exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files that are wrong alike: only what the hooks took can tell."""
    wrong = with_bias(exported, tmp_path / "wrong.onnx", lambda bias: bias + 1e-3 * np.abs(bias).max())
    monkeypatch.setattr("rarn_edge.workflow.explain_torch.export_weights", lambda _: LoadedModel.read(wrong))
    fault = first_fault(explain_torch(weights, wrong, FACES.images))
    assert fault is not None
    assert fault.node.startswith(f"{MODULE}, ")


def test_hooks_take_what_was_answered_and_are_gone_again() -> None:
    twice = nn.ReLU(inplace=True)
    model = nn.Sequential(nn.Conv2d(1, 2, 1), twice, nn.Conv2d(2, 2, 1), twice).eval()
    inputs = np.random.default_rng(0).normal(size=(3, 1, 4, 4)).astype(np.float32)
    answers = module_outputs(model, inputs)
    assert list(answers) == ["0", "2"]
    with torch.no_grad():
        np.testing.assert_array_equal(answers["0"], model[0](torch.from_numpy(inputs)).numpy())
    assert answers["0"].min() < 0  # not what the ReLU made of it in place
    assert not any(module._forward_hooks for module in model.modules())


def test_a_graph_of_another_exporter_names_no_modules() -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    assert last_tensors(onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], []))) == {}


def test_on_the_command_line(cli: Cli, weights_file: Path, simplified: Artifact, tmp_path: Path) -> None:
    with_bias(simplified, tmp_path / "x.onnx", np.zeros_like)
    done = cli("parity", tmp_path / "x.onnx", "--weights", weights_file, "--explain")
    assert done.returncode == 1
    assert f"torch -> x.onnx: look at {MODULE}, " in done.stderr
    assert "its bias is all zeros" in done.stderr
