"""The audit reports what ONNX Runtime runs, not what the file asks for."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rarn_edge.audit.run import audit
from rarn_edge.audit.saturation import Saturation
from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.onnx_graph import load_graph, save_artifact
from rarn_edge.pipeline.calibrate import Ranges, calibrate
from rarn_edge.pipeline.quantize import Quantized, quantize
from rarn_edge.report.audit import audit_table
from rarn_edge.stats.sqnr import sqnr_db

FACES = synthetic_faces(16, seed=4).images


def test_nothing_is_left_in_float(int8: Mapping[Target, Quantized]) -> None:
    found = audit(int8[Target.X86_AVX2].artifact, FACES, threads=1)
    assert (found.int8_convolutions, found.convolutions, found.int8_share) == (20, 20, 1.0)
    assert found.islands == ()
    assert found.conversions == {"QuantizeLinear": 1, "DequantizeLinear": 1}
    assert found.failures(0.95, 5) == []
    assert found.failures(math.nan, 5) != []
    json.dumps(found.to_dict())


def test_a_float_file_has_no_int8(simplified: Artifact) -> None:
    found = audit(simplified, FACES, threads=1)
    assert found.int8_share == 0.0
    assert (found.islands, len(found.warnings)) == ((), 1)
    assert f"nothing in {simplified.path.name} is quantized; an INT8 file is made by: rarn-edge" in found.warnings[0]
    assert found.failures(0.95, None) == ["0.0% of the multiply-adds run in INT8, at least 95.0% asked for"]


def test_a_layer_kept_in_float_is_found(simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    model = load_graph(simplified.path)
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    done = quantize(simplified, Target.X86_AVX2, ranges, tmp_path / "x.onnx", keep_float=[first.name])
    assert done.artifact.contract.provenance["kept_in_float"] == [first.name]
    found = audit(done.artifact, FACES, threads=1)
    assert found.int8_convolutions == found.convolutions - 1
    assert found.int8_share is not None
    assert 0.5 < found.int8_share < 1.0
    assert [island.reason for island in found.islands] == ["float weights: this layer was not quantized"]


def net(folder: Path, *nodes: onnx.NodeProto) -> Artifact:
    """Convolution `c` [n, 4, 8, 8] of the input, then `nodes` to `logits`."""
    generator = np.random.default_rng(0)
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 8, 8])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])
    weight = generator.standard_normal((4, 1, 3, 3)).astype(np.float32)
    constants = [
        onnx.numpy_helper.from_array(weight, "w"),
        onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], dtype=np.float32), "scales"),
    ]
    first = helper.make_node("Conv", ["input", "w"], ["c"], "conv", pads=[1, 1, 1, 1])
    graph = helper.make_graph([first, *nodes], "net", [value], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    spec = ModelSpec("net", ("angry", "disgust", "fear", "happy"), preprocess=Preprocess(8, 8))
    return save_artifact(model, Contract(spec), folder / "net.onnx")


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([helper.make_node("Tanh", ["c"], ["t"], "t")], "no INT8 kernel for Tanh"),
        ([helper.make_node("Resize", ["c", "", "scales"], ["t"], "t", mode="linear")], "linear Resize"),
    ],
    ids=["no kernel", "linear"],
)
def test_each_island_has_its_reason(tmp_path: Path, nodes: list[onnx.NodeProto], reason: str) -> None:
    after = [
        helper.make_node("GlobalAveragePool", ["t"], ["g"], "g"),
        helper.make_node("Flatten", ["g"], ["logits"], "f"),
    ]
    artifact = net(tmp_path, *nodes, *after)
    ranges = calibrate(artifact, synthetic_faces(16, seed=0))
    done = quantize(artifact, Target.X86_AVX2, ranges, tmp_path / "int8.onnx").artifact
    reasons = [island.reason for island in audit(done, FACES, threads=1).islands]
    assert any(reason in found for found in reasons), reasons


def qdq(source: str, result: str, scale: str = "scale", zero: str = "u8") -> list[onnx.NodeProto]:
    """`source` rounded to 8 or 16 bits, as `result`."""
    return [
        helper.make_node("QuantizeLinear", [source, scale, zero], [f"{result}.q"], f"{result}.q"),
        helper.make_node("DequantizeLinear", [f"{result}.q", scale, zero], [result], f"{result}.dq"),
    ]


def qdq_net(folder: Path, *nodes: onnx.NodeProto) -> Artifact:
    """A quantized convolution `c` [n, 4, 8, 8] of the input, then `nodes` to `e`, pooled to quantized logits."""
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 8, 8])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])
    arrays = {
        "scale": np.float32(0.02),
        "other": np.float32(0.05),
        "u8": np.uint8(128),
        "s8": np.int8(0),
        "u16": np.uint16(30_000),
        "w": np.ones((4, 1, 3, 3), dtype=np.int8),
    }
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    before = [
        *qdq("input", "x"),
        helper.make_node("DequantizeLinear", ["w", "scale", "s8"], ["weight"], "weight"),
        helper.make_node("Conv", ["x", "weight"], ["c"], "conv", pads=[1, 1, 1, 1]),
    ]
    after = [
        helper.make_node("GlobalAveragePool", ["e"], ["g"], "g"),
        *qdq("g", "rounded"),
        helper.make_node("Flatten", ["rounded"], ["flat"], "f"),
        *qdq("flat", "logits"),
    ]
    graph = helper.make_graph([*before, *nodes, *after], "net", [value], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    spec = ModelSpec("net", ("angry", "disgust", "fear", "happy"), preprocess=Preprocess(8, 8))
    return save_artifact(model, Contract(spec), folder / "net.onnx")


def test_a_fork_is_named(tmp_path: Path) -> None:
    """Two readers round the convolution's float result each in its own way, so it cannot become an integer."""
    add = helper.make_node("Add", ["one", "two"], ["a"], "add")
    artifact = qdq_net(tmp_path, *qdq("c", "one"), *qdq("c", "two", "other"), add, *qdq("a", "e"))
    found = audit(artifact, FACES, threads=1)
    (island,) = found.islands
    assert (island.operators, island.reason) == (("Conv",), "fork: several nodes read its float result")
    # its weight is INT8 in the file; what it multiplies in float counts all the same
    assert (found.convolutions, found.int8_convolutions, found.int8_share) == (1, 0, 0.0)


