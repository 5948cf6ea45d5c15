"""Cross-layer equalization: the same network, with channels of like range, so that 8 bits fit all of them.

Between two convolutions with only positively homogeneous operators in between, f(s x) = s f(x): what the first divides a channel
by, the second multiplies it with. The factors give each channel the same range on both sides: Nagel et al. 2019, Data-Free
Quantization Through Weight Equalization and Bias Correction, section 4.1.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import GateError, InputError
from rarn_edge.files import check_output
from rarn_edge.pipeline.graph import load_graph, readers, save_artifact
from rarn_edge.pipeline.simplify import difference

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


def equalize(artifact: Artifact, out: Path) -> Artifact:
    """Write `artifact` with every pair of convolutions equalized; its activation ranges must be measured anew.

    Raises:
        InputError: no pair to equalize, or `out` cannot be written.
        GateError: the answers changed.
    """
    check_output(out)
    original = load_graph(artifact.path)
    model = onnx.ModelProto()
    model.CopyFrom(original)
    pairs = equalize_graph(model)
    if pairs == 0:
        raise InputError(
            f"{artifact.path.name}: no convolution feeds another through ReLU or pooling alone, so there is nothing to equalize;"
            " leave --equalize out"
        )
    different = difference(original, model, artifact.spec, "equalized")
    if different is not None:
        raise GateError(f"{artifact.path.name}: {different}; leave --equalize out")
    note = f"{pairs} pairs of convolutions"
    contract = replace(artifact.contract, provenance={**artifact.contract.provenance, "equalized": note})
    return save_artifact(model, contract, out)


def has_pairs(model: onnx.ModelProto) -> bool:
    """Whether there is anything to equalize."""
    return next(_pairs(model), None) is not None


def equalize_graph(model: onnx.ModelProto) -> int:
    """Equalize in place until nothing moves, for a convolution can be in two pairs; returns the number of pairs."""
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    pairs = list(_pairs(model))
    names = {name for pair in pairs for name in (pair.weight, pair.bias, pair.next_weight) if name is not None}
    values = {name: numpy_helper.to_array(tensors[name]).astype(np.float64) for name in names}
    for _ in range(_SWEEPS):
        if max((_equalize(pair, values) for pair in pairs), default=0.0) < _SETTLED:
            break
    for name, value in values.items():
        tensors[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
    return len(pairs)


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


def _pairs(model: onnx.ModelProto) -> Iterator[_Pair]:
    """Convolutions whose result reaches only one other, with constants that nobody shares."""
    read_by = readers(model)
    floats = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    owned = {name for name in floats if len(read_by.get(name, ())) == 1}
    for node in model.graph.node:
        if node.op_type != "Conv":
            continue
        following = read_by[node.output[0]]
        while len(following) == 1 and following[0].op_type in HOMOGENEOUS:
            following = read_by[following[0].output[0]]
        if len(following) != 1 or following[0].op_type != "Conv":
            continue
        after = following[0]
        bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
        if {node.input[1], after.input[1], *([bias] if bias else [])} <= owned:
            groups = next((attribute.i for attribute in after.attribute if attribute.name == "group"), 1)
            yield _Pair(node.input[1], bias, after.input[1], groups)
