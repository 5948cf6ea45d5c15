"""Which node? Two graphs of one model, tensor by tensor, matched by name.

Each node of the second graph is fed what the first graph computed, so that its difference is its own and not what came
down to it: one run of the second graph in which every matched tensor is an input as well as an output. A quantize and
dequantize pair counts as a node: it is fed the exact tensor, and what reads it gets the exact tensor again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Artifact, Precision
from rarn_edge.contract.preprocess import model_input
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import (
    LoadedModel,
    constant,
    float_activations,
    loaded,
    tapped_session,
    values_by_name,
    with_types,
)
from rarn_edge.parity.steps import Execution, Step
from rarn_edge.stats.sqnr import MAX_SQNR_DB, sqnr_db

MIN_FLOAT_SNR_DB = 80.0  # float32 nodes measure 120 and more
MIN_INT8_SNR_DB = 25.0  # of its own; a right INT8 node measures 33 and more
MIN_SNR_DB: dict[Precision, float] = {
    "float32": MIN_FLOAT_SNR_DB,
    "float16": 45.0,  # right nodes measure 60 and more
    "int8": MIN_INT8_SNR_DB,
    "int8-dynamic": MIN_INT8_SNR_DB,
}
_EXACT = "/exact"
_TAKE_RELU = ("Conv", "Gemm", "Add")

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class NodeRow:
    """One compared tensor: the node that makes it, its own distance and the one that reached it, and why if too far."""

    tensor: str
    node: str
    operator: str
    shape: tuple[int, ...]
    own_snr_db: float
    arrived_snr_db: float
    low: float  # of the values before
    high: float
    cause: str | None  # None: within tolerance


def explain(
    before: Artifact | LoadedModel,
    after: Artifact | LoadedModel,
    images: NDArray[np.uint8],
    truth: Values | None = None,
) -> list[NodeRow]:
    """Every common tensor in graph order; the first row with a cause is the node to look at.

    `truth` are values of tensors, by name, that count in the place of what `before` computes.

    Raises:
        InputError: the graphs have no tensor in common.
    """
    before, after = loaded(before), loaded(after)
    is_int8 = after.contract.precision == "int8"
    limit = MIN_SNR_DB[after.contract.precision]
    first, second = with_types(before.graph), with_types(after.graph)
    image = model_input(images, before.spec)
    wanted = [name for name in float_activations(first) if name != before.spec.input_name]
    exact = tensor_values(ir.to_proto(first), wanted, {before.spec.input_name: image})
    if before.spec.input_dtype == "float32":  # pixels are taken, not computed
        exact[before.spec.input_name] = image
    exact |= truth or {}
    pairs = _pairs(second, exact)
    if not pairs:
        raise InputError(f"{before.name} and {after.name} have no tensor name in common; export both anew")
    fed: Values = {after.spec.input_name: model_input(images, after.spec)}  # float32, or pixels
    arrived = tensor_values(ir.to_proto(second), list(pairs), fed)
    made_first, made_second = values_by_name(first), values_by_name(second)
    halves = {source for tensor, source in pairs.items() if made_second[tensor].dtype == ir.DataType.FLOAT16}
    own = tensor_values(*_isolated(ir.to_proto(second), pairs, exact, fed, halves))
    rows = []
    for tensor, source in pairs.items():
        node, maker = made_second[tensor].producer(), made_first[source].producer()
        if node is None:
            continue
        x, y, came = exact[source], own[tensor].astype(np.float32), arrived[tensor].astype(np.float32)
        if is_int8 and maker is not None and maker.op_type == "Relu" and node.op_type in _TAKE_RELU:
            # quantization folds the ReLU into the range that follows; the node is the one before it
            y, came, maker = np.maximum(y, 0), np.maximum(came, 0), _maker(maker, 0)
        snr, came_snr = _distance_db(x, y), _distance_db(x, came)
        cause = _cause(x, y, maker, node, limit) if snr < limit else None
        named = f"quantization of {source}" if node.op_type == "DequantizeLinear" else node.name or tensor
        rows.append(NodeRow(tensor, named, node.op_type, x.shape, snr, came_snr, float(x.min()), float(x.max()), cause))
    return rows


def _distance_db(x: NDArray[Any], y: NDArray[Any]) -> float:
    """`sqnr_db`, and the least there is for another shape or for values that are no numbers."""
    return sqnr_db(x, y) if x.shape == y.shape and np.isfinite(y).all() else -MAX_SQNR_DB


def _maker(node: ir.Node, place: int) -> ir.Node | None:
    """The node that makes an input of `node`."""
    value = node.inputs[place] if place < len(node.inputs) else None
    return None if value is None else value.producer()


def first_fault(rows: list[NodeRow]) -> NodeRow | None:
    """The first node out of tolerance, top-down."""
    return next((row for row in rows if row.cause is not None), None)


def tensor_values(model: onnx.ModelProto, names: list[str], feeds: Values) -> Values:
    """The values of `names`, whatever the graph's own outputs are."""
    session = tapped_session(model, names)
    needed = {value.name for value in session.get_inputs()}
    values = session.run(names, {name: value for name, value in feeds.items() if name in needed})
    return dict(zip(names, (np.asarray(value) for value in values), strict=True))