def test_nodes_need_no_names(tmp_path: Path) -> None:
    tanh = helper.make_node("Tanh", ["one"], ["t"], "tanh")
    artifact = qdq_net(tmp_path, *qdq("c", "one"), tanh, *qdq("t", "e"))
    model = load_graph(artifact.path)
    for node in model.graph.node:
        node.ClearField("name")
    unnamed = save_artifact(model, artifact.contract, tmp_path / "unnamed.onnx")
    expected, found = (audit(each, FACES, threads=1) for each in (artifact, unnamed))
    assert [(island.operators, island.reason) for island in found.islands] == [
        (island.operators, island.reason) for island in expected.islands
    ]
    assert found.islands != ()
    assert (found.conversions, found.int8_share) == (expected.conversions, expected.int8_share)


def test_types_that_differ_are_named(tmp_path: Path) -> None:
    """8 and 16 bits meet at an addition."""
    add = helper.make_node("Add", ["one", "two"], ["a"], "add")
    sigmoid = helper.make_node("Sigmoid", ["one"], ["s"], "sigmoid")
    nodes = (*qdq("c", "one"), sigmoid, *qdq("s", "two", zero="u16"), add, *qdq("a", "e"))
    islands = audit(qdq_net(tmp_path, *nodes), FACES, threads=1).islands
    reasons = {operator: island.reason for island in islands for operator in island.operators}
    assert reasons["Add"] == "types differ: uint16 and uint8 meet here"


def test_saturation_gate(int8: Mapping[Target, Quantized]) -> None:
    found = audit(int8[Target.X86_AVX2].artifact, FACES, threads=1)
    bad = replace(found, saturation=Saturation(512, 3.0, 17.0, 46, 46))
    (line,) = bad.failures(None, 5)
    assert line.startswith("saturation flips 46 of 512 decisions, at most 5 allowed; quantize for this host: --target ")


