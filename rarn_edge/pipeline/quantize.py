"""float32 ONNX -> INT8 ONNX for one target: static, QDQ, per-channel weights.

ONNX Runtime's own entry point decides types by defaults that are slow or wrong on most CPUs and gathers ranges in memory
that grows with the images; its graph rewriting is good. So the types come from `targets`, the ranges from `calibrate`, and
the rewriting from ONNX Runtime.
"""

import contextlib
import io
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantType, add_infer_metadata

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype
from rarn_edge.contract.targets import RECIPES, Target
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.files import check_output
from rarn_edge.pipeline.bias import add_zero_biases, correct_biases
from rarn_edge.pipeline.bytes_in import byte_range, quantized_graph_from_bytes
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.graph import float_activations, load_graph, opset, save_artifact
from rarn_edge.pipeline.integer import fold_scales, integer_form

MIN_OPSET = 13  # the first whose DequantizeLinear takes one scale a channel

QUANTIZED_OPS = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "LeakyRelu", "Relu", "Clip", "Concat", "Resize", "Reshape", "Flatten",
    "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
"""Operators with an INT8 kernel in ONNX Runtime's CPU provider; the others stay float."""

WEIGHTED_OPS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True)
class Quantized:
    """The file written, its share of quantized convolutions, and which other operators had no INT8 kernel."""

    artifact: Artifact
    convolutions: int
    quantized_convolutions: int
    float_operators: tuple[str, ...]


def quantize(
    artifact: Artifact,
    target: Target,
    ranges: Ranges,
    out: Path,
    input_dtype: InputDtype = "float32",
    keep_float: Collection[str] = (),
    bias_faces: Faces | None = None,
) -> Quantized:
    """Write the INT8 form of `artifact` for `target`.

    Args:
        artifact: A float32 file.
        target: Decides types and weight range.
        ranges: Of this network.
        out: The file to write.
        input_dtype: `uint8`: the graph takes pixels, see `bytes_in`.
        keep_float: Names of nodes (of the integer form) that stay in float32.
        bias_faces: Calibration faces to correct biases on, see `bias`; None: biases stay.

    Raises:
        InputError: already quantized, an opset below 13, nothing to quantize, ranges of another network or graph, or `out`
            cannot be written.
    """
    check_output(out)
    graph = quantizable(artifact)
    if not ranges.belong_to(artifact):
        weights = artifact.contract.provenance.get("weights_sha256")
        raise InputError(
            "these ranges were measured on other weights"
            f" ({(ranges.weights_sha256 or ranges.model_sha256)[:12]}..., the model has {(weights or artifact.sha256)[:12]}...);"
            " measure them anew with --calib DATA"
        )
    model = integer_form(graph)
    missing = [name for name in float_activations(model) if name not in ranges.tensors]
    if missing:
        raise InputError(
            f"the ranges lack {len(missing)} tensors of this graph (first: '{missing[0]}'), so they are of another graph;"
            " measure them anew with --calib DATA"
        )
    tensors = dict(ranges.tensors)
    if input_dtype == "uint8":
        tensors[artifact.spec.input_name] = byte_range(artifact.spec)
    lacking = sorted({node.op_type for node in model.graph.node} - {*QUANTIZED_OPS, "Constant", "Identity"})
    if bias_faces is None:
        quantized = _rewrite(model, target, tensors, keep_float)
    else:
        add_zero_biases(model)
        reference = onnx.ModelProto()
        reference.CopyFrom(model)  # the quantizer changes the graph it is given
        quantized = _rewrite(model, target, tensors, keep_float)
        correct_biases(quantized, reference, artifact.spec, bias_faces)
    spec = artifact.spec
    if input_dtype == "uint8":
        quantized_graph_from_bytes(quantized, spec)
        spec = replace(spec, input_dtype="uint8")
    contract = replace(
        artifact.contract,
        spec=spec,
        precision="int8",
        target=target,
        provenance={
            **artifact.contract.provenance,
            "source_sha256": artifact.sha256,
            "calibration": f"{ranges.method}, {ranges.sample}",
            "calibration_sample_sha256": ranges.sample_sha256,
            "recipe_int8": RECIPES[target].describe(),
            "onnxruntime_quantization": onnxruntime.__version__,
            **({"kept_in_float": sorted(keep_float)} if keep_float else {}),
            **({"biases": "corrected"} if bias_faces is not None else {}),
        },
    )
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    fed_by = {output: node.op_type for node in quantized.graph.node for output in node.output}
    # the weights decide: a layer left in float32 may still read an activation that others needed in INT8
    in_int8 = sum(all(fed_by.get(name) == "DequantizeLinear" for name in node.input[:2]) for node in convolutions)
    return Quantized(save_artifact(quantized, contract, out), len(convolutions), in_int8, tuple(lacking))


def require_float32(artifact: Artifact) -> None:
    """Refuse a file that was converted before.

    Raises:
        InputError: not float32, or its input is uint8 already.
    """
    if artifact.contract.precision != "float32":
        raise InputError(
            f"{artifact.path}: is already {artifact.contract.precision}; quantize the float32 file it came from"
        )
    quantized = [node.op_type for node in load_graph(artifact.path).graph.node if "Quantize" in node.op_type]
    if quantized:  # a foreign file whose contract does not say so
        raise InputError(
            f"{artifact.path}: is already quantized (it has {len(quantized)} {quantized[0]} and like nodes);"
            " quantize the float32 file it came from"
        )
    if artifact.spec.input_dtype != "float32":
        raise InputError(f"{artifact.path}: takes uint8; quantize the float32-input file with --input uint8")


def quantizable(artifact: Artifact) -> onnx.ModelProto:
    """The graph of what `quantize` can take.

    Raises:
        InputError: not a float32 file, an opset below 13, or nothing to quantize.
    """
    require_float32(artifact)
    model = load_graph(artifact.path)
    if opset(model) < MIN_OPSET:
        raise InputError(
            f"{artifact.path}: has opset {opset(model)}, and per-channel weights need {MIN_OPSET} or newer;"
            " convert it first with onnx.version_converter or export it anew"
        )
    if not any(node.op_type in WEIGHTED_OPS for node in model.graph.node):
        raise InputError(f"{artifact.path}: has no convolution and no matrix product, so there is nothing to quantize")
    return model


def _rewrite(
    model: onnx.ModelProto, target: Target, tensors: dict[str, tuple[float, float]], keep_float: Collection[str]
) -> onnx.ModelProto:
    recipe = RECIPES[target]
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in tensors.items()}
    add_infer_metadata(model)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints hints about its own entry point
        quantizer = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=recipe.reduced_weights,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if recipe.unsigned_activations else QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, data),
            nodes_to_quantize=[],
            nodes_to_exclude=sorted(keep_float),
            op_types_to_quantize=list(QUANTIZED_OPS),
            extra_options={"ActivationSymmetric": recipe.symmetric_activations, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # it appends its nodes at the end, which only ONNX Runtime itself accepts
    result: onnx.ModelProto = quantizer.model.model
    fold_scales(result)
    del result.graph.value_info[:]  # readers infer it; in a small model it is a tenth of the file
    return result