def _pairs(second: ir.Model, exact: Values) -> dict[str, str]:
    """Tensor of the second graph -> the tensor of the first that it must equal, in the second graph's order."""
    pairs: dict[str, str] = {}
    for node in second.graph:
        for name in (value.name or "" for value in node.outputs):
            if node.op_type == "DequantizeLinear":
                quantize = _maker(node, 0)
                if quantize is None or quantize.op_type != "QuantizeLinear" or quantize.inputs[0] is None:
                    continue
                source = quantize.inputs[0].name or ""
                source = pairs.get(source, source)
                if source in exact:
                    pairs[name] = source
            elif name in exact:
                pairs[name] = name
    return pairs


def _isolated(
    second: onnx.ModelProto, pairs: dict[str, str], exact: Values, fed: Values, halves: set[str]
) -> tuple[onnx.ModelProto, list[str], Values]:
    """The second graph with every reader of a paired tensor reading the exact one instead, rounded to float16 where it is of
    `halves`."""
    copy = onnx.ModelProto()
    copy.CopyFrom(second)
    feeds = dict(fed)
    read: set[str] = set()
    for node in copy.graph.node:
        for index, name in enumerate(node.input):
            if name in pairs:
                node.input[index] = pairs[name] + _EXACT
                read.add(pairs[name])
    for name in sorted(read):
        half = name in halves
        kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
        copy.graph.input.add(name=name + _EXACT).type.tensor_type.elem_type = kind
        feeds[name + _EXACT] = exact[name].astype(np.float16 if half else np.float32)
    return copy, list(pairs), feeds


def _cause(x: NDArray[Any], y: NDArray[Any], before: ir.Node | None, after: ir.Node, limit: float) -> str:
    """The likeliest reason, from the node's own constants first, then from the shape of the difference."""
    if x.shape != y.shape:
        return f"its shape is {list(y.shape)}, was {list(x.shape)}"
    if not np.isfinite(y).all():
        return "it answers values that are no numbers"
    if after.op_type == "DequantizeLinear":
        return _quantization_cause(x, y, after, limit)
    if before is not None:
        found = _attribute_cause(before, after) or _constant_cause(before, after, limit)
        if found:
            return found
    return _pattern_cause(x, y, limit)


def _attribute_cause(before: ir.Node, after: ir.Node) -> str | None:
    if before.op_type != after.op_type:
        return f"it is {after.op_type}, was {before.op_type}"
    old, new = ({name: _text(a.value) for name, a in node.attributes.items()} for node in (before, after))
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    texts = [f"attribute {name} is {new.get(name, 'absent')}, was {old.get(name, 'absent')}" for name in changed]
    return "; ".join(texts) or None


def _constant_cause(before: ir.Node, after: ir.Node, limit: float) -> str | None:
    """What changed in a weight (input 1) or a bias (input 2)."""
    if before.op_type not in ("Conv", "Gemm", "MatMul", "ConvTranspose"):
        return None
    for index, what in ((1, "weight"), (2, "bias")):
        old, new = _constant(before, index), _constant(after, index)
        if old is None:
            continue
        if new is None:
            return f"its {what} is missing"
        if old.shape == new.shape and sqnr_db(old, new) >= limit + 5:
            continue
        if old.shape == new.shape and not new.any():
            return f"its {what} is all zeros"
        if old.ndim > 1 and np.swapaxes(old, -1, -2).shape == new.shape and _near(np.swapaxes(old, -1, -2), new):
            return f"its {what} is transposed"
        if old.shape != new.shape:
            return f"its {what} has shape {list(new.shape)}, had {list(old.shape)}"
        gain = float((old * new).sum() / max(float((old * old).sum()), 1e-30))
        if _near(gain * old, new) and abs(gain - 1) > 0.01:
            return f"its {what} is {gain:.3g} times what it was"
        for axis in range(min(old.ndim, 2)):
            if sqnr_db(np.sort(old, axis=axis), np.sort(new, axis=axis)) >= limit:
                return f"its {what} has the same values in another order (channels or classes swapped)"
        return f"its {what} is another ({sqnr_db(old, new):.1f} dB)"
    return None


