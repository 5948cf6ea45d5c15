"""No size is computed while a graph runs: a GPU provider would leave that to the CPU."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.models.build import build_model
from rarn_edge.models.catalog import find_model
from rarn_edge.models.count import bake
from rarn_edge.pipeline.export import _torch_export
from rarn_edge.pipeline.passes.constant_shapes import constant_shapes
from rarn_edge.pipeline.simplify import _onnxsim, pool_means

SHAPE_OPERATORS = {"Shape", "Size", "Gather", "Cast", "Slice", "Unsqueeze", "ConstantOfShape", "Range", "NonZero"}


def computed_sizes(model: onnx.ModelProto) -> list[str]:
    """Nodes that compute integers, and those that take the operators of shapes to do so."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    integers = {
        value.name for value in inferred.graph.value_info if value.type.tensor_type.elem_type != TensorProto.FLOAT
    }
    return [
        f"{node.op_type} {node.output[0]}"
        for node in inferred.graph.node
        if node.op_type in SHAPE_OPERATORS or integers & set(node.output)
    ]


@pytest.mark.parametrize("name", ["rarn-18", "rarn-s", "mobilenet-v1", "resnet-18"])
def test_no_model_computes_sizes(name: str) -> None:
    """rarn-18 enlarges 2 x 2 to 3 x 3, which torch writes as a chain from Shape to Resize."""
    side = find_model(name).side_px
    exported = _torch_export(bake(build_model(name)).eval(), find_model(name).spec, torch.zeros(2, 1, side, side))
    assert bool(computed_sizes(exported)) == (name == "rarn-18")
    simplified = pool_means(constant_shapes(_onnxsim(exported)))
    assert computed_sizes(simplified) == []


def test_the_shipped_kind_computes_none(simplified: Artifact) -> None:
    assert computed_sizes(onnx.load(simplified.path)) == []


def test_onnx_runtimes_preprocessing_takes_a_simplified_file(simplified: Artifact, tmp_path: Path) -> None:
    """Its symbolic inference cannot (1.32: it loses the batch in Resize and the axes of ReduceMax); ONNX's own can."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    quant_pre_process(simplified.path, tmp_path / "ready.onnx", skip_symbolic_shape=True)
    inputs = {"input": np.random.default_rng(0).standard_normal((3, 1, 48, 48), dtype=np.float32)}
    before, after = (open_unoptimised(path).run(None, inputs)[0] for path in (simplified.path, tmp_path / "ready.onnx"))
    np.testing.assert_allclose(after, before, atol=1e-4, rtol=0)


def net(
    nodes: list[onnx.NodeProto], shape: list[str | int], constants: dict[str, NDArray[np.generic]]
) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    answer = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    tensors = [onnx.numpy_helper.from_array(content, name) for name, content in constants.items()]
    graph = helper.make_graph(nodes, "net", [value], [answer], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def resizing(new: tuple[int, int], old: tuple[int | str, int], mode: str, policy: str = "stretch") -> onnx.ModelProto:
    """`input` to the height and width `new`, as torch writes it: the batch and the channels come from Shape."""
    nodes = [
        helper.make_node("Shape", ["input"], ["known"], start=0, end=2),
        helper.make_node("Concat", ["known", "new"], ["sizes"], axis=0),
        helper.make_node(
            "Resize",
            ["input", "", "", "sizes"],
            ["out"],
            mode=mode,
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
            keep_aspect_ratio_policy=policy,
        ),
    ]
    return net(nodes, ["n", 3, *old], {"new": np.array(new, np.int64)})


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(("old", "new"), [((2, 2), (3, 3)), ((3, 7), (5, 10)), ((7, 3), (29, 10)), ((9, 9), (5, 7))])
def test_resize_by_constant_scales_answers_the_same(old: tuple[int, int], new: tuple[int, int], mode: str) -> None:
    before = resizing(new, old, mode)
    after = constant_shapes(before)
    assert [node.op_type for node in after.graph.node] == ["Resize"]
    assert_alike(before, after, old)


@pytest.mark.parametrize(("old", "new"), [(7, 31), (11, 13), (19, 27), (22, 13), (23, 7), (23, 56)])
def test_a_scale_that_rounds_down_loses_no_pixel(old: int, new: int) -> None:
    """As float32, `old * (new / old)` is below `new`."""
    assert int(np.float32(old) * np.float32(new / old)) == new - 1
    after = constant_shapes(resizing((new, new), (old, old), "nearest"))
    inputs = np.zeros((1, 3, old, old), np.float32)
    assert open_unoptimised(after.SerializeToString()).run(None, {"input": inputs})[0].shape[2:] == (new, new)


def test_reshape_to_a_computed_shape_becomes_constant() -> None:
    nodes = [
        helper.make_node("Shape", ["input"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"], axis=0),
        helper.make_node("Concat", ["batch", "rest"], ["wanted"], axis=0),
        helper.make_node("Reshape", ["input", "wanted"], ["out"]),
    ]
    before = net(nodes, ["n", 3, 4, 5], {"zero": np.array([0], np.int64), "rest": np.array([12, 5], np.int64)})
    after = constant_shapes(before)
    assert [node.op_type for node in after.graph.node] == ["Reshape"]
    assert onnx.numpy_helper.to_array(after.graph.initializer[0]).tolist() == [-1, 12, 5]
    assert_alike(before, after, (4, 5))


@pytest.mark.parametrize(
    "model", [resizing((6, 6), ("h", 3), "nearest"), resizing((6, 6), (3, 4), "nearest", "not_larger")]
)
def test_what_cannot_be_known_stays(model: onnx.ModelProto) -> None:
    """A free height; sizes that are a limit and not the answer."""
    assert [node.op_type for node in constant_shapes(model).graph.node] == ["Shape", "Concat", "Resize"]


def assert_alike(before: onnx.ModelProto, after: onnx.ModelProto, size: tuple[int, int]) -> None:
    inputs = {"input": np.random.default_rng(0).standard_normal((2, 3, *size), dtype=np.float32)}
    first, second = (open_unoptimised(model.SerializeToString()).run(None, inputs)[0] for model in (before, after))
    np.testing.assert_array_equal(second, first)
