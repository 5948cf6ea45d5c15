"""Bias correction: rounding shifts the mean of a layer's outputs, and a mean can be put right for nothing.

Measured on faces between the float graph and the INT8 one, layer after layer, since each correction changes the inputs of those
behind it: Nagel et al. 2019, Data-Free Quantization Through Weight Equalization and Bias Correction, section 4.2, by its
empirical variant (appendix D).
"""

from collections.abc import Sequence

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from rarn_edge.contract.artifact import open_unoptimised
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data import Faces
from rarn_edge.host.threads import default_threads
from rarn_edge.pipeline.graph import readers

FACES = 128  # spread over those given: means settle long before ranges do
_BATCH = 32
_BIASED_OPS = ("Conv", "Gemm")


def add_zero_biases(model: onnx.ModelProto) -> None:
    """Give a bias to convolutions without one, so that there is something to correct."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Conv" and len(node.input) == 2 and node.input[1] in weights:
            zeros = np.zeros(weights[node.input[1]].dims[0], dtype=np.float32)
            model.graph.initializer.append(numpy_helper.from_array(zeros, f"{node.name}.zero_bias"))
            node.input.append(f"{node.name}.zero_bias")


def correct_biases(quantized: onnx.ModelProto, reference: onnx.ModelProto, spec: ModelSpec, faces: Faces) -> int:
    """Fold each layer's shift into its bias, in place.

    Args:
        quantized: A QDQ graph with float input, made from `reference`; its layers keep their names.
        reference: The float graph.
        spec: Of both.
        faces: Of them `FACES` are used.

    Returns:
        How many layers were corrected.
    """
    chosen = np.unique(np.linspace(0, len(faces) - 1, min(FACES, len(faces))).astype(int))
    inputs = to_input(faces.images[chosen], spec.preprocess)
    layers = [node for node in reference.graph.node if node.op_type in _BIASED_OPS]
    wanted = dict(
        zip((node.name for node in layers), _means(reference, [n.output[0] for n in layers], spec, inputs), strict=True)
    )
    twins = {node.name: node for node in quantized.graph.node}
    made_by = {name: node for node in quantized.graph.node for name in node.output}
    constants = {tensor.name: tensor for tensor in quantized.graph.initializer}
    read_by = readers(quantized)
    corrected = 0
    for name, mean in wanted.items():
        layer = twins[name]
        bias = made_by.get(layer.input[2]) if len(layer.input) > 2 else None
        if bias is None or bias.op_type != "DequantizeLinear" or len(read_by[bias.input[0]]) > 1:
            continue  # this layer stayed in float, or shares its bias
        tensor = constants[bias.input[0]]
        scale = numpy_helper.to_array(constants[bias.input[1]]).astype(np.float64)
        (found,) = _means(_until(quantized, layer.output[0]), [layer.output[0]], spec, inputs)
        rounded = numpy_helper.to_array(tensor) + np.rint((mean - found) / scale)
        limits = np.iinfo(np.int32)
        tensor.CopyFrom(numpy_helper.from_array(np.clip(rounded, limits.min, limits.max).astype(np.int32), tensor.name))
        corrected += 1
    return corrected


def _means(
    model: onnx.ModelProto, names: Sequence[str], spec: ModelSpec, inputs: NDArray[np.float32]
) -> list[NDArray[np.float64]]:
    """The mean of each channel (axis 1) of these tensors."""
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    for name in names:
        tapped.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    session = open_unoptimised(tapped.SerializeToString(), threads=default_threads())
    sums: list[NDArray[np.float64]] = []
    for start in range(0, len(inputs), _BATCH):
        values = session.run(list(names), {spec.input_name: inputs[start : start + _BATCH]})
        # [N, C, ...] -> [C]: the mean over space, summed over images
        each = [value.reshape(*value.shape[:2], -1).mean(axis=2, dtype=np.float64).sum(axis=0) for value in values]
        sums = each if not sums else [old + new for old, new in zip(sums, each, strict=True)]
    return [total / len(inputs) for total in sums]


def _until(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The part of a graph that makes one tensor."""
    needed, kept = {name}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.node.extend(reversed(kept))
    part.graph.input.extend(model.graph.input)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in needed)
    return part
