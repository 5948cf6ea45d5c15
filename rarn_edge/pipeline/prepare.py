"""What calibration and quantization both start from: a float32 model that can be quantized, and its integer form, made once."""

from dataclasses import dataclass, replace

import onnx
import onnx_ir as ir

from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, float_activations, loaded, opset
from rarn_edge.pipeline.gate import check_alike
from rarn_edge.pipeline.passes.int8_kernels import integer_form
from rarn_edge.runtime.operators import CONVERSIONS, WEIGHTED_OPS

MIN_OPSET = 13  # the first whose DequantizeLinear takes one scale a channel


@dataclass(frozen=True)
class Prepared:
    """A float32 model, the equal graph of operators that have INT8 kernels, and the names of its float tensors."""

    model: LoadedModel
    integer: onnx.ModelProto
    activations: tuple[str, ...]


def prepare(source: Artifact | LoadedModel | Prepared, needs: str = "") -> Prepared:
    """Read a file (or go on with what was read) and make its integer form, checked to answer alike.

    Raises:
        InputError: not a float32 model (`needs` says for what).
        GateError: the integer form does not answer alike.
    """
    if isinstance(source, Prepared):
        return source
    model = loaded(source)
    check_float32(model, needs)
    integer = integer_form(model.graph)
    check_alike(model, replace(model, graph=integer), "integer-form")
    return Prepared(model, integer, tuple(float_activations(ir.from_proto(integer))))


def check_float32(model: LoadedModel, needs: str = "") -> None:
    """Refuse what was converted before; `needs` says what for, in place of the general advice.

    Raises:
        InputError: not float32, or its input is uint8 already.
    """
    precision, takes = model.contract.precision, model.spec.input_dtype
    if needs and (precision != "float32" or takes != "float32"):
        raise InputError(f"{model.name}: {needs}; this one is {precision if precision != 'float32' else f'{takes} in'}")
    if precision != "float32":
        raise InputError(f"{model.name}: is already {precision}; quantize the float32 file it came from")
    quantized = [node.op_type for node in model.graph.graph.node if node.op_type in CONVERSIONS]
    if quantized:  # a foreign file whose contract does not say so
        raise InputError(
            f"{model.name}: is already quantized (it has {len(quantized)} {quantized[0]} and like nodes);"
            " quantize the float32 file it came from"
        )
    if takes != "float32":
        raise InputError(f"{model.name}: takes uint8; quantize the float32-input file with --input uint8")


def check_quantizable(model: LoadedModel) -> None:
    """Refuse what `quantize` cannot take.

    Raises:
        InputError: not a float32 model, an opset below 13, or nothing to quantize.
    """
    check_float32(model)
    if opset(model.graph) < MIN_OPSET:
        raise InputError(
            f"{model.name}: has opset {opset(model.graph)}, and per-channel weights need {MIN_OPSET} or newer;"
            " convert it first with onnx.version_converter or export it anew"
        )
    if not any(node.op_type in WEIGHTED_OPS for node in model.graph.graph.node):
        raise InputError(f"{model.name}: has no convolution and no matrix product, so there is nothing to quantize")
