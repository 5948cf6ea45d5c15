"""A graph that takes the camera's bytes: `uint8 [N, C, H, W]` instead of normalised floats.

In INT8, `(pixel - mean) / std` is what DequantizeLinear computes anyway, with scale 1/std and zero point mean: preprocessing
costs nothing and rounds nothing. The float32 graph gets the same contract by a cast, a subtraction and a multiplication.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.files import check_output
from rarn_edge.pipeline.graph import load_graph, save_artifact

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


def float_graph_from_bytes(artifact: Artifact, out: Path) -> Artifact:
    """Write the float32 form of `artifact` that takes bytes.

    Raises:
        InputError: not a float32 file with float32 input, or `byte_scale`'s reasons.
    """
    check_output(out)
    if artifact.spec.input_dtype != "float32" or artifact.contract.precision != "float32":
        raise InputError(f"{artifact.path}: takes {artifact.spec.input_dtype} and is {artifact.contract.precision}")
    model = load_graph(artifact.path)
    scale, zero = byte_scale(artifact.spec)
    name = artifact.spec.input_name
    constants = {f"{_PIXELS}.mean": zero, f"{_PIXELS}.scale": scale}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(value, dtype=np.float32), key) for key, value in constants.items()
    )
    first = [
        helper.make_node("Cast", [name], [f"{_PIXELS}.float"], f"{_PIXELS}.float", to=TensorProto.FLOAT),
        helper.make_node("Sub", [f"{_PIXELS}.float", f"{_PIXELS}.mean"], [f"{_PIXELS}.centred"], f"{_PIXELS}.centred"),
        helper.make_node("Mul", [f"{_PIXELS}.centred", f"{_PIXELS}.scale"], [_PIXELS], _PIXELS),
    ]
    _rename_readers(model, name, _PIXELS)
    _put_first(model, first)
    _take_bytes(model, name)
    contract = replace(artifact.contract, spec=replace(artifact.spec, input_dtype="uint8"))
    return save_artifact(model, contract, out)


def quantized_graph_from_bytes(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Change a QDQ graph in place: the bytes are the quantized input.

    Unsigned activations: the input's QuantizeLinear goes. Signed ones (Arm): bytes are dequantized and quantized to s8, which
    subtracts 128 and is exact.
    """
    name = spec.input_name
    scale, zero = byte_scale(spec)
    first = [node for node in model.graph.node if name in node.input]
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    if len(first) == 1 and first[0].op_type == "QuantizeLinear":
        zero_point = initializers[first[0].input[2]]
        if zero_point.data_type == TensorProto.UINT8:
            found = (
                float(numpy_helper.to_array(initializers[first[0].input[1]])),
                int(numpy_helper.to_array(zero_point)),
            )
            if found[1] != zero or not np.isclose(found[0], scale, rtol=1e-6):
                raise InputError(
                    f"the input was quantized with scale {found[0]:g} and zero point {found[1]},"
                    f" its bytes mean {scale:g} and {zero}"
                )
            _rename_readers(model, first[0].output[0], name)
            model.graph.node.remove(first[0])
            _take_bytes(model, name)
            return
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.array(scale, dtype=np.float32), f"{_PIXELS}.scale"),
            numpy_helper.from_array(np.array(zero, dtype=np.uint8), f"{_PIXELS}.zero_point"),
        ]
    )
    _rename_readers(model, name, _PIXELS)
    parameters = [f"{_PIXELS}.scale", f"{_PIXELS}.zero_point"]
    _put_first(model, [helper.make_node("DequantizeLinear", [name, *parameters], [_PIXELS], f"{_PIXELS}.dequantize")])
    _take_bytes(model, name)


def _rename_readers(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            if name == old:
                node.input[position] = new


def _put_first(model: onnx.ModelProto, nodes: list[onnx.NodeProto]) -> None:
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def _take_bytes(model: onnx.ModelProto, name: str) -> None:
    value = next(value for value in model.graph.input if value.name == name)
    value.type.tensor_type.elem_type = TensorProto.UINT8
