"""A graph that takes the camera's bytes: `uint8 [N, C, H, W]` instead of normalised floats.

In INT8, `(pixel - mean) / std` is what DequantizeLinear computes anyway, with scale 1/std and zero point mean: preprocessing
costs nothing and rounds nothing. The float32 graph gets the same contract by a cast, a subtraction and a multiplication.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir

from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, constant, only_reader, to_proto
from rarn_edge.pipeline.gate import check_alike
from rarn_edge.pipeline.passes.int8_kernels import add_constant, make_node

_PIXELS = "input_pixels"


def byte_scale(spec: ModelSpec) -> tuple[float, int]:
    """Scale and zero point of the pixels.

    Raises:
        InputError: channels normalised differently, or a mean that is no byte: no scale and zero point say that exactly.
    """
    means, stds = set(spec.preprocess.mean), set(spec.preprocess.std)
    if len(means) > 1 or len(stds) > 1:
        raise InputError(f"--input uint8 needs the same mean and deviation in all channels; '{spec.name}' has several")
    mean, std = means.pop(), stds.pop()
    if mean != round(mean) or not 0 <= mean <= 255:
        raise InputError(
            f"--input uint8 needs a mean that is a whole number from 0 to 255, for it becomes a zero point; "
            f"'{spec.name}' has {mean:g}. Keep --input float32"
        )
    return 1 / std, int(mean)


def byte_range(spec: ModelSpec) -> tuple[float, float]:
    """The normalised values of pixels 0 and 255."""
    scale, zero = byte_scale(spec)
    return -zero * scale, (255 - zero) * scale


def float_from_bytes(model: LoadedModel) -> LoadedModel:
    """The float32 form that takes bytes.

    Raises:
        InputError: not a float32 file with float32 input, or `byte_scale`'s reasons.
        GateError: the answers changed.
    """
    if model.spec.input_dtype != "float32" or model.contract.precision != "float32":
        raise InputError(f"{model.name}: takes {model.spec.input_dtype} and is {model.contract.precision}")
    scale, zero = byte_scale(model.spec)
    work = ir.from_proto(model.graph)

    def normalised(pixels: ir.Value) -> list[ir.Node]:
        mean = add_constant(work.graph, f"{_PIXELS}.mean", zero, np.float32)
        factor = add_constant(work.graph, f"{_PIXELS}.scale", scale, np.float32)
        cast = make_node("Cast", [pixels], f"{_PIXELS}.float", to=ir.DataType.FLOAT.value)
        centred = make_node("Sub", [cast.outputs[0], mean], f"{_PIXELS}.centred")
        return [cast, centred, make_node("Mul", [centred.outputs[0], factor], _PIXELS)]

    _put_first(work.graph, normalised)
    contract = replace(model.contract, spec=replace(model.spec, input_dtype="uint8"))
    done = replace(model, graph=to_proto(work), contract=contract)
    check_alike(model, done, "uint8-input")
    return done


def quantized_from_bytes(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """A QDQ graph whose quantized input are the bytes.

    Unsigned activations: the input's QuantizeLinear goes. Signed ones (Arm): bytes are dequantized and quantized to s8, which
    subtracts 128 and is exact.
    """
    scale, zero = byte_scale(spec)
    work = ir.from_proto(model)
    (pixels,) = (value for value in work.graph.inputs if value.name == spec.input_name)
    first = only_reader(pixels)
    zero_point = constant(first.inputs[2]) if first is not None and first.op_type == "QuantizeLinear" else None
    if first is not None and zero_point is not None and zero_point.dtype == np.uint8:
        found = float(np.asarray(constant(first.inputs[1])).item()), int(zero_point.item())
        if found[1] != zero or not np.isclose(found[0], scale, rtol=1e-6):
            raise InputError(
                f"the input was quantized with scale {found[0]:g} and zero point {found[1]},"
                f" its bytes mean {scale:g} and {zero}"
            )
        first.outputs[0].replace_all_uses_with(pixels)
        pixels.dtype = ir.DataType.UINT8
        return to_proto(work)

    def dequantized(given: ir.Value) -> list[ir.Node]:
        step = add_constant(work.graph, f"{_PIXELS}.scale", scale, np.float32)
        centre = add_constant(work.graph, f"{_PIXELS}.zero_point", zero, np.uint8)
        return [make_node("DequantizeLinear", [given, step, centre], _PIXELS)]

    _put_first(work.graph, dequantized)
    return to_proto(work)


def _put_first(graph: ir.Graph, make: Callable[[ir.Value], list[ir.Node]]) -> None:
    """Nodes between the graph's input, which becomes bytes, and all that read it."""
    (pixels,) = (value for value in graph.inputs if not value.is_initializer())
    uses = tuple(pixels.uses())
    nodes = make(pixels)
    for use in uses:
        use.node.replace_input_with(use.idx, nodes[-1].outputs[0])
    graph.insert_before(graph[0], nodes)
    pixels.dtype = ir.DataType.UINT8