def test_equal_answers_are_called_so(int8: Mapping[Target, Quantized]) -> None:
    found = audit(int8[Target.X86_AVX2].artifact, FACES, threads=1)
    same = replace(found, saturation=Saturation(16, sqnr_db(FACES, FACES), 31.24, 0, 0))
    assert ": equal as it runs, 31.2 dB unsaturated, 0 decide otherwise" in audit_table(same).rows[-1].cells[1]


def test_command(cli: Callable[..., object], int8: Mapping[Target, Quantized], simplified: Artifact) -> None:
    done = cli("audit", int8[Target.X86_AVX2].artifact.path, "--min-int8", 0.95, "--threads", 1)
    assert done.returncode == 0  # type: ignore[attr-defined]
    assert re.search(r"^float islands +none", done.stdout, re.MULTILINE)  # type: ignore[attr-defined]
    failed = cli("audit", simplified.path, "--min-int8", 0.95, "--threads", 1, "--json")
    assert failed.returncode == 1  # type: ignore[attr-defined]
    assert json.loads(failed.stdout)["int8_share"] == 0.0  # type: ignore[attr-defined]
    assert "the audit failed" in failed.stderr  # type: ignore[attr-defined]


def test_matrix_products_count_as_convolutions_do(tmp_path: Path) -> None:
    """A convolution in INT8 beside a product in float: 36 x 64 of 2,304 + 8,192 multiply-adds."""
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 8, 8])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])
    generator = np.random.default_rng(0)
    arrays = {
        "scale": np.float32(0.02),
        "u8": np.uint8(128),
        "s8": np.int8(0),
        "w": np.ones((4, 1, 3, 3), dtype=np.int8),
        "wide": generator.standard_normal((256, 32)).astype(np.float32),
        "narrow": generator.standard_normal((32, 4)).astype(np.float32),
    }
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()]
    nodes = [
        *qdq("input", "x"),
        helper.make_node("DequantizeLinear", ["w", "scale", "s8"], ["weight"], "weight"),
        helper.make_node("Conv", ["x", "weight"], ["c"], "conv", pads=[1, 1, 1, 1]),
        *qdq("c", "rounded"),
        helper.make_node("Flatten", ["rounded"], ["flat"], "f"),
        helper.make_node("MatMul", ["flat", "wide"], ["hidden"], "wide_product"),
        helper.make_node("MatMul", ["hidden", "narrow"], ["logits"], "narrow_product"),
    ]
    graph = helper.make_graph(nodes, "net", [value], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    spec = ModelSpec("net", ("angry", "disgust", "fear", "happy"), preprocess=Preprocess(8, 8))
    found = audit(save_artifact(model, Contract(spec), tmp_path / "net.onnx"), FACES, threads=1)
    assert (found.convolutions, found.int8_convolutions) == (1, 1)
    in_int8, in_float = 9 * 4 * 64, 256 * 32 + 32 * 4
    assert found.int8_share == pytest.approx(in_int8 / (in_int8 + in_float))
    (failure,) = found.failures(0.95, None)
    assert "of the multiply-adds run in INT8, at least 95.0% asked for" in failure


def test_a_file_that_cannot_be_run_unsaturated_is_audited(simplified: Artifact, tmp_path: Path) -> None:
    """Signed activations in the older form, which ONNX Runtime's quantizer writes when it is asked for QOperator."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Two(CalibrationDataReader):
        def __init__(self) -> None:
            inputs = to_input(FACES, simplified.spec.preprocess)
            self.rest = iter([{"input": inputs[:8]}, {"input": inputs[8:]}])

        def get_next(self) -> dict[str, object] | None:  # type: ignore[override]  # the library has no types
            return next(self.rest, None)

    made = tmp_path / "made.onnx"
    quantize_static(simplified.path, made, Two(), quant_format=QuantFormat.QOperator, per_channel=True)
    found = audit(save_artifact(load_graph(made), simplified.contract, tmp_path / "net.onnx"), FACES, threads=1)
    assert found.int8_share is not None
    assert found.int8_share > 0.9
    assert (found.saturation.saturation_flips, found.saturation.unsaturated_db) == (None, None)
    assert "cannot open this file with 32-bit sums" in audit_table(found).to_markdown()
    assert ["what saturation changes is not known" in text for text in found.failures(0.9, 0)] == [True]
