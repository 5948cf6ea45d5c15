"""A second graph output for looking inside: the mask of the angle-sensitive attention, beside the logits.

For a debug file alone: a file for a board keeps one output, and its attention fused.
"""

import onnx_ir as ir

from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, axes_of, to_proto, with_types
from rarn_edge.pipeline.gate import check_alike
from rarn_edge.pipeline.passes.int8_kernels import make_node

OUTPUT = "attention"
SECOND_OUTPUT = "second_output"  # in the provenance: which


def expose_attention(model: LoadedModel) -> LoadedModel:
    """With the further output `attention` [N, 1, h, w], 0..1; the logits stay what they are, bit by bit.

    Raises:
        InputError: the graph has no such mask, or it has that output already.
        GateError: the logits changed.
    """
    work = with_types(model.graph)
    if OUTPUT in [value.name for value in work.graph.outputs]:
        raise InputError(f"{model.name}: has the output '{OUTPUT}' already")
    mask = _find_mask(work.graph, model.name)
    shown = make_node("Identity", [mask], OUTPUT)
    shown.outputs[0].dtype, shown.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["batch", *axes_of(mask)[1:]])
    work.graph.append(shown)
    work.graph.outputs.append(shown.outputs[0])
    done = model.changed(to_proto(work), **{SECOND_OUTPUT: OUTPUT})
    check_alike(model, done, "debug", tolerance=0.0)
    return done


def _find_mask(graph: ir.Graph, name: str) -> ir.Value:
    """The one sigmoid with a single channel and two sides."""
    sigmoids = [node.outputs[0] for node in graph if node.op_type == "Sigmoid"]
    masks = [value for value in sigmoids if len(axes_of(value)) == 4 and axes_of(value)[1] == 1]
    if len(masks) != 1:
        raise InputError(f"{name}: {len(masks)} attention masks in the graph, expected one (a RARN model)")
    return masks[0]
