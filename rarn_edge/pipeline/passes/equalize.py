"""Cross-layer equalization: the same network, with channels of like range, so that 8 bits fit all of them.

Between two convolutions with only positively homogeneous operators in between, f(s x) = s f(x): what the first divides a channel
by, the second multiplies it with. The factors give each channel the same range on both sides: Nagel et al. 2019, Data-Free
Quantization Through Weight Equalization and Bias Correction, section 4.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, constant, only_reader, to_proto
from rarn_edge.pipeline.gate import check_alike

HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity")

_SWEEPS = 20
_SETTLED = 1e-3  # of the natural logarithm of the largest factor


@dataclass(frozen=True)
class _Pair:
    """Names of initializers: of the first convolution's weight and bias, and of the second's weight."""

    weight: str  # [C, I/g, kH, kW]
    bias: str | None  # [C]
    next_weight: str  # [O, C/groups, kH, kW]
    groups: int  # of the second


def equalize(model: LoadedModel) -> LoadedModel:
    """With every pair of convolutions equalized, until nothing moves, for one can be in two pairs.

    Its activation ranges must be measured anew.

    Raises:
        InputError: no pair to equalize.
        GateError: the answers changed.
    """
    work = ir.from_proto(model.graph)
    pairs = list(_pairs(work.graph))
    if not pairs:
        raise InputError(
            f"{model.name}: no convolution feeds another through ReLU or pooling alone, so there is nothing to equalize;"
            " leave --equalize out"
        )
    tensors = work.graph.initializers
    names = {name for pair in pairs for name in (pair.weight, pair.bias, pair.next_weight) if name is not None}
    values = {name: np.array(constant(tensors[name]), dtype=np.float64) for name in names}
    for _ in range(_SWEEPS):
        if max(_equalize(pair, values) for pair in pairs) < _SETTLED:
            break
    for name, value in values.items():
        tensors[name].const_value = ir.tensor(value.astype(np.float32), name=name)
    done = model.changed(to_proto(work), equalized=f"{len(pairs)} pairs of convolutions")
    check_alike(model, done, "equalized", advice="leave --equalize out")
    return done


def has_pairs(model: LoadedModel) -> bool:
    """Whether there is anything to equalize."""
    return next(_pairs(ir.from_proto(model.graph).graph), None) is not None


def _equalize(pair: _Pair, values: dict[str, NDArray[np.float64]]) -> float:
    """One step of one pair; returns the largest |log factor|."""
    first, second = values[pair.weight], values[pair.next_weight]
    outputs, inputs, *kernel = second.shape
    grouped = second.reshape(pair.groups, outputs // pair.groups, inputs, *kernel)  # a view: [g, O/g, C/g, kH, kW]
    before = np.abs(first).max(axis=(1, 2, 3))  # [C]
    after = np.abs(grouped).max(axis=(1, 3, 4)).reshape(-1)  # [C]
    alive = (before > 0) & (after > 0)  # a dead channel has no range to share
    factor = np.ones_like(before)
    factor[alive] = np.sqrt(before[alive] / after[alive])  # both ranges become sqrt(before * after)
    first /= factor[:, None, None, None]
    if pair.bias is not None:
        values[pair.bias] /= factor
    grouped *= factor.reshape(pair.groups, 1, inputs, 1, 1)
    return float(np.abs(np.log(factor)).max())


def _pairs(graph: ir.Graph) -> Iterator[_Pair]:
    """Convolutions whose result reaches only one other, with float constants that nobody shares."""
    for node in graph:
        if node.op_type != "Conv":
            continue
        after = only_reader(node.outputs[0])
        while after is not None and after.op_type in HOMOGENEOUS:
            after = only_reader(after.outputs[0])
        if after is None or after.op_type != "Conv":
            continue
        weight, bias, next_weight = _owned(node, 1), _owned(node, 2), _owned(after, 1)
        biased = len(node.inputs) > 2 and node.inputs[2] is not None
        if weight is not None and next_weight is not None and (bias is not None or not biased):
            yield _Pair(weight, bias, next_weight, after.attributes.get_int("group", 1))


def _owned(node: ir.Node, place: int) -> str | None:
    """The name of a float32 initializer that this node alone reads."""
    value = node.inputs[place] if place < len(node.inputs) else None
    if value is None or not value.is_initializer() or value.dtype != ir.DataType.FLOAT:
        return None
    return value.name if only_reader(value) is node else None
