"""A graph that takes its pictures as decoders and cameras give them: channels last, [N, H, W, C].

One transpose before the graph turns them; ONNX Runtime keeps maps channels-last in INT8, where it costs nothing.
"""

from collections.abc import Callable
from dataclasses import replace

import onnx
import onnx_ir as ir

from rarn_edge.contract.spec import Layout, ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, to_proto
from rarn_edge.pipeline.gate import check_alike
from rarn_edge.pipeline.passes.int8_kernels import make_node

CHANNELS_FIRST = (0, 3, 1, 2)
_TURNED = "input_channels_first"


def in_layout(model: LoadedModel, layout: Layout) -> LoadedModel:
    """The same network with an input of that layout; as it is where it has it already.

    Raises:
        InputError: channels last cannot be taken back.
        GateError: the answers changed.
    """
    spec = model.spec
    if layout == spec.layout:
        return model
    if layout == "NCHW":
        raise InputError(f"{model.name}: takes channels last; export it again with --layout nchw")
    work = ir.from_proto(model.graph)
    changed = replace(spec, layout=layout)
    pixels = put_first(work.graph, lambda given: [make_node("Transpose", [given], _TURNED, perm=CHANNELS_FIRST)])
    batch = pixels.shape[0] if pixels.shape is not None else "batch"
    pixels.shape = ir.Shape([batch, *changed.input_shape])
    done = replace(model, graph=to_proto(work), contract=replace(model.contract, spec=changed))
    check_alike(model, done, "channels-last")
    return done


def turned_inputs(graph: onnx.GraphProto, spec: ModelSpec) -> tuple[str, ...]:
    """The tensors that are the input but transposed: its values, hence its range."""
    turned = (node for node in graph.node if node.op_type == "Transpose" and node.input[0] == spec.input_name)
    return tuple(node.output[0] for node in turned)


def put_first(graph: ir.Graph, make: Callable[[ir.Value], list[ir.Node]]) -> ir.Value:
    """Nodes between the graph's input, which is returned, and all that read it."""
    (pixels,) = (value for value in graph.inputs if not value.is_initializer())
    uses = tuple(pixels.uses())
    nodes = make(pixels)
    for use in uses:
        use.node.replace_input_with(use.idx, nodes[-1].outputs[0])
    graph.insert_before(graph[0], nodes)
    return pixels
