"""What each node computes, against counts made by hand and against the contract of the shipped INT8 file."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.assets import asset
from rarn_edge.bench.cases import BenchCase, load_cases
from rarn_edge.bench.config import BenchConfig
from rarn_edge.bench.extras.profile import NodeCost, build_profile
from rarn_edge.bench.result import BenchReport
from rarn_edge.bench.runner import benchmark
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.report.bench import extra_tables
from rarn_edge.runtime.operators import computes_in_int8
from rarn_edge.runtime.ort_profile import read_events
from rarn_edge.runtime.peaks import Peaks


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """[n, 2, 8, 8] -> grouped 3x3 convolution to 4 channels, stride 2 -> Gemm with 7 columns, transposed weights."""
    rng = np.random.default_rng(0)
    constants = {
        "kernel": rng.standard_normal((4, 1, 3, 3)).astype(np.float32),
        "columns": rng.standard_normal((7, 64)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["map"], "conv", group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Flatten", ["map"], ["flat"], "flatten"),
        helper.make_node("Gemm", ["flat", "columns"], ["logits"], "gemm", transB=1),
    ]
    values = [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 2, 8, 8])]
    answers = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 7])]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "counted", values, answers, tensors),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=10,
    )
    path = tmp_path_factory.mktemp("nodes") / "counted.onnx"
    onnx.save(model, path)
    return path


def _profiled(path: Path, shape: tuple[int, ...], dtype: str, folder: Path) -> dict:
    with Worker() as worker:
        worker.ask("open", path=str(path), provider="cpu", threads=1, profile_prefix=str(folder / "p"))
        worker.ask("prepare", input_name="input", dtype=dtype, shape=shape, seed=0, limit_s=0.0, warm=False)
        return {**worker.ask("weights"), **worker.ask("profile", count=3)}


def test_counts_of_a_small_graph(graph: Path, tmp_path: Path) -> None:
    answer = _profiled(graph, (3, 2, 8, 8), "float32", tmp_path)
    counted = {node["operator"]: node["multiply_adds"] for node in answer["nodes"]}
    conv, gemm = 3 * 4 * 4 * 4 * 9, 3 * 64 * 7
    assert (counted["Conv"], counted["Gemm"]) == (conv, gemm)
    assert sum(counted.values()) == conv + gemm
    assert answer["weights_bytes"] == 4 * (4 * 9 + 7 * 64)
    moved = {node["operator"]: node["bytes"] for node in answer["nodes"]}
    assert moved["Gemm"] == 4 * (3 * 64 + 7 * 64 + 3 * 7)


def test_prepacked_weights_of_an_int8_file_are_counted(tmp_path: Path) -> None:
    """ONNX Runtime's usual profile leaves packed weights out: nearly all of an INT8 file's."""
    path = asset("rarn-n.ferplus.x86-avx2.int8.onnx")
    contract = Artifact.load(Path(path)).contract
    name = "uint8" if contract.spec.input_dtype == np.uint8 else "float32"
    answer = _profiled(Path(path), (1, 1, 48, 48), name, tmp_path)
    integer = [node for node in answer["nodes"] if computes_in_int8(node["operator"])]
    done = sum(node["multiply_adds"] for node in integer if "MatMul" not in node["operator"])
    assert done == pytest.approx(contract.multiply_adds, rel=0.01)  # plus the channel mean as a convolution
    assert answer["weights_bytes"] == pytest.approx(contract.parameters, rel=0.05)


def test_nodes_stand_beside_the_peak_of_their_own_numbers() -> None:
    nodes = [
        NodeCost("a", "QLinearConv", "P", 1.0, multiply_adds=50, bytes=10, allocated_peak_bytes=5),
        NodeCost("b", "Conv", "P", 3.0, multiply_adds=30, bytes=60, allocated_peak_bytes=7),
        NodeCost("c", "Relu", "other", 1.0, multiply_adds=0, bytes=None, allocated_peak_bytes=0),
    ]
    case = BenchCase("m", Path("m.onnx"), 1, "input", "float32", (None, 4), Contract(ModelSpec("m"), "int8"))
    peaks = Peaks(float32_macs_per_s=100.0, int8_macs_per_s=200.0, bytes_per_s=40.0)
    found = build_profile(case, 1, 1, nodes, "P", 4.0, peaks)
    shares = {each.name: (each.peak_share, each.bandwidth_share) for each in found.slowest_nodes}
    assert shares == {"a": (0.25, 0.25), "b": (0.1, 0.5), "c": (None, None)}
    assert found.macs_per_s == 20.0  # counted, for the file does not state it
    assert found.provider_share == 0.8
    assert (found.bytes_moved, found.activation_peak_bytes, found.activation_peak_node) == (70, 7, "b")


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"op_name": "MatMul", "inputs": [[2, 5, 8], [8, 3]], "output": [2, 5, 3]}, 2 * 5 * 3 * 8),
        ({"op_name": "Gemm", "inputs": [[8, 5], [8, 3]], "output": [5, 3]}, 5 * 3 * 8),  # transA
        ({"op_name": "Conv", "inputs": [[1, 3, 4, 4]], "output": [1, 2, 4, 4]}, 0),  # its weights are not named
        ({"op_name": "Add", "inputs": [[2, 2], [2, 2]], "output": [2, 2]}, 0),
    ],
)
def test_multiply_adds_from_shapes(facts: dict, expected: int) -> None:
    args = {
        "op_name": facts["op_name"],
        "node_index": "0",
        "input_type_shape": [{"float": shape} for shape in facts["inputs"]],
        "output_type_shape": [{"float": facts["output"]}],
    }
    event = {"cat": "Node", "name": "x_kernel_time", "args": args}
    (call,) = read_events([event])
    assert (call.key, call.multiply_adds) == ("x/0", expected)


def test_a_provider_without_shapes_has_no_work() -> None:
    event = {"cat": "Node", "name": "x_kernel_time", "args": {"op_name": "Conv", "provider": "Other"}}
    (call,) = read_events([event, {"cat": "Session", "name": "x_kernel_time"}])
    assert (call.outputs, call.multiply_adds) == ((), 0)


def test_audits_come_with_the_report(make_onnx) -> None:
    cases = load_cases([make_onnx("plain"), Path(asset("rarn-n.ferplus.x86-avx2.int8.onnx"))])
    report = benchmark(cases, BenchConfig(threads=(1,), rounds=3, memory=False, audit=True))
    (found,) = report.audits
    assert (found.label, found.int8_share, found.saturation_images) == ("rarn-n.ferplus.x86-avx2.int8", 1.0, 512)
    assert BenchReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert "INT8 audit" in [table.title for table in extra_tables(report)]


def test_a_file_that_cannot_be_audited_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    ask = Worker.ask

    def refuse(self: Worker, command: str, **arguments: object) -> dict:
        if command == "audit":
            raise WorkerError("needs the package 'onnx'")
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", refuse)
    cases = load_cases([Path(asset("rarn-n.ferplus.x86-avx2.int8.onnx"))])
    report = benchmark(cases, BenchConfig(threads=(1,), rounds=3, memory=False, audit=True))
    assert report.audits == ()
    assert "rarn-n.ferplus.x86-avx2.int8: not audited: needs the package 'onnx'" in report.warnings
