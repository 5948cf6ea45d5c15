"""Equal float graphs that ONNX Runtime can run wholly in integers: the same weights, operators that have INT8 kernels.

1. ReduceMean and ReduceMax over the channels -> AveragePool and MaxPool over the last axis of the transposed map. Reductions have
   no INT8 kernel; pools have one, and ONNX Runtime keeps maps channels-last in INT8, so that the transposes vanish.
2. `GlobalAveragePool(x * mask)`, mask [N, 1, H, W] -> one matrix product [N, 1, H*W] x [N, H*W, C]: the weighted sum is kept in
   32 bits instead of being rounded to 8 bits for each pixel.
3. HardSigmoid, `clip(x / 6 + 1 / 2, 0, 1)`, and HardSwish, `x * HardSigmoid(x)` -> a sum, a clip, a product: the clip is where
   the sum's 8 bits end, and the division goes by rule 4.
4. After quantization, a multiplication by a positive constant goes into the scales before and after it and costs nothing.

Calibration and quantization both start from this form, so that the names of their tensors agree.
"""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir

from rarn_edge.onnx_graph import axes_of, constant, only_reader, to_proto, with_types

_TO_LAST, _TO_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_HARD = {"HardSigmoid": (0.2, 0.5), "HardSwish": (1 / 6, 0.5)}  # slope and height at zero, where a node names none
_POOLS = {"ReduceMean": "AveragePool", "ReduceMax": "MaxPool"}
SCALE = "integer_form.scale"  # marks the constants of rules 2 and 3 for rule 4


