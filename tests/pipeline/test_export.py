"""An exported file is what was asked for, and a file that is not never gets its name."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

import rarn_edge
from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import GateError, InputError
from rarn_edge.models.catalog import find_model
from rarn_edge.models.count import bake
from rarn_edge.onnx_graph import opset
from rarn_edge.pipeline import export as to_onnx
from rarn_edge.pipeline.export import OPSET, check_export, export
from rarn_edge.train.checkpoint import Weights

SPEC = find_model("rarn-n").spec
Change = Callable[[onnx.ModelProto], None]


def test_one_file_with_the_names_and_opset_asked_for(exported: Artifact) -> None:
    graph = onnx.load(exported.path, load_external_data=False)
    assert opset(graph) == OPSET
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in graph.graph.initializer)
    assert [value.name for value in graph.graph.input] == ["input"]
    assert [value.name for value in graph.graph.output] == ["logits"]
    assert list(exported.path.parent.iterdir()) == [exported.path]
    onnx.checker.check_model(graph, full_check=True)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("form", ["exported", "simplified"])
def test_answers_as_torch_at_any_batch(request: pytest.FixtureRequest, weights: Weights, form: str, batch: int) -> None:
    artifact: Artifact = request.getfixturevalue(form)
    inputs = to_input(synthetic_faces(batch, seed=6).images, SPEC.preprocess)
    (answer,) = open_unoptimised(artifact.path).run(["logits"], {"input": inputs})
    with torch.no_grad():
        expected = weights.model()(torch.from_numpy(inputs)).numpy()
    assert answer.shape == (batch, 7)
    np.testing.assert_allclose(answer, expected, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(answer.argmax(1), expected.argmax(1))


def test_contract_is_readable_with_onnxruntime_alone(exported: Artifact, weights: Weights) -> None:
    session = ort.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    contract = json.loads(session.get_modelmeta().custom_metadata_map["rarn_edge"])
    assert ModelSpec.from_dict(contract["spec"]) == weights.spec
    assert (contract["precision"], contract["target"]) == ("float32", None)
    assert contract["parameters"] == 384_364
    assert contract["multiply_adds"] == 9_690_440
    provenance = contract["provenance"]
    assert provenance["weights_sha256"] == weights.sha256
    assert {key: provenance[key] for key in weights.provenance} == weights.provenance
    assert provenance["torch"] == torch.__version__
    assert provenance["onnx"] == onnx.__version__


def change_weight(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(1.01 * numpy_helper.to_array(tensor), tensor.name))


def fix_batch(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2


def rename_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "scores"
    for node in model.graph.node:
        node.output[:] = ["scores" if name == "logits" else name for name in node.output]


def rename_input(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "image"
    for node in model.graph.node:
        node.input[:] = ["image" if name == "input" else name for name in node.input]


def lower_opset(model: onnx.ModelProto) -> None:
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = OPSET - 1


CHANGES: list[tuple[Change, str]] = [
    (change_weight, "logits differ from torch by"),
    (fix_batch, "batch 1 does not run, the batch axis is fixed"),
    (rename_output, "names .*'scores'.*, expected input -> logits"),
    (rename_input, "names .*'image'.*, expected input -> logits"),
    (lower_opset, f"asked for opset {OPSET}, torch wrote {OPSET - 1}"),
]
CHANGE_NAMES = [change.__name__ for change, _ in CHANGES]


def changed(artifact: Artifact, change: Change) -> onnx.ModelProto:
    model = onnx.load(artifact.path)
    change(model)
    return model


def test_right_file_passes(exported: Artifact, weights: Weights) -> None:
    """The control of what follows."""
    check_export(onnx.load(exported.path), bake(weights.model()), SPEC)


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=CHANGE_NAMES)
def test_wrong_file_is_caught(exported: Artifact, weights: Weights, change: Change, message: str) -> None:
    with pytest.raises(GateError, match=message):
        check_export(changed(exported, change), weights.model(), SPEC)


def test_file_of_other_weights_is_caught(exported: Artifact, other_weights: Weights) -> None:
    with pytest.raises(GateError, match="logits differ from torch by"):
        check_export(onnx.load(exported.path), other_weights.model(), SPEC)


def test_a_nan_is_caught(exported: Artifact, weights: Weights) -> None:
    def poison(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.CopyFrom(numpy_helper.from_array(np.nan * numpy_helper.to_array(tensor), tensor.name))

    with pytest.raises(GateError, match="logits differ from torch by nan"):
        check_export(changed(exported, poison), weights.model(), SPEC)


def test_weights_in_a_second_file_are_caught(exported: Artifact, weights: Weights, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    onnx.save(onnx.load(exported.path), path, save_as_external_data=True, location="x.onnx.data")
    with pytest.raises(GateError, match="weights are in a second file, expected one file"):
        check_export(onnx.load(path, load_external_data=False), weights.model(), SPEC)


@pytest.mark.parametrize(("change", "message"), CHANGES, ids=CHANGE_NAMES)
def test_a_wrong_export_leaves_no_file(
    exported: Artifact,
    weights: Weights,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Change,
    message: str,
) -> None:
    def torch_goes_wrong(_model: object, _spec: object, _example: object) -> onnx.ModelProto:
        return changed(exported, change)

    monkeypatch.setattr(to_onnx, "_torch_export", torch_goes_wrong)
    with pytest.raises(GateError, match=message):
        export(weights, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_keeps_the_file_that_was_there(
    exported: Artifact, other_weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_onnx, "_torch_export", lambda _m, _s, _e: onnx.load(exported.path))
    (tmp_path / "x.onnx").write_bytes(b"earlier")
    with pytest.raises(GateError, match="logits differ"):
        export(other_weights, tmp_path / "x.onnx")
    assert (tmp_path / "x.onnx").read_bytes() == b"earlier"
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


def test_output_is_checked_before_the_work(weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(to_onnx, "_torch_export")
    with pytest.raises(InputError, match="does not exist; make it first: mkdir -p"):
        export(weights, tmp_path / "missing" / "x.onnx")


class Drops(torch.nn.Module):
    """Draws random numbers in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.last = torch.nn.Linear(48 * 48, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.nn.functional.dropout(x.flatten(1), 0.5))  # type: ignore[no-any-return]


class Squeezes(Drops):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x.flatten(1)).squeeze()  # type: ignore[no-any-return]


def test_answers_at_random_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"same faces get other answers the second time.*training=self\.training"):
        rarn_edge.export(tmp_path / "x.onnx", Drops().eval(), spec=ModelSpec("own", ("a", "b")))
    assert list(tmp_path.iterdir()) == []


def test_one_picture_has_a_batch_too(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"answers \[2\] float32 to 1 image; \[1, 2\] float32 is needed"):
        rarn_edge.export(tmp_path / "x.onnx", Squeezes().eval(), spec=ModelSpec("own", ("a", "b")))
    assert list(tmp_path.iterdir()) == []
