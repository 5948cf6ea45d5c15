"""Bias correction: rounding shifts the mean of a layer's outputs, and a mean can be put right for nothing.

Measured on faces between the float graph and the INT8 one, layer after layer, since each correction changes the inputs of those
behind it: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2, by its
empirical variant (appendix D).
"""

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import model_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data import Faces
from rarn_edge.host.threads import default_threads
from rarn_edge.onnx_graph import constant, only_reader, tapped_session, to_proto
from rarn_edge.pipeline.passes.int8_kernels import add_constant

FACES = 128  # spread over those given: means settle long before ranges do
_BATCH = 32
_BIASED_OPS = ("Conv", "Gemm")


def add_zero_biases(model: onnx.ModelProto) -> onnx.ModelProto:
    """With a bias for convolutions without one, so that there is something to correct."""
    work = ir.from_proto(model)
    for node in work.graph:
        weight = constant(node.inputs[1]) if node.op_type == "Conv" and len(node.inputs) == 2 else None
        if weight is not None:
            node.resize_inputs(3)
            zeros = np.zeros(weight.shape[0])
            node.replace_input_with(2, add_constant(work.graph, f"{node.name}.zero_bias", zeros, np.float32))
    return ir.to_proto(work)


def correct_biases(
    quantized: onnx.ModelProto, reference: onnx.ModelProto, spec: ModelSpec, faces: Faces
) -> onnx.ModelProto:
    """Fold each layer's shift into its bias.

    Args:
        quantized: A QDQ graph with float input, made from `reference`; its layers keep their names.
        reference: The float graph.
        spec: Of both.
        faces: Of them `FACES` are used.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(FACES, len(faces))).astype(int))
    inputs = np.asarray(model_input(faces.images[chosen], spec), dtype=np.float32)
    layers = [node for node in reference.graph.node if node.op_type in _BIASED_OPS]
    means = _means(reference, [node.output[0] for node in layers], spec, inputs)
    work = ir.from_proto(quantized)
    twins = {node.name: node for node in work.graph}
    for layer, mean in zip(layers, means, strict=True):
        twin = twins[layer.name]
        bias = twin.inputs[2].producer() if len(twin.inputs) > 2 and twin.inputs[2] is not None else None
        if bias is None or bias.op_type != "DequantizeLinear":
            continue  # this layer stayed in float
        tensor, scale = bias.inputs[:2]
        if tensor is None or only_reader(tensor) is not bias:
            continue  # it shares its bias
        (found,) = _means(ir.to_proto(work), [twin.outputs[0].name or ""], spec, inputs)
        step = np.asarray(constant(scale), dtype=np.float64)
        rounded = np.asarray(constant(tensor), dtype=np.float64) + np.rint((mean - found) / step)
        limits = np.iinfo(np.int32)
        whole = np.clip(rounded, limits.min, limits.max).astype(np.int32)
        tensor.const_value = ir.tensor(whole, name=tensor.name)
    return to_proto(work)


def _means(
    model: onnx.ModelProto, names: Sequence[str], spec: ModelSpec, inputs: NDArray[np.float32]
) -> list[NDArray[np.float64]]:
    """The mean of each channel (axis 1) of these tensors."""
    session = tapped_session(model, names, default_threads())
    sums: list[NDArray[np.float64]] = []
    for start in range(0, len(inputs), _BATCH):
        values = session.run(list(names), {spec.input_name: inputs[start : start + _BATCH]})
        # [N, C, ...] -> [C]: the mean over space, summed over images
        each = [value.reshape(*value.shape[:2], -1).mean(axis=2, dtype=np.float64).sum(axis=0) for value in values]
        sums = each if not sums else [old + new for old, new in zip(sums, each, strict=True)]
    return [total / len(inputs) for total in sums]
