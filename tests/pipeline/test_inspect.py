"""Any ONNX file is shown for what it is, with its contract or the command that would add one."""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rarn_edge
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.onnx_graph import LoadedModel, load_graph
from rarn_edge.pipeline.passes.attention import expose_attention
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.report.inspect import inspection_table

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def theirs(simplified: Artifact, tmp_path: Path) -> Path:
    """The network without our metadata."""
    model = load_graph(simplified.path)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    return tmp_path / "theirs.onnx"


def test_a_file_of_ours(cli: Cli, simplified: Artifact) -> None:
    done = cli("inspect", simplified.path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["multiply_adds"] == {"total": simplified.contract.multiply_adds, "in_int8": 0.0}
    assert abs(found["parameters"] - simplified.contract.parameters) < 0.01 * found["parameters"]
    assert found["contract"]["spec"]["name"] == "rarn-n"
    assert (found["stamp_command"], found["missing"], found["quantization"]) == (None, [], None)
    assert found["operators"]["Conv"] == sum(n.op_type == "Conv" for n in load_graph(simplified.path).graph.node)
    assert found["without_int8_kernel"] == {"ReduceMean": 1, "ReduceMax": 1}
    assert "1 ReduceMean, 1 ReduceMax" in cli("inspect", simplified.path).stdout
    assert "rarn-n: float32" in cli("inspect", simplified.path).stdout


def test_an_int8_file(int8: Mapping[Target, Quantized]) -> None:
    found = rarn_edge.inspect(int8[Target.ARM].artifact.path)
    assert found.quantization == "QDQ, int8 activations, int8 weights per channel"
    assert found.multiply_adds is not None
    assert found.multiply_adds.in_int8 is not None
    assert found.multiply_adds.in_int8 > 0.99
    assert found.without_int8_kernel == {}
    assert (found.contract_problem, found.contract) == (None, int8[Target.ARM].artifact.contract)


def test_the_command_it_offers_works(cli: Cli, theirs: Path, simplified: Artifact, tmp_path: Path) -> None:
    done = cli("inspect", theirs)
    assert done.returncode == 0, done.stderr
    _, _, command = done.stdout.partition("to add a contract: ")
    assert command.startswith(f"rarn-edge stamp {theirs} --classes A,B,C,... --mean M --std S -o OUT.onnx")
    filled = (
        command.replace("A,B,C,...", ",".join(simplified.spec.classes)).replace(" M ", " 128 ").replace(" S ", " 64 ")
    )
    words = shlex.split(filled.replace("OUT.onnx", str(tmp_path / "ours.onnx")))
    assert cli(*words[1:]).returncode == 0
    made = Artifact.load(tmp_path / "ours.onnx").spec
    assert (made.classes, made.preprocess, made.output_name) == (
        simplified.spec.classes,
        simplified.spec.preprocess,
        simplified.spec.output_name,
    )


def test_a_graph_that_takes_no_pictures(tmp_path: Path) -> None:
    """It is shown all the same; only a contract is out of reach, and it says why."""
    weight = numpy_helper.from_array(np.ones((8, 2), np.float32), "w")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 8])
    mask = helper.make_tensor_value_info("mask", TensorProto.INT64, [3])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 2])
    nodes = [helper.make_node("MatMul", ["x", "w"], ["m"]), helper.make_node("Softmax", ["m"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value, mask], [answer], [weight])
    path = tmp_path / "text.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    found = rarn_edge.inspect(path)
    assert found.multiply_adds is not None
    assert (found.multiply_adds.total, found.parameters, found.ends_in) == (16, 16, "softmax")
    assert found.contract_problem is not None
    assert "has 2 inputs" in found.contract_problem
    assert found.stamp_command is None


def test_several_outputs_have_no_end_until_a_contract_names_one(simplified: Artifact, tmp_path: Path) -> None:
    seen = expose_attention(LoadedModel.read(simplified)).save(tmp_path / "seen.onnx")
    assert "neither softmax nor sigmoid: logits" in inspection_table(rarn_edge.inspect(seen.path)).to_markdown()
    bare = load_graph(seen.path)
    del bare.metadata_props[:]
    onnx.save(bare, seen.path)
    assert "not known: several outputs" in inspection_table(rarn_edge.inspect(seen.path)).to_markdown()


def test_sizes_that_are_free(theirs: Path) -> None:
    model = load_graph(theirs)
    for axis in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        axis.dim_param = "side"
    onnx.save(model, theirs)
    found = rarn_edge.inspect(theirs)
    assert found.multiply_adds is None
    assert found.multiply_adds_missing is not None
    assert "free sizes" in found.multiply_adds_missing
    assert any(each.startswith("height_px: --size SIDE") for each in found.missing)


def test_damaged_metadata_is_shown_and_not_raised(theirs: Path) -> None:
    model = load_graph(theirs)
    model.metadata_props.add(key="rarn_edge", value="{")
    onnx.save(model, theirs)
    found = rarn_edge.inspect(theirs)
    assert found.contract_problem is not None
    assert "damaged" in found.contract_problem


def test_no_onnx_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    done = cli("inspect", tmp_path / "x.onnx")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not a readable ONNX file" in done.stderr