def _quantization_cause(x: NDArray[Any], y: NDArray[Any], node: ir.Node, limit: float) -> str:
    """Clipping, a wrong scale or a shifted zero point of an activation."""
    steps, zeros = (constant(node.inputs[place]) if place < len(node.inputs) else None for place in (1, 2))
    scale, zero = float(np.max(np.asarray(steps))), 0 if zeros is None else int(np.max(zeros))
    kind = np.iinfo(np.int8 if zeros is not None and zeros.dtype == np.int8 else np.uint8)
    quantize = _maker(node, 0)
    if quantize is not None and any(
        not np.array_equal(np.asarray(constant(a)), np.asarray(constant(b)))
        for a, b in zip(quantize.inputs[1:], node.inputs[1:], strict=False)
    ):
        return (
            f"it is quantized with one scale or zero point and dequantized with another; {_pattern_cause(x, y, limit)}"
        )
    low, high = (kind.min - zero) * scale, (kind.max - zero) * scale
    clipped = float(((x < low - scale) | (x > high + scale)).mean())
    if clipped > 1e-3:
        return (
            f"its range [{low:.3g}, {high:.3g}] clips {clipped:.1%} of the values, which reach"
            f" [{float(x.min()):.3g}, {float(x.max()):.3g}]: wrong scale, zero point or calibration"
        )
    return f"its step of {scale:.3g} is coarse for values of deviation {float(x.std()):.3g}: scale too large"


def _pattern_cause(x: NDArray[Any], y: NDArray[Any], limit: float) -> str:
    """A gain, a shift, a shift a channel, or neither."""
    a64, b64 = x.astype(np.float64).ravel(), y.astype(np.float64).ravel()
    gain = float((a64 @ b64) / max(float(a64 @ a64), 1e-30))
    if sqnr_db(b64, gain * a64) >= limit:
        return f"its values are {gain:.3g} times what they were: a scale is off"
    shift = float((b64 - a64).mean())
    if sqnr_db(b64, a64 + shift) >= limit:
        return f"its values are shifted by {shift:.3g}: a zero point or a bias is off"
    if x.ndim == 4:
        axes = (0, 2, 3)
        by_channel = (y.astype(np.float64) - x).mean(axis=axes, keepdims=True)
        if sqnr_db(y, x + by_channel) >= limit:
            return "each channel is shifted by a value of its own: a bias is off"
    return "no simple pattern: compare the code that makes it"


def _constant(node: ir.Node, index: int) -> NDArray[Any] | None:
    """A constant input as float, dequantized where it is quantized; None where there is none."""
    value = node.inputs[index] if index < len(node.inputs) else None
    held = constant(value)
    if held is not None:
        return np.asarray(held, dtype=np.float32)
    maker = _maker(node, index)
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    parts = [constant(part) for part in maker.inputs]
    quantized, scale, *zero = (np.asarray(part, dtype=np.float32) for part in parts if part is not None)
    if len(zero) + 2 < len(parts):
        return None
    if scale.ndim == 1 and quantized.ndim > 1:
        axis = maker.attributes.get_int("axis", 1) % quantized.ndim
        shape = [-1 if i == axis else 1 for i in range(quantized.ndim)]
        scale, zero = scale.reshape(shape), [z.reshape(shape) for z in zero]
    return np.asarray((quantized - (zero[0] if zero else 0)) * scale, dtype=np.float32)


def _near(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return sqnr_db(a, b) >= MIN_INT8_SNR_DB


def _text(value: Any) -> str:
    return str(list(value)) if isinstance(value, tuple | list) else str(value)


def failed_pairs(steps: Sequence[Step], artifacts: list[Artifact]) -> list[tuple[Artifact, Artifact]]:
    """The pairs of files between which a step failed; quantization is held against the last float32 file."""
    failed = {
        step.after.file
        for step in steps
        if not step.passed and step.before is not None and step.before.execution is not Execution.TORCH
        and step.after is not None and step.after.execution is Execution.WRITTEN
    }  # fmt: skip
    pairs = []
    reference: Artifact | None = None
    for artifact in artifacts:
        if reference is not None and artifact.path in failed:
            pairs.append((reference, artifact))
        if artifact.contract.precision == "float32":
            reference = artifact
    return pairs
