"""A graph from elsewhere, as other tools write it: quantizing simplifies it first, says so, and keeps its contract."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.files import file_sha256
from rarn_edge.onnx_graph import LoadedModel, load_graph
from rarn_edge.pipeline.simplify import SIMPLIFIED, simplify_model
from rarn_edge.runtime.logits import run_logits

Cli = Callable[..., subprocess.CompletedProcess[str]]

FACES = synthetic_faces(32, seed=6)
SPEC = """
name = "theirs"
classes = ["happy", "sad", "neutral"]
output = "logits"
preprocess = { height_px = 16, width_px = 16, mean = [127.5], std = [127.5] }
"""


def untidy_net() -> onnx.ModelProto:
    """Conv -> BatchNormalization -> Identity -> Relu, twice, then a mean over height and width that drops its axes."""
    generator = np.random.default_rng(1)
    nodes, arrays, last = [], {}, "input"
    for stage, (inputs, outputs) in enumerate([(1, 8), (8, 3)]):
        arrays[f"w{stage}"] = generator.standard_normal((outputs, inputs, 3, 3))
        for name, low, high in (("scale", 0.5, 2), ("shift", -1, 1), ("mean", -1, 1), ("var", 0.5, 2)):
            arrays[f"{name}{stage}"] = generator.uniform(low, high, outputs)
        normal = [f"{name}{stage}" for name in ("scale", "shift", "mean", "var")]
        nodes += [
            helper.make_node("Conv", [last, f"w{stage}"], [f"c{stage}"], f"conv{stage}"),
            helper.make_node("BatchNormalization", [f"c{stage}", *normal], [f"b{stage}"], f"norm{stage}"),
            helper.make_node("Identity", [f"b{stage}"], [f"i{stage}"], f"same{stage}"),
            helper.make_node("Relu", [f"i{stage}"], [f"r{stage}"], f"relu{stage}"),
        ]
        last = f"r{stage}"
    nodes.append(helper.make_node("ReduceMean", [last], ["logits"], "mean", axes=[2, 3], keepdims=0))
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 16, 16])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 3])
    constants = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "theirs", [value], [answer], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def stamped(cli: Cli, tmp_path: Path) -> Artifact:
    onnx.save(untidy_net(), tmp_path / "theirs.onnx")
    (tmp_path / "spec.toml").write_text(SPEC, encoding="utf-8")
    out = tmp_path / "stamped.onnx"
    done = cli("stamp", tmp_path / "theirs.onnx", "--spec", tmp_path / "spec.toml", "-o", out)
    assert done.returncode == 0, done.stderr
    return Artifact.load(out)


def operators(path: Path) -> list[str]:
    return [node.op_type for node in load_graph(path).graph.node]


def test_a_working_copy_is_simpler_and_still_the_file_given(stamped: Artifact, tmp_path: Path) -> None:
    done = simplify_model(LoadedModel.read(stamped))
    assert done.kept_because is None
    assert [node.op_type for node in done.model.graph.graph.node] == [
        "Conv",
        "Relu",
        "Conv",
        "Relu",
        "GlobalAveragePool",
        "Flatten",
    ]
    assert (done.model.spec, done.model.source) == (stamped.spec, stamped)
    written = done.model.save(tmp_path / "copy.onnx")
    assert written.sha256 == file_sha256(written.path) != stamped.sha256
    assert written.contract.provenance["source_sha256"] == stamped.sha256
    assert SIMPLIFIED in written.contract.provenance  # so that nobody tries again
    before, after = (run_logits(open_unoptimised(each.path), each.spec, FACES.images) for each in (stamped, written))
    np.testing.assert_allclose(after, before, atol=1e-4)


def test_quantize_simplifies_what_nobody_did(cli: Cli, stamped: Artifact, faces_folder: Path, tmp_path: Path) -> None:
    out, ranges = tmp_path / "int8.onnx", tmp_path / "ranges.json"
    options = ("--target", "x86-avx2", "--no-verdict")
    done = cli("quantize", stamped.path, "-o", out, *options, "--calib", faces_folder, "--save-ranges", ranges)
    assert done.returncode == 0, done.stderr
    assert f"{stamped.path} was not simplified yet; this starts from a simplified copy, 9 nodes -> 6\n" in done.stderr
    assert "2 of 2 convolutions in INT8" in done.stdout
    assert "no INT8 kernel" not in done.stderr
    assert not {"BatchNormalization", "Identity", "ReduceMean"} & set(operators(out))
    made = Artifact.load(out)
    assert made.spec == stamped.spec
    assert made.contract.provenance["source_sha256"] == stamped.sha256
    assert made.contract.provenance["simplified"].startswith("onnxsim ")
    again = cli("quantize", stamped.path, "-o", tmp_path / "b.onnx", *options, "--ranges", ranges)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "b.onnx").read_bytes() == out.read_bytes()


def test_a_graph_that_cannot_be_simplified_is_quantized_as_it_is(
    cli: Cli, stamped: Artifact, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raises(_model: onnx.ModelProto, **_options: object) -> None:
        raise RuntimeError("no rule for this node")

    monkeypatch.setattr("onnxsim.simplify", raises)
    options = ("--target", "x86-avx2", "--no-verdict", "--calib", faces_folder)
    done = cli("quantize", stamped.path, "-o", tmp_path / "int8.onnx", *options)
    assert done.returncode == 0, done.stderr
    reason = "simplification failed: no rule for this node"
    assert f"not simplified: {stamped.path} stays as it is: {reason}\n" in done.stderr
    assert "no INT8 kernel for BatchNormalization" in done.stderr
    assert Artifact.load(tmp_path / "int8.onnx").contract.provenance["simplified"] == reason


def test_float16_of_a_foreign_file_names_the_file_given(cli: Cli, stamped: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "half.onnx"
    done = cli("quantize", stamped.path, "-o", out, "--precision", "fp16")
    assert done.returncode == 0, done.stderr
    assert f"check it: rarn-edge parity {stamped.path} {out}" in done.stdout
    assert "BatchNormalization" not in operators(out)


def test_what_cannot_be_quantized_is_said_of_the_file_given(cli: Cli, stamped: Artifact, tmp_path: Path) -> None:
    model = load_graph(stamped.path)
    model.opset_import[0].version = 12
    old = tmp_path / "old.onnx"
    onnx.save(model, old)
    done = cli("quantize", old, "-o", tmp_path / "x.onnx", "--ranges", "r.json")
    assert done.returncode == 2
    assert f"{old}: has opset 12" in done.stderr
    assert "simplified" not in done.stderr
