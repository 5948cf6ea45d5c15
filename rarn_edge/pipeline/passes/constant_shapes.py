"""Sizes that a graph computes while it runs become constants: the batch is the only free axis, so all else is known beforehand.

torch's exporter writes `Shape -> Concat -> Resize` where the factor is no whole number; others write
`Shape -> Gather -> Concat -> Reshape`. A GPU provider leaves such a chain to the CPU.

1. Resize to computed sizes -> Resize by constant scales, where all axes but the batch are known.
2. Reshape to a computed shape -> Reshape to a constant one, -1 for the one axis that is free.
"""

import numpy as np
import onnx
import onnx_ir as ir

from rarn_edge.onnx_graph import axes_of, constant, to_proto
from rarn_edge.pipeline.passes.int8_kernels import add_constant


def constant_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Both rules; a chain that nobody reads any more is gone, and what does not match stays as it is."""
    work = ir.from_proto(onnx.shape_inference.infer_shapes(model, data_prop=True))
    for node in work.graph:
        if node.op_type == "Resize" and len(node.inputs) == 4:
            _resize(work.graph, node)
        elif node.op_type == "Reshape":
            _reshape(work.graph, node)
    return to_proto(work)


def _resize(graph: ir.Graph, node: ir.Node) -> None:
    """Rule 1."""
    before, after = axes_of(node.inputs[0]), axes_of(node.outputs[0])
    sizes = node.inputs[3]
    stretched = node.attributes.get_string("keep_aspect_ratio_policy", "stretch") == "stretch"
    plain = stretched and "axes" not in node.attributes
    if sizes is None or constant(sizes) is not None or not plain or len(before) != len(after) or len(before) < 3:
        return
    scales = [1.0]
    for old, new in zip(before[1:], after[1:], strict=True):
        if not old or not new:
            return
        scale = np.float32(new / old)
        scales.append(
            float(
                scale if int(np.floor(np.float32(old) * scale)) == new else np.nextafter(scale, np.float32(2) * scale)
            )
        )
    node.replace_input_with(2, add_constant(graph, f"{node.outputs[0].name}.scales", scales, np.float32))
    node.resize_inputs(3)


def _reshape(graph: ir.Graph, node: ir.Node) -> None:
    """Rule 2."""
    axes = axes_of(node.outputs[0])
    if not axes or constant(node.inputs[1]) is not None or sum(axis is None for axis in axes) > 1 or 0 in axes:
        return
    shape = [-1 if axis is None else axis for axis in axes]
    node.replace_input_with(1, add_constant(graph, f"{node.outputs[0].name}.shape", shape, np.int64))
