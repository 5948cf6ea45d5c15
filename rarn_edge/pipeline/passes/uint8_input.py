"""A graph that takes the camera's bytes: `uint8 [N, C, H, W]` (or NHWC) instead of normalised floats.

In INT8, `(pixel - mean) / std` is what DequantizeLinear computes anyway, with scale 1/std and zero point mean, where all channels
have one deviation and one mean that is a byte: preprocessing then costs nothing and rounds nothing. Any other mean and deviation
go into the weights and bias of the first convolution, if it pads nothing (a padded border is of value 0 after, not before,
normalisation); else they stand before the graph, as a subtraction and a multiplication, as they do in every float32 graph.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, constant, only_reader, to_proto
from rarn_edge.pipeline.gate import check_alike
from rarn_edge.pipeline.passes.int8_kernels import add_constant, make_node
from rarn_edge.pipeline.passes.layout import CHANNELS_FIRST, put_first, turned_inputs

_PIXELS = "input_pixels"
_CENTRE = 128.0  # of pixels in a convolution that normalises by itself: signed activations hold them exactly


def byte_scale(spec: ModelSpec) -> tuple[float, int] | None:
    """Scale and zero point of the pixels; None where no pair of them says mean and deviation of all channels exactly."""
    means, stds = set(spec.preprocess.mean), set(spec.preprocess.std)
    mean = spec.preprocess.mean[0]
    if len(means) > 1 or len(stds) > 1 or mean != round(mean) or not 0 <= mean <= 255:
        return None
    return 1 / stds.pop(), int(mean)


def byte_ranges(model: onnx.ModelProto, spec: ModelSpec) -> dict[str, tuple[float, float]]:
    """The normalised values of pixels 0 and 255 for the input, and what is but transposed of it, where bytes say them exactly."""
    found = byte_scale(spec)
    if found is None:
        return {}
    scale, zero = found
    names = (spec.input_name, *turned_inputs(model.graph, spec))
    return dict.fromkeys(names, (-zero * scale, (255 - zero) * scale))


def into_first_convolution(model: onnx.ModelProto, spec: ModelSpec) -> tuple[onnx.ModelProto, ModelSpec]:
    """The float graph, and its spec, so that `byte_scale` says its pixels exactly; both as they are where that cannot be.

    The first convolution then takes `pixel - 128` and normalises by its own weights and bias.
    """
    if byte_scale(spec) is not None:
        return model, spec
    work = ir.from_proto(model)
    (pixels,) = (value for value in work.graph.inputs if value.name == spec.input_name)
    first = only_reader(pixels)
    if spec.layout == "NHWC" and first is not None and first.op_type == "Transpose":
        turned = first.attributes.get_ints("perm")
        first = only_reader(first.outputs[0]) if list(turned or ()) == list(CHANNELS_FIRST) else None
    weight = constant(first.inputs[1]) if first is not None and first.op_type == "Conv" and not _pads(first) else None
    bias = constant(first.inputs[2]) if first is not None and len(first.inputs) > 2 else np.zeros(1, np.float32)
    mean, std = (np.array(values, np.float64) for values in (spec.preprocess.mean, spec.preprocess.std))
    if first is None or weight is None or bias is None or weight.shape[1] != len(mean):
        return model, spec
    scaled = np.asarray(weight, np.float64) / std[None, :, None, None]  # [out, C, kh, kw]
    moved = np.asarray(bias, np.float64) + (scaled * (_CENTRE - mean)[None, :, None, None]).sum(axis=(1, 2, 3))
    name = first.name or first.outputs[0].name
    first.resize_inputs(3)
    first.replace_input_with(1, add_constant(work.graph, f"{name}.of_pixels", scaled, np.float32))
    first.replace_input_with(2, add_constant(work.graph, f"{name}.of_pixels.bias", moved, np.float32))
    ones = (1.0,) * len(mean)
    centred = replace(spec.preprocess, mean=tuple(_CENTRE * one for one in ones), std=ones)
    return onnx.shape_inference.infer_shapes(to_proto(work)), replace(spec, preprocess=centred)


def _pads(convolution: ir.Node) -> bool:
    """Whether a convolution adds a border."""
    automatic = convolution.attributes.get_string("auto_pad", "NOTSET")
    return automatic not in ("NOTSET", "VALID") or any(convolution.attributes.get_ints("pads") or ())


def float_from_bytes(model: LoadedModel) -> LoadedModel:
    """The float32 form that takes bytes.

    Raises:
        InputError: not a float32 file with float32 input.
        GateError: the answers changed.
    """
    if model.spec.input_dtype != "float32" or model.contract.precision != "float32":
        raise InputError(f"{model.name}: takes {model.spec.input_dtype} and is {model.contract.precision}")
    work = ir.from_proto(model.graph)
    _bytes_first(work.graph, lambda pixels: _normalised(work.graph, pixels, model.spec))
    contract = replace(model.contract, spec=replace(model.spec, input_dtype="uint8"))
    done = replace(model, graph=to_proto(work), contract=contract)
    check_alike(model, done, "uint8-input")
    return done


def _normalised(graph: ir.Graph, pixels: ir.Value, spec: ModelSpec) -> list[ir.Node]:
    """Nodes from bytes to `(pixel - mean) / std`, per channel."""
    mean = add_constant(graph, f"{_PIXELS}.mean", _per_channel(spec.preprocess.mean, spec), np.float32)
    scales = 1 / np.array(spec.preprocess.std)
    factor = add_constant(graph, f"{_PIXELS}.scale", _per_channel(scales.tolist(), spec), np.float32)
    cast = make_node("Cast", [pixels], f"{_PIXELS}.float", to=ir.DataType.FLOAT.value)
    centred = make_node("Sub", [cast.outputs[0], mean], f"{_PIXELS}.centred")
    return [cast, centred, make_node("Mul", [centred.outputs[0], factor], _PIXELS)]


def _per_channel(values: tuple[float, ...] | list[float], spec: ModelSpec) -> NDArray[np.float64]:
    """One number, or [C, 1, 1], in NHWC [C]."""
    if len(set(values)) == 1:
        return np.array(values[0])
    return np.array(values).reshape((-1,) if spec.layout == "NHWC" else (-1, 1, 1))


def quantized_from_bytes(model: onnx.ModelProto, spec: ModelSpec) -> onnx.ModelProto:
    """A QDQ graph that takes bytes; where `byte_scale` says them exactly, they are its quantized input.

    Unsigned activations: the input's QuantizeLinear goes. Signed ones (Arm): bytes are dequantized and quantized to s8, which
    subtracts 128 and is exact. Other means and deviations: the pixels are normalised in float32 and quantized as floats are.
    """
    work = ir.from_proto(model)
    exact = byte_scale(spec)
    if exact is None:
        _bytes_first(work.graph, lambda pixels: _normalised(work.graph, pixels, spec))
        return to_proto(work)
    scale, zero = exact
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

    _bytes_first(work.graph, dequantized)
    return to_proto(work)


def _bytes_first(graph: ir.Graph, make: Callable[[ir.Value], list[ir.Node]]) -> None:
    """Nodes between the graph's input, which becomes bytes, and all that read it."""
    put_first(graph, make).dtype = ir.DataType.UINT8
