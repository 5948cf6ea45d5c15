"""float32 ONNX -> INT8 ONNX for one target: static, QDQ, per-channel weights.

ONNX Runtime's own entry point decides types by defaults that are slow or wrong on most CPUs and gathers ranges in memory
that grows with the images; its graph rewriting is good. So the types come from `targets`, the ranges from `calibrate`, and
the rewriting from ONNX Runtime.
"""

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

from rarn_edge.boundary.terminal import spoken_into
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype
from rarn_edge.contract.targets import RECIPES, Recipe, Target
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.files import check_output
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.passes.bias import add_zero_biases, correct_biases
from rarn_edge.pipeline.passes.int8_kernels import fold_scales
from rarn_edge.pipeline.passes.layout import turned_inputs
from rarn_edge.pipeline.passes.uint8_input import byte_ranges, into_first_convolution, quantized_from_bytes
from rarn_edge.pipeline.prepare import Prepared, check_quantizable, prepare
from rarn_edge.runtime.operators import QUANTIZED_OPS

NEAR_A_STEP = 0.1  # float16 keeps a weight to a sixteenth of one


@dataclass(frozen=True)
class Quantized:
    """The file written, its share of quantized convolutions, and which other operators had no INT8 kernel."""

    artifact: Artifact
    convolutions: int
    quantized_convolutions: int
    float_operators: tuple[str, ...]


def quantize(
    source: Artifact | Prepared,
    target: Target,
    ranges: Ranges,
    out: Path,
    input_dtype: InputDtype = "float32",
    keep_float: Collection[str] = (),
    bias_faces: Faces | None = None,
) -> Quantized:
    """Write the INT8 form of a float32 model for `target`.

    Args:
        source: A float32 file, or what was prepared of one.
        target: Decides types and weight range.
        ranges: Of this network.
        out: The file to write.
        input_dtype: `uint8`: the graph takes pixels, see `uint8_input`.
        keep_float: Names of nodes (of the integer form) that stay in float32.
        bias_faces: Calibration faces to correct biases on, see `bias`; None: biases stay.

    Raises:
        InputError: already quantized, an opset below 13, nothing to quantize, ranges of another network or graph, or `out`
            cannot be written.
    """
    check_output(out)
    prepared = prepare(source)
    model, spec = prepared.model, prepared.model.spec
    check_quantizable(model)
    tensors = ranges_for_graph(prepared, ranges)
    graph = prepared.integer if bias_faces is None else add_zero_biases(prepared.integer)
    taken = spec  # what the graph to be quantized takes as floats
    if input_dtype == "uint8":
        graph, taken = into_first_convolution(graph, spec)
        tensors |= byte_ranges(graph, taken)
    recipe = recipe_for(prepared.integer, target)  # of the weights as trained: pixels as input scale the first layer's
    quantized = _to_qdq(graph, recipe, tensors, keep_float)
    if bias_faces is not None:
        quantized = correct_biases(quantized, graph, taken, bias_faces)
    if input_dtype == "uint8":
        quantized = quantized_from_bytes(quantized, taken)
    noted = model.changed(
        quantized,
        **({} if model.source is None else {"source_sha256": model.source.sha256}),
        calibration=f"{ranges.method}, {ranges.sample}",
        calibration_sample_sha256=ranges.sample_sha256,
        recipe_int8=recipe.describe(),
        onnxruntime_quantization=onnxruntime.__version__,
        **({"kept_in_float": sorted(keep_float)} if keep_float else {}),
        **({"biases": "corrected"} if bias_faces is not None else {}),
    )
    contract = replace(noted.contract, spec=replace(spec, input_dtype=input_dtype), precision="int8", target=target)
    convolutions = [node for node in quantized.graph.node if node.op_type == "Conv"]
    fed_by = {output: node.op_type for node in quantized.graph.node for output in node.output}
    # the weights decide: a layer left in float32 may still read an activation that others needed in INT8
    in_int8 = sum(all(fed_by.get(name) == "DequantizeLinear" for name in node.input[:2]) for node in convolutions)
    lacking = sorted({node.op_type for node in graph.graph.node} - {*QUANTIZED_OPS, "Constant", "Identity"})
    written = LoadedModel(quantized, contract).save(out)
    return Quantized(written, len(convolutions), in_int8, tuple(lacking))


def ranges_for_graph(prepared: Prepared, ranges: Ranges) -> dict[str, tuple[float, float]]:
    """Low and high of each tensor; an input that is but transposed, as in a file with channels last, has the input's.

    Raises:
        InputError: ranges of another network or of another graph of it: which, and how to measure them anew.
    """
    model = prepared.model
    if not ranges.belong_to(model):
        own = model.weights_sha256 or ("" if model.source is None else model.source.sha256)
        raise InputError(
            "these ranges were measured on other weights"
            f" ({(ranges.weights_sha256 or ranges.model_sha256)[:12]}..., the model has {own[:12]}...);"
            " measure them anew with --calib DATA"
        )
    tensors, taken = dict(ranges.tensors), model.spec.input_name
    if taken in tensors:
        tensors |= dict.fromkeys(turned_inputs(prepared.integer.graph, model.spec), tensors[taken])
    missing = [name for name in prepared.activations if name not in tensors]
    if missing:
        raise InputError(
            f"the ranges lack {len(missing)} tensors of this graph (first: '{missing[0]}'), so they are of another graph;"
            " measure them anew with --calib DATA"
        )
    return tensors


def recipe_for(graph: onnx.ModelProto, target: Target) -> Recipe:
    """The recipe of a target; weights that lie on the 7-bit grid already keep it, where finer steps would miss it."""
    recipe = RECIPES[target]
    return recipe if recipe.reduced_weights else replace(recipe, reduced_weights=lie_on_seven_bits(graph))


def lie_on_seven_bits(graph: onnx.ModelProto) -> bool:
    """Whether every weight is, within a tenth of a step, one of 64 steps to its channel's largest, up or down.

    So is a network that was finished for such weights (recipe `edge-quantized`); others have one weight in five there.
    """
    tensors = {tensor.name: tensor for tensor in graph.graph.initializer}
    weighted = [node for node in graph.graph.node if node.op_type in ("Conv", "Gemm") and node.input[1] in tensors]
    for node in weighted:
        weight = onnx.numpy_helper.to_array(tensors[node.input[1]])  # [channels, ...]
        if node.op_type == "Gemm" and not any(each.name == "transB" and each.i for each in node.attribute):
            weight = weight.T
        rows = weight.reshape(len(weight), -1)
        steps = 64 * rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True), np.finfo(np.float32).tiny)
        if np.abs(steps - np.round(steps)).max() > NEAR_A_STEP:
            return False
    return bool(weighted)


def _to_qdq(
    graph: onnx.ModelProto, recipe: Recipe, tensors: dict[str, tuple[float, float]], keep_float: Collection[str]
) -> onnx.ModelProto:
    """Quantize and dequantize nodes around every operator with an INT8 kernel, in a copy."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)  # the quantizer changes the graph it is given
    data = {name: TensorData(lowest=np.float32(low), highest=np.float32(high)) for name, (low, high) in tensors.items()}
    add_infer_metadata(model)
    with spoken_into(io.StringIO()):  # it prints hints about its own entry point
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
    return fold_scales(quantizer.model.model)
