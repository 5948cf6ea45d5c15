"""A file's contract must fit its graph: what is refused on loading would otherwise fail in the middle of the work."""

import json
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from rarn_edge.contract.artifact import METADATA_KEY, Artifact, Contract
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import load_graph, stamp
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.pipeline.stamp import stamp as stamp_foreign

SPEC_TOML = """
name = "foreign"
classes = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
preprocess = { height_px = 48, width_px = 48, mean = [128.0], std = [64.0] }
"""


def write(path: Path, shape: list[int | str], outputs: int = 7, opset: int = 18) -> Path:
    """A graph that flattens images and multiplies them to `outputs` logits."""
    pixels = 48 * 48
    weight = helper.make_tensor("w", TensorProto.FLOAT, [pixels, outputs], [0.5] * (pixels * outputs))
    nodes = [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [shape[0], outputs])],
        [weight],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7), path)
    return path


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        ([1, 1, 48, 48], 7, "batch size is fixed at 1"),
        (["n", 3, 48, 48], 7, r"takes images \[3, 48, 48\], its spec says \[1, 48, 48\]"),
        (["n", 1, 64, 64], 7, r"takes images \[1, 64, 64\]"),
        (["n", 1, 48, 48], 8, "answers 8 classes, its spec names 7"),
        (["n", 1, 48, 48], 6, "answers 6 classes, its spec names 7"),
    ],
)
def test_a_spec_that_contradicts_the_graph(tmp_path: Path, shape: list[int | str], outputs: int, message: str) -> None:
    source = write(tmp_path / "net.onnx", shape, outputs) if shape[2] == 48 and shape[1] == 1 else tmp_path / "net.onnx"
    if not source.exists():  # another image: the weights do not matter, only the declared input
        graph = helper.make_graph(
            [
                helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
                helper.make_node("Flatten", ["pooled"], ["logits"]),
            ],
            "net",
            [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), source)
    (tmp_path / "spec.toml").write_text(SPEC_TOML)
    with pytest.raises(InputError, match=message):
        stamp_foreign(source, tmp_path / "out.onnx", spec=tmp_path / "spec.toml")
    assert not (tmp_path / "out.onnx").exists()
    model = load_graph(source)
    stamp(model, Contract(ModelSpec("foreign")))
    onnx.save(model, source)
    with pytest.raises(InputError, match=message):
        Artifact.load(source)


@pytest.mark.parametrize("key", ["parameters", "multiply_adds"])
@pytest.mark.parametrize("value", ["many", 1.5, -1, True])
def test_counts_of_another_type(tmp_path: Path, key: str, value: object) -> None:
    model = load_graph(write(tmp_path / "net.onnx", ["n", 1, 48, 48]))
    contract = json.loads(Contract(ModelSpec("foreign")).to_json())
    model.metadata_props.add(key=METADATA_KEY, value=json.dumps({**contract, key: value}))
    onnx.save(model, tmp_path / "net.onnx")
    with pytest.raises(InputError, match=f"{key} is a whole number or null"):
        Artifact.load(tmp_path / "net.onnx")


def test_quantize_refuses_an_old_opset(tmp_path: Path) -> None:
    source = write(tmp_path / "net.onnx", ["n", 1, 48, 48], opset=11)
    (tmp_path / "spec.toml").write_text(SPEC_TOML)
    artifact = stamp_foreign(source, tmp_path / "stamped.onnx", spec=tmp_path / "spec.toml")
    ranges = Ranges({}, "minmax", 1, None, artifact.sha256, "none", "")
    with pytest.raises(InputError, match="has opset 11, and per-channel weights need 13"):
        quantize(artifact, Target.X86_AVX2, ranges, tmp_path / "int8.onnx")
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize("name", ["net.onnx.data", "w" * 127, "w" * 128, f"{'w' * 200}.bin"], ids=len)
def test_weights_beside_a_file_are_part_of_it(simplified: Artifact, tmp_path: Path, name: str) -> None:
    path, weights = tmp_path / "net.onnx", tmp_path / name
    onnx.save(load_graph(simplified.path), path, save_as_external_data=True, location=name)
    before = Artifact.load(path)
    assert before.size_bytes == path.stat().st_size + weights.stat().st_size
    data = bytearray(weights.read_bytes())
    data[0] ^= 1
    weights.write_bytes(data)
    assert Artifact.load(path).sha256 != before.sha256