def integer_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rules 1 to 3, with inferred types and a name for each node; what does not match stays as it is."""
    work = with_types(model)
    for node in work.graph:
        node.name = node.name or node.outputs[0].name  # a foreign graph need not name its nodes
    for node in tuple(work.graph):
        if node.op_type in _POOLS:
            _pool_channels(work.graph, node)
        elif node.op_type in _HARD:
            _hard_as_clip(work.graph, node)
    for node in tuple(work.graph):
        if node.op_type == "GlobalAveragePool":
            _product_as_matmul(work.graph, node)
    return onnx.shape_inference.infer_shapes(to_proto(work))


def reduced_axes(node: ir.Node) -> set[int]:
    """The reduced axes of a rank-4 tensor, non-negative; from the attribute (opset < 18) or the second input."""
    noted = node.attributes.get_ints("axes")
    if noted is None:
        given = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        noted = () if given is None else tuple(int(axis) for axis in given)
    return {axis % 4 for axis in noted}


def keeps_axes(node: ir.Node) -> bool:
    """Whether a reduction leaves its axes in place with size 1."""
    return node.attributes.get_int("keepdims", 1) == 1


def add_constant(graph: ir.Graph, name: str, value: object, dtype: type) -> ir.Value:
    """A new initializer."""
    made = ir.val(name, const_value=ir.tensor(np.array(value, dtype=dtype), name=name))
    graph.register_initializer(made)
    return made


def make_node(operator: str, inputs: Sequence[ir.Value], name: str, **attributes: object) -> ir.Node:
    """A node that makes one tensor; both are called `name`."""
    return ir.node(operator, inputs, attributes, name=name, outputs=[ir.val(name)])  # type: ignore[arg-type] # their alias of attribute types is private


def put_in_place(graph: ir.Graph, old: Sequence[ir.Node], new: Sequence[ir.Node]) -> None:
    """The last new node makes what the last old node made, under its name; the old ones go."""
    last = old[-1]
    ir.convenience.replace_nodes_and_values(graph, last, old, new, last.outputs, new[-1].outputs)


def _pool_channels(graph: ir.Graph, node: ir.Node) -> None:
    """Rule 1; each pool has a transpose of its own, for ONNX Runtime does not push one past a fork."""
    source, name = node.inputs[0], node.outputs[0].name
    shape = axes_of(source)
    if source is None or len(shape) != 4 or not shape[1] or not keeps_axes(node) or reduced_axes(node) != {1}:
        return
    window = [1, shape[1]]
    last = make_node("Transpose", [source], f"{name}.last", perm=_TO_LAST)  # [N, H, W, C]
    pool = make_node(_POOLS[node.op_type], last.outputs, f"{name}.pooled", kernel_shape=window, strides=window)
    first = make_node("Transpose", pool.outputs, f"{name}.to_first", perm=_TO_FIRST)  # [N, 1, H, W]
    put_in_place(graph, [node], [last, pool, first])


def _hard_as_clip(graph: ir.Graph, node: ir.Node) -> None:
    """Rule 3: `clip(x + height / slope, 0, 1 / slope)`, for HardSwish times x, times `slope`."""
    given, name = node.inputs[0], node.outputs[0].name
    slope, height = (
        node.attributes.get_float(key, usual) for key, usual in zip(("alpha", "beta"), _HARD[node.op_type], strict=True)
    )
    if given is None or slope <= 0:
        return
    shift, low, high, scale = (
        add_constant(graph, f"{name}.{key}", value, np.float32)
        for key, value in (("shift", height / slope), ("low", 0.0), ("high", 1 / slope), (SCALE, slope))
    )
    moved = make_node("Add", [given, shift], f"{name}.moved")
    made = [moved, make_node("Clip", [moved.outputs[0], low, high], f"{name}.clipped")]
    if node.op_type == "HardSwish":
        made.append(make_node("Mul", [given, made[-1].outputs[0]], f"{name}.product"))
    put_in_place(graph, [node], [*made, make_node("Mul", [made[-1].outputs[0], scale], f"{name}.scaled")])


def _product_as_matmul(graph: ir.Graph, pool: ir.Node) -> None:
    """Rule 2: Mul -> GlobalAveragePool (-> Flatten), where nobody else reads the product."""
    product = pool.inputs[0].producer() if pool.inputs[0] is not None else None
    if product is None or product.op_type != "Mul" or only_reader(product.outputs[0]) is not pool:
        return
    found = _map_and_mask(product)
    if found is None:
        return
    maps, mask = found
    _, channels, height, width = axes_of(maps)
    if not (channels and height and width):
        return
    replaced, target = [product, pool], [0, -1, 1, 1]
    after = only_reader(pool.outputs[0])
    if after is not None and after.op_type == "Flatten" and after.attributes.get_int("axis", 1) == 1:
        replaced, target = [*replaced, after], [0, -1]
    key = pool.outputs[0].name
    as_rows = add_constant(graph, f"{key}.rows", [0, height * width, channels], np.int64)
    as_row = add_constant(graph, f"{key}.row", [0, 1, height * width], np.int64)
    back = add_constant(graph, f"{key}.back", target, np.int64)
    scale = add_constant(graph, f"{key}.{SCALE}", 1 / (height * width), np.float32)
    map_last = make_node("Transpose", [maps], f"{key}.map_last", perm=_TO_LAST)  # [N, H, W, C]
    map_rows = make_node("Reshape", [map_last.outputs[0], as_rows], f"{key}.map_rows")  # [N, H*W, C]
    mask_last = make_node("Transpose", [mask], f"{key}.mask_last", perm=_TO_LAST)  # [N, H, W, 1]
    mask_row = make_node("Reshape", [mask_last.outputs[0], as_row], f"{key}.mask_row")  # [N, 1, H*W]
    total = make_node("MatMul", [mask_row.outputs[0], map_rows.outputs[0]], f"{key}.sum")  # [N, 1, C]
    mean = make_node("Mul", [total.outputs[0], scale], f"{key}.mean")  # [N, 1, C]
    result = make_node("Reshape", [mean.outputs[0], back], f"{key}.result")  # [N, C] or [N, C, 1, 1]
    put_in_place(graph, replaced, [map_last, map_rows, mask_last, mask_row, total, mean, result])


def _map_and_mask(product: ir.Node) -> tuple[ir.Value, ir.Value] | None:
    """Which factor is the map [N, C, H, W] and which the mask [N, 1, H, W]."""
    for maps, mask in (tuple(product.inputs), tuple(reversed(product.inputs))):
        one, other = axes_of(maps), axes_of(mask)
        alike = len(one) == len(other) == 4 and other[1] == 1 and one[1] != 1 and one[2:] == other[2:]
        if alike and maps is not None and mask is not None:
            return maps, mask
    return None


def fold_scales(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rule 4 on a QDQ graph: x -> Q(s1) -> DQ(s1) -> Mul c -> Q(s2) -> DQ(s2) becomes x -> Q(s2 / c) -> DQ(s2)."""
    work = ir.from_proto(model)
    for product in [node for node in work.graph if node.op_type == "Mul"]:
        before, factor = (value.producer() if value is not None else None for value in product.inputs)
        after = only_reader(product.outputs[0])
        if before is None or factor is None or after is None or after.op_type != "QuantizeLinear":
            continue
        if factor.op_type != "DequantizeLinear":
            continue  # a mask that was kept in float
        kept, scale = factor.inputs[:2]
        if kept is None or SCALE not in (kept.name or "") or before.op_type != "DequantizeLinear":
            continue
        quantize = before.inputs[0].producer() if before.inputs[0] is not None else None
        if quantize is None or only_reader(before.outputs[0]) is None or only_reader(quantize.outputs[0]) is None:
            continue
        zero = factor.inputs[2] if len(factor.inputs) > 2 else None  # -128 where activations are signed
        value = (_number(kept) - (0 if zero is None else _number(zero))) * _number(scale)
        wanted = _number(after.inputs[1])
        after.replace_input_with(0, quantize.inputs[0])
        after.replace_input_with(1, add_constant(work.graph, f"{product.name}.folded", wanted / value, np.float32))
    return to_proto(work)


def _number(value: ir.Value | None) -> float:
    """A constant of one element."""
    return float(np.asarray(constant(value), dtype=np.float64).item())
