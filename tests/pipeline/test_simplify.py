"""Simplification is kept only where it answers the same; otherwise the graph stays and the reason is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.gate import difference
from rarn_edge.pipeline.simplify import pool_means, simplify

Simplifier = Callable[[onnx.ModelProto], tuple[onnx.ModelProto, bool]]


def test_simplified_file_keeps_the_contract(exported: Artifact, simplified: Artifact) -> None:
    ours, theirs = simplified.contract, exported.contract
    assert (ours.spec, ours.parameters, ours.multiply_adds) == (theirs.spec, theirs.parameters, theirs.multiply_adds)
    assert ours.provenance["weights_sha256"] == theirs.provenance["weights_sha256"]
    assert ours.provenance["source_sha256"] == exported.sha256
    assert ours.provenance["simplified"].startswith("onnxsim")


def test_spatial_means_become_pooling(exported: Artifact, simplified: Artifact) -> None:
    before, after = ([node.op_type for node in onnx.load(a.path).graph.node] for a in (exported, simplified))
    assert "GlobalAveragePool" not in before
    assert after.count("GlobalAveragePool") == 2
    assert len(after) <= len(before)


def changed_weight(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(1.01 * numpy_helper.to_array(tensor), tensor.name))
    return model, True


def not_validated(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    return model, False


def raises(_model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    raise RuntimeError("no rule for this node\nmore")


def raises_without_words(_model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    raise RuntimeError


def nan_weight(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(np.nan * numpy_helper.to_array(tensor), tensor.name))
    return model, True


def invalid_graph(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    model.graph.node[3].input[0] = "nowhere"
    return model, True


def unknown_operator(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    """The ONNX checker lets a foreign domain pass; ONNX Runtime has no such operator."""
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.domain, node.op_type = "made.up", "Relax"
    model.opset_import.append(helper.make_opsetid("made.up", 1))
    return model, True


def renamed_output(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    model.graph.output[0].name = "scores"
    for node in model.graph.node:
        node.output[:] = ["scores" if name == "logits" else name for name in node.output]
    return model, True


def fixed_batch(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    return model, True


@pytest.mark.parametrize(
    ("simplifier", "reason"),
    [
        (changed_weight, "the simplified graph differs by"),
        (nan_weight, "the simplified graph differs by nan"),
        (not_validated, "simplification failed: onnxsim could not validate its result"),
        (raises, "simplification failed: no rule for this node"),
        (raises_without_words, "simplification failed"),
        (invalid_graph, "simplification failed"),
        (unknown_operator, "simplification failed"),
        (renamed_output, "simplification failed"),
        (fixed_batch, "simplification failed"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_wrong_simplification_is_not_kept(
    exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simplifier: Simplifier, reason: str
) -> None:
    def simplify_wrongly(model: onnx.ModelProto, **_options: object) -> tuple[onnx.ModelProto, bool]:
        copy = onnx.ModelProto()
        copy.CopyFrom(model)
        return simplifier(copy)

    monkeypatch.setattr("onnxsim.simplify", simplify_wrongly)
    done = simplify(exported, tmp_path / "x.onnx")
    assert done.kept_because is not None
    assert done.kept_because.startswith(reason)
    assert done.nodes_after == done.nodes_before
    assert done.artifact.contract.provenance["simplified"] == done.kept_because
    before, after = onnx.load(exported.path).graph, onnx.load(done.artifact.path).graph
    assert before.SerializeToString(deterministic=True) == after.SerializeToString(deterministic=True)


def test_infinite_answers_do_not_hide_the_others(exported: Artifact) -> None:
    model = LoadedModel.read(exported)
    graph, mask = model.graph.graph, np.array([-np.inf] + [0] * 6, dtype=np.float32)
    (last,) = [node for node in graph.node if exported.spec.output_name in node.output]
    last.output[0] = "unmasked"
    graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    graph.node.append(helper.make_node("Add", ["unmasked", "mask"], [exported.spec.output_name]))
    copy = onnx.ModelProto()
    copy.CopyFrom(model.graph)
    assert difference(model, replace(model, graph=copy), "same") is None
    changed, _ = changed_weight(copy)
    found = difference(model, replace(model, graph=changed), "changed")
    assert found is not None
    assert found.startswith("the changed graph differs by")


def pooling_net(
    keepdims: int, axes: tuple[int, ...], axes_as_input: bool, flatten_to: tuple[int, ...]
) -> onnx.ModelProto:
    """ReduceMean, then Reshape, on [n, 3, 4, 4]."""
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 4, 4])
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    constants = [helper.make_tensor("shape", TensorProto.INT64, [len(flatten_to)], flatten_to)]
    if axes_as_input:
        constants.append(helper.make_tensor("axes", TensorProto.INT64, [len(axes)], axes))
        mean = helper.make_node("ReduceMean", ["input", "axes"], ["mean"], keepdims=keepdims)
    else:
        mean = helper.make_node("ReduceMean", ["input"], ["mean"], keepdims=keepdims, axes=axes)
    nodes = [mean, helper.make_node("Reshape", ["mean", "shape"], ["flat"]), helper.make_node("Abs", ["flat"], ["out"])]
    graph = helper.make_graph(nodes, "pool", [value], [answer], constants)
    version = 18 if axes_as_input else 17
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=10)


@pytest.mark.parametrize(
    ("keepdims", "axes", "axes_as_input", "flatten_to", "expected"),
    [
        (1, (2, 3), True, (-1, 3), ["GlobalAveragePool", "Flatten", "Abs"]),
        (1, (-1, -2), True, (-1, 3), ["GlobalAveragePool", "Flatten", "Abs"]),
        (1, (2, 3), False, (-1, 3), ["GlobalAveragePool", "Flatten", "Abs"]),
        (1, (2, 3), True, (-1, 3, 1), ["GlobalAveragePool", "Reshape", "Abs"]),
        (0, (2, 3), True, (-1, 3), ["GlobalAveragePool", "Flatten", "Reshape", "Abs"]),
        (1, (1,), True, (-1, 16), ["ReduceMean", "Reshape", "Abs"]),
        (1, (1, 2, 3), True, (-1, 1), ["ReduceMean", "Reshape", "Abs"]),
        (1, (3,), False, (-1, 12), ["ReduceMean", "Reshape", "Abs"]),
    ],
)
def test_pool_means_answers_the_same(
    keepdims: int, axes: tuple[int, ...], axes_as_input: bool, flatten_to: tuple[int, ...], expected: list[str]
) -> None:
    before = pooling_net(keepdims, axes, axes_as_input, flatten_to)
    copy = onnx.ModelProto()
    copy.CopyFrom(before)
    after = pool_means(copy)
    assert [node.op_type for node in after.graph.node] == expected
    inputs = {"input": np.random.default_rng(0).standard_normal((5, 3, 4, 4), dtype=np.float32)}
    answers = [open_unoptimised(model.SerializeToString()).run(None, inputs)[0] for model in (before, after)]
    assert answers[0].shape == answers[1].shape
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-6, rtol=0)


def test_a_mean_of_rank_two_is_left_alone() -> None:
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3])
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 1])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["input", "axes"], ["out"])], "mean", [value], [answer], [axes]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    assert [node.op_type for node in pool_means(model).graph.node] == ["ReduceMean"]
