"""Files that are wrong by one number, and a file of another seed: the step that should catch each does, and the node is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.onnx_graph import load_graph, save_artifact
from rarn_edge.parity.explain import explain, first_fault
from rarn_edge.parity.inputs import show
from rarn_edge.parity.outputs import check_same_model
from rarn_edge.parity.report import compare_forms
from rarn_edge.parity.steps import Step
from rarn_edge.pipeline.calibrate import ranges_of
from rarn_edge.pipeline.export import export_weights
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.train.checkpoint import Weights
from rarn_edge.workflow.explain_torch import explain_torch
from rarn_edge.workflow.parity import torch_form

FACES = synthetic_faces(21, seed=8)


def failed(artifacts: list[Artifact], weights: Weights | None = None) -> set[tuple[str, str]]:
    """Kind and first form of each step on faces that fails."""
    shown = show(FACES, None, "21 faces", artifacts[0].spec.preprocess)
    start = None if weights is None else torch_form(weights, shown)
    steps: tuple[Step, ...] = compare_forms(artifacts, shown, start, threads=1)[0].steps
    return {(h.measured.kind, h.measured.before) for h in steps if not h.passed and h.measured.inputs == "faces"}


@pytest.fixture(scope="module")
def trained(
    shipped_float32: Callable[..., Artifact], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Artifact, Artifact]:
    """A shipped model in float32 and INT8: what passes every step before it is changed."""
    float32 = shipped_float32("rarn-s")
    ranges = ranges_of("rarn-s", float32.contract.provenance["weights_sha256"])
    out = tmp_path_factory.mktemp("trained") / "rarn-s.int8.onnx"
    return float32, quantize(float32, Target.X86_AVX2, ranges, out).artifact


def test_the_right_files_pass(trained: tuple[Artifact, Artifact]) -> None:
    assert failed(list(trained)) == set()


def dequantizes(model: onnx.ModelProto, what: str) -> onnx.NodeProto:
    """What dequantizes the first kernel of a deep 3x3 convolution, or the tensor that goes into it."""
    made = {output: node for node in model.graph.node for output in node.output}
    sizes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    convs = [n for n in model.graph.node if n.op_type == "Conv" and made[n.input[1]].op_type == "DequantizeLinear"]
    node = [n for n in convs if sizes[made[n.input[1]].input[0]][-1] == 3][2]
    return made[node.input[1 if what == "weight" else 0]]


def change(model: onnx.ModelProto, node: onnx.NodeProto, index: int, factor: float, shift: int) -> None:
    """Give this node alone another scale (input 1) or zero point (input 2)."""
    held = next(t for t in model.graph.initializer if t.name == node.input[index])
    array = numpy_helper.to_array(held)
    other = (array.astype(np.float64) * factor + shift).astype(array.dtype)
    node.input[index] = f"{node.input[index]}/mutant"
    model.graph.initializer.append(numpy_helper.from_array(other, node.input[index]))


@pytest.mark.parametrize(
    ("what", "index", "factor", "shift", "cause"),
    [
        ("weight", 1, 2.0, 0, "its weight is 2 times what it was"),
        ("activation", 1, 2.0, 0, "dequantized with another; its values are 2 times what they were"),
        ("activation", 2, 1.0, 6, "dequantized with another; its values are shifted by"),
    ],
    ids=["weight scale doubled", "scale doubled", "zero point shifted"],
)
def test_a_wrong_scale_or_zero_point(
    trained: tuple[Artifact, Artifact], tmp_path: Path, what: str, index: int, factor: float, shift: int, cause: str
) -> None:
    float32, right = trained
    model = load_graph(right.path)
    node = dequantizes(model, what)
    reader = next(n for n in model.graph.node if node.output[0] in n.input)
    change(model, node, index, factor, shift)
    mutant = save_artifact(model, right.contract, tmp_path / "mutant.onnx")
    before = f"{float32.path.name} on cpu"
    assert failed([float32, mutant]) == {("quantize", before), ("int8", before)}  # no kernel is to blame
    fault = first_fault(explain(float32, mutant, FACES.images))
    assert fault is not None
    assert fault.tensor in (node.output[0], *reader.output)
    assert cause in (fault.cause or "")


def test_another_seed_without_its_hash(weights: Weights, other_weights: Weights, tmp_path: Path) -> None:
    """Nothing in the file says so: only the answers do."""
    foreign = export_weights(other_weights).save(tmp_path / "foreign.onnx")
    provenance = {key: value for key, value in foreign.contract.provenance.items() if key != "weights_sha256"}
    contract = replace(foreign.contract, provenance=provenance)
    unknown = save_artifact(load_graph(foreign.path), contract, tmp_path / "unknown.onnx")
    check_same_model([unknown], weights.spec, weights.sha256)
    assert failed([unknown], weights) == {("float", "torch")}
    rows = explain_torch(weights, unknown, FACES.images)
    fault = first_fault(rows)
    assert fault is rows[0]
    assert fault.node.startswith("backbone.stem.0, ")
    assert "its weight is another" in (fault.cause or "")
