"""Equal float graphs that ONNX Runtime can run wholly in integers: the same weights, operators that have INT8 kernels.

1. ReduceMean and ReduceMax over the channels -> AveragePool and MaxPool over the last axis of the transposed map. Reductions have
   no INT8 kernel; pools have one, and ONNX Runtime keeps maps channels-last in INT8, so that the transposes vanish.
2. `GlobalAveragePool(x * mask)`, mask [N, 1, H, W] -> one matrix product [N, 1, H*W] x [N, H*W, C]: the weighted sum is kept in
   32 bits instead of being rounded to 8 bits for each pixel.
3. After quantization, a multiplication by a positive constant goes into the scales before and after it and costs nothing.

Calibration and quantization both start from this form, so that the names of their tensors agree.
"""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from rarn_edge.pipeline.graph import constants, drop_unused_initializers, readers

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
SCALE = "integer_form.scale"  # marks the constants of rule 2 for rule 3


def integer_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rules 1 and 2, with inferred types and a name for each node; what does not match stays as it is."""
    model = onnx.shape_inference.infer_shapes(model)
    for node in model.graph.node:
        node.name = node.name or node.output[0]  # a foreign graph need not name its nodes
    _pool_channels(model)
    _product_as_matmul(model)
    drop_unused_initializers(model)
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def _shapes(model: onnx.ModelProto) -> dict[str, list[int | None]]:
    values = (*model.graph.value_info, *model.graph.input, *model.graph.output)
    return {
        value.name: [dim.dim_value if dim.HasField("dim_value") else None for dim in value.type.tensor_type.shape.dim]
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _constant(model: onnx.ModelProto, name: str, value: object, dtype: type) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.array(value, dtype=dtype), name))
    return name


def _replace(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def reduced_axes(node: onnx.NodeProto, constant: dict[str, onnx.TensorProto]) -> set[int]:
    """The reduced axes of a rank-4 tensor, non-negative; from the attribute (opset < 18) or the second input."""
    for attribute in node.attribute:
        if attribute.name == "axes":
            return {axis % 4 for axis in attribute.ints}
    if len(node.input) > 1 and node.input[1] in constant:
        return {int(axis) % 4 for axis in numpy_helper.to_array(constant[node.input[1]])}
    return set()


def keeps_axes(node: onnx.NodeProto) -> bool:
    """Whether a reduction leaves its axes in place with size 1."""
    return all(attribute.i == 1 for attribute in node.attribute if attribute.name == "keepdims")


def _pool_channels(model: onnx.ModelProto) -> None:
    """Rule 1; each pool has a transpose of its own, for ONNX Runtime does not push one past a fork."""
    shapes, constant = _shapes(model), constants(model)
    pools = {"ReduceMean": "AveragePool", "ReduceMax": "MaxPool"}
    nodes = []
    for node in model.graph.node:
        shape = shapes.get(node.input[0], []) if node.input else []
        channels = shape[1] if len(shape) == 4 else None
        if node.op_type not in pools or not channels or not keeps_axes(node) or reduced_axes(node, constant) != {1}:
            nodes.append(node)
            continue
        source, result = node.input[0], node.output[0]
        window = [1, channels]
        pool = pools[node.op_type]
        nodes += [
            helper.make_node(
                "Transpose", [source], [f"{result}.last"], f"{result}.to_last", perm=_TO_LAST
            ),  # [N, H, W, C]
            helper.make_node(
                pool, [f"{result}.last"], [f"{result}.pooled"], f"{result}.pool", kernel_shape=window, strides=window
            ),  # [N, H, W, 1]
            helper.make_node(
                "Transpose", [f"{result}.pooled"], [result], f"{result}.to_first", perm=_TO_FIRST
            ),  # [N, 1, H, W]
        ]
    _replace(model, nodes)


def _product_as_matmul(model: onnx.ModelProto) -> None:
    """Rule 2: Mul -> GlobalAveragePool (-> Flatten), where nobody else reads the product."""
    shapes, read_by = _shapes(model), readers(model)
    nodes = list(model.graph.node)
    made_by = {name: node for node in nodes for name in node.output}
    for pool in [node for node in nodes if node.op_type == "GlobalAveragePool"]:
        product = made_by.get(pool.input[0])
        if product is None or product.op_type != "Mul" or len(read_by[product.output[0]]) != 1:
            continue
        found = _map_and_mask(product, shapes)
        if found is None:
            continue
        name, mask = found
        _, channels, height, width = shapes[name]
        if not (channels and height and width):
            continue
        result, target = pool.output[0], [0, -1, 1, 1]
        replaced = [product, pool]
        after = read_by[result]
        if len(after) == 1 and after[0].op_type == "Flatten" and all(a.i == 1 for a in after[0].attribute):
            replaced.append(after[0])
            result, target = after[0].output[0], [0, -1]
        key = pool.output[0]
        as_rows = _constant(model, f"{key}.rows", [0, height * width, channels], np.int64)
        as_row = _constant(model, f"{key}.row", [0, 1, height * width], np.int64)
        back = _constant(model, f"{key}.back", target, np.int64)
        scale = _constant(model, f"{key}.{SCALE}", 1 / (height * width), np.float32)
        t = {part: f"{key}.{part}" for part in ("map_last", "map_rows", "mask_last", "mask_row", "sum", "mean")}
        made = [
            helper.make_node("Transpose", [name], [t["map_last"]], t["map_last"], perm=_TO_LAST),  # [N, H, W, C]
            helper.make_node("Reshape", [t["map_last"], as_rows], [t["map_rows"]], t["map_rows"]),  # [N, H*W, C]
            helper.make_node("Transpose", [mask], [t["mask_last"]], t["mask_last"], perm=_TO_LAST),  # [N, H, W, 1]
            helper.make_node("Reshape", [t["mask_last"], as_row], [t["mask_row"]], t["mask_row"]),  # [N, 1, H*W]
            helper.make_node("MatMul", [t["mask_row"], t["map_rows"]], [t["sum"]], t["sum"]),  # [N, 1, C]
            helper.make_node("Mul", [t["sum"], scale], [t["mean"]], t["mean"]),  # [N, 1, C]
            helper.make_node("Reshape", [t["mean"], back], [result], f"{key}.result"),  # [N, C] or [N, C, 1, 1]
        ]
        position = nodes.index(replaced[-1])
        nodes[position : position + 1] = made
        nodes = [node for node in nodes if all(node is not old for old in replaced)]
    _replace(model, nodes)


def _map_and_mask(product: onnx.NodeProto, shapes: dict[str, list[int | None]]) -> tuple[str, str] | None:
    """Which factor is the map [N, C, H, W] and which the mask [N, 1, H, W]."""
    for name, mask in (tuple(product.input), tuple(reversed(product.input))):
        one, other = shapes.get(name, []), shapes.get(mask, [])
        if len(one) == len(other) == 4 and other[1] == 1 and one[1] != 1 and one[2:] == other[2:]:
            return name, mask
    return None


def fold_scales(model: onnx.ModelProto) -> None:
    """Rule 3 on a QDQ graph: x -> Q(s1) -> DQ(s1) -> Mul c -> Q(s2) -> DQ(s2) becomes x -> Q(s2 / c) -> DQ(s2)."""
    made_by = {name: node for node in model.graph.node for name in node.output}
    read_by = readers(model)
    constant = constants(model)
    dropped = []
    for product in [node for node in model.graph.node if node.op_type == "Mul"]:
        before, factor = made_by.get(product.input[0]), made_by.get(product.input[1])
        after = read_by[product.output[0]]
        if before is None or factor is None or len(after) != 1 or after[0].op_type != "QuantizeLinear":
            continue
        if SCALE not in factor.input[0] or before.op_type != "DequantizeLinear" or len(read_by[before.output[0]]) != 1:
            continue
        quantize, requantize = made_by[before.input[0]], after[0]
        if len(read_by[quantize.output[0]]) != 1:
            continue
        value = numpy_helper.to_array(constant[factor.input[0]]).astype(np.float64) * numpy_helper.to_array(
            constant[factor.input[1]]
        )
        scale = numpy_helper.to_array(constant[requantize.input[1]]).astype(np.float64) / value
        requantize.input[0] = quantize.input[0]
        requantize.input[1] = _constant(model, f"{product.name}.folded", scale.item(), np.float32)
        dropped += [quantize, before, factor, product]
    _replace(model, [node for node in model.graph.node if all(node is not old for old in dropped)])
    drop_unused_initializers(model)
