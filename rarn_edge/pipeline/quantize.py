"""float32 ONNX -> INT8 ONNX for one target: static, QDQ, per-channel weights.

ONNX Runtime's own entry point decides types by defaults that are slow or wrong on most CPUs and gathers ranges in memory
that grows with the images; its graph rewriting is good. So the types come from `targets`, the ranges from `calibrate`, and
the rewriting from ONNX Runtime.
"""

import contextlib
import io
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantType, add_infer_metadata

from rarn_edge.artifact import Artifact
from rarn_edge.errors import InputError
from rarn_edge.files import check_output
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.graph import float_activations, load_graph, opset, save_artifact
from rarn_edge.targets import RECIPES, Target

MIN_OPSET = 13  # the first whose DequantizeLinear takes one scale a channel

QUANTIZED_OPS = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "Relu", "Clip", "Concat", "Resize", "Reshape", "Flatten",
    "MaxPool", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
"""Operators with an INT8 kernel in ONNX Runtime's CPU provider; the others (channel pooling) stay float."""


@dataclass(frozen=True)
class Quantized:
    """The file written and its share of quantized convolutions."""

    artifact: Artifact
    convolutions: int
    quantized_convolutions: int


def quantize(artifact: Artifact, target: Target, ranges: Ranges, out: Path) -> Quantized:
    """Write the INT8 form of `artifact` for `target`.

    Raises:
        InputError: already quantized, an opset below 13, ranges of another network or graph, or `out` cannot be written.
    """
    check_output(out)
    if artifact.contract.precision != "float32":
        raise InputError(
            f"{artifact.path}: is already {artifact.contract.precision}; quantize the float32 file it came from"
        )
    weights = artifact.contract.provenance.get("weights_sha256")
    if ranges.weights_sha256 != weights:
        raise InputError(
            "these ranges were measured on other weights"
            f" ({(ranges.weights_sha256 or 'none')[:12]}..., the model has {(weights or 'none')[:12]}...);"
            " measure them anew with --calib DATA"
        )
    model = onnx.shape_inference.infer_shapes(load_graph(artifact.path))
    if opset(model) < MIN_OPSET:
        raise InputError(
            f"{artifact.path}: has opset {opset(model)}, and per-channel weights need {MIN_OPSET} or newer;"
            " convert it first with onnx.version_converter or export it anew"
        )
    missing = [name for name in float_activations(model) if name not in ranges.tensors]
    if missing:
        raise InputError(
            f"the ranges lack {len(missing)} tensors of this graph (first: '{missing[0]}'), so they are of another graph;"
            " measure them anew with --calib DATA"
        )
    quantized = _rewrite(model, target, ranges)
    contract = replace(
        artifact.contract,
        precision="int8",
        target=target,
        provenance={
            **artifact.contract.provenance,
            "source_sha256": artifact.sha256,
            "calibration": f"{ranges.method}, {ranges.sample}",
            "onnxruntime_quantization": onnxruntime.__version__,
        },
    )
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    fed_by = {output: node.op_type for node in quantized.graph.node for output in node.output}
    in_int8 = sum(fed_by.get(node.input[0]) == "DequantizeLinear" for node in convolutions)
    return Quantized(save_artifact(quantized, contract, out), len(convolutions), in_int8)


def _rewrite(model: onnx.ModelProto, target: Target, ranges: Ranges) -> onnx.ModelProto:
    recipe = RECIPES[target]
    data = {
        name: TensorData(lowest=np.float32(low), highest=np.float32(high))
        for name, (low, high) in ranges.tensors.items()
    }
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
            nodes_to_exclude=[],
            op_types_to_quantize=list(QUANTIZED_OPS),
            extra_options={"ActivationSymmetric": recipe.symmetric_activations, "WeightSymmetric": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()  # it appends its nodes at the end, which only ONNX Runtime itself accepts
    result: onnx.ModelProto = quantizer.model.model
    return result
