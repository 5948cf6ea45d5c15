"""What ONNX Runtime's CPU provider can do in INT8, and how much an operator multiplies: the one list for all that ask."""

import math
from collections.abc import Sequence

QUANTIZED_OPS = (
    "Conv", "Gemm", "MatMul", "Add", "Mul", "Sigmoid", "LeakyRelu", "Relu", "Clip", "Concat", "Resize", "Reshape", "Flatten",
    "Transpose", "Squeeze", "Unsqueeze", "MaxPool", "AveragePool", "GlobalAveragePool",
)  # fmt: skip
"""Operators of a float graph that `quantize` puts between quantized tensors; the others stay float."""

WEIGHTED_OPS = ("Conv", "Gemm", "MatMul")

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")

_KERNELS = frozenset((*QUANTIZED_OPS, "Upsample", "Split", "Where", "Softmax"))
_CONVOLUTIONS = ("Conv", "FusedConv", "NhwcFusedConv", "QLinearConv", "ConvInteger", "NhwcConv")


def plain_name(operator: str) -> str:
    """`FusedConv` -> `Conv`: the operator of a float graph that ONNX Runtime fused with its activation."""
    return operator.removeprefix("Nhwc").removeprefix("Fused")


def has_int8_kernel(operator: str) -> bool:
    """Whether a float operator could have run in INT8; a reordering of memory goes with its neighbours."""
    return plain_name(operator) in _KERNELS or operator in ("ReorderInput", "ReorderOutput")


def is_convolution(operator: str) -> bool:
    """Whether it is one, in float or in integers."""
    return operator in _CONVOLUTIONS


def computes_in_int8(operator: str) -> bool:
    """Whether the operator multiplies or moves integers by its very name."""
    return operator.startswith(("QLinear", "QGemm")) or "Integer" in operator or operator == "DynamicQuantizeMatMul"


def multiply_adds(operator: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """Of one call, from the shapes of its inputs and of its output; 0 for what multiplies no matrices."""
    if operator == "ConvTranspose" and len(inputs) > 1:
        return math.prod(inputs[0]) * math.prod(inputs[1][1:])  # each input value meets [out / groups, height, width]
    if "Conv" in operator:
        place = 3 if operator == "QLinearConv" else 1
        weight = inputs[place] if place < len(inputs) else ()  # [out, in / groups, height, width]
        return math.prod(output) * math.prod(weight[1:]) if weight else 0
    if "Gemm" in operator and inputs and output:
        return math.prod(inputs[0]) * output[-1]  # [rows, inner], transposed or not, times the columns
    if "MatMul" in operator and inputs and inputs[0]:
        return math.prod(output) * inputs[0][-1]
    return 0
