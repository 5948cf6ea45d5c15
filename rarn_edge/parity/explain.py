"""Which node? Two graphs of one model, tensor by tensor, matched by name.

Each node of the second graph is fed what the first graph computed, so that its difference is its own and not what came
down to it: one run of the second graph in which every matched tensor is an input as well as an output. A quantize and
dequantize pair counts as a node: it is fed the exact tensor, and what reads it gets the exact tensor again.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.preprocess import model_input, to_input
from rarn_edge.errors import InputError
from rarn_edge.parity.hops import Hop, signal_to_noise_db
from rarn_edge.pipeline.graph import constants, float_activations, load_graph

MIN_FLOAT_SNR_DB = 80.0  # float32 nodes measure 120 and more
MIN_INT8_SNR_DB = 25.0  # of its own; a right INT8 node measures 33 and more
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


def explain(before: Artifact, after: Artifact, images: NDArray[np.uint8], truth: Values | None = None) -> list[NodeRow]:
    """Every common tensor in graph order; the first row with a cause is the node to look at.

    `truth` are values of tensors, by name, that count in the place of what `before` computes.

    Raises:
        InputError: the graphs have no tensor in common.
    """
    is_int8 = after.contract.precision == "int8"
    first = onnx.shape_inference.infer_shapes(load_graph(before.path))
    second = load_graph(after.path)
    limit = MIN_INT8_SNR_DB if is_int8 else MIN_FLOAT_SNR_DB
    image = to_input(images, before.spec.preprocess)
    wanted = [name for name in float_activations(first) if name != before.spec.input_name]
    exact = tensor_values(first, wanted, {before.spec.input_name: image})
    exact[before.spec.input_name] = image
    exact |= truth or {}
    pairs = _pairs(second, exact)
    if not pairs:
        raise InputError(f"{before.path.name} and {after.path.name} have no tensor name in common; export both anew")
    fed: Values = {after.spec.input_name: model_input(images, after.spec)}  # float32, or pixels
    arrived = tensor_values(second, list(pairs), fed)
    own = tensor_values(*_isolated(second, pairs, exact, fed))
    made_first = {output: node for node in first.graph.node for output in node.output}
    made_second = {output: node for node in second.graph.node for output in node.output}
    rows = []
    for tensor, source in pairs.items():
        x, y, node = exact[source], own[tensor], made_second[tensor]
        came, maker = arrived[tensor], made_first.get(source)
        if is_int8 and maker is not None and maker.op_type == "Relu" and node.op_type in _TAKE_RELU:
            # quantization folds the ReLU into the range that follows; the node is the one before it
            y, came, maker = np.maximum(y, 0), np.maximum(came, 0), made_first.get(maker.input[0])
        snr = signal_to_noise_db(x, y) if x.shape == y.shape and np.isfinite(y).all() else -200.0
        cause = None
        if snr < limit:
            cause = _cause(x, y, maker, node, first, second, limit)
        came_snr = signal_to_noise_db(x, came) if came.shape == x.shape and np.isfinite(came).all() else -200.0
        named = f"quantization of {source}" if node.op_type == "DequantizeLinear" else node.name or tensor
        rows.append(NodeRow(tensor, named, node.op_type, x.shape, snr, came_snr, float(x.min()), float(x.max()), cause))
    return rows


def first_fault(rows: list[NodeRow]) -> NodeRow | None:
    """The first node out of tolerance, top-down."""
    return next((row for row in rows if row.cause is not None), None)


def tensor_values(model: onnx.ModelProto, names: list[str], feeds: Values) -> Values:
    """The values of `names`, whatever the graph's own outputs are."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    for name in names:
        copy.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    session = open_unoptimised(copy.SerializeToString())
    needed = {value.name for value in session.get_inputs()}
    values = session.run(names, {name: value for name, value in feeds.items() if name in needed})
    return dict(zip(names, (np.asarray(value) for value in values), strict=True))


def _pairs(second: onnx.ModelProto, exact: Values) -> dict[str, str]:
    """Tensor of the second graph -> the tensor of the first that it must equal, in the second graph's order."""
    quantized = {n.output[0]: n.input[0] for n in second.graph.node if n.op_type == "QuantizeLinear"}
    pairs: dict[str, str] = {}
    for node in second.graph.node:
        for output in node.output:
            if node.op_type == "DequantizeLinear":
                source = quantized.get(node.input[0])
                source = pairs.get(source, source) if source is not None else None
                if source in exact:
                    pairs[output] = source
            elif output in exact:
                pairs[output] = output
    return pairs


def _isolated(
    second: onnx.ModelProto, pairs: dict[str, str], exact: Values, fed: Values
) -> tuple[onnx.ModelProto, list[str], Values]:
    """The second graph with every reader of a paired tensor reading the exact one instead."""
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
        copy.graph.input.add(name=name + _EXACT).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        feeds[name + _EXACT] = exact[name]
    return copy, list(pairs), feeds


def _cause(
    x: NDArray[Any], y: NDArray[Any], before: onnx.NodeProto | None, after: onnx.NodeProto,
    first: onnx.ModelProto, second: onnx.ModelProto, limit: float,
) -> str:  # fmt: skip
    """The likeliest reason, from the node's own constants first, then from the shape of the difference."""
    if x.shape != y.shape:
        return f"its shape is {list(y.shape)}, was {list(x.shape)}"
    if not np.isfinite(y).all():
        return "it answers values that are no numbers"
    if after.op_type == "DequantizeLinear":
        return _quantization_cause(x, y, after, second, limit)
    if before is not None:
        found = _attribute_cause(before, after) or _constant_cause(before, after, first, second, limit)
        if found:
            return found
    return _pattern_cause(x, y, limit)


def _attribute_cause(before: onnx.NodeProto, after: onnx.NodeProto) -> str | None:
    if before.op_type != after.op_type:
        return f"it is {after.op_type}, was {before.op_type}"
    old = {a.name: onnx.helper.get_attribute_value(a) for a in before.attribute}
    new = {a.name: onnx.helper.get_attribute_value(a) for a in after.attribute}
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    texts = [f"attribute {name} is {_text(new.get(name))}, was {_text(old.get(name))}" for name in changed]
    return "; ".join(texts) or None


def _constant_cause(
    before: onnx.NodeProto, after: onnx.NodeProto, first: onnx.ModelProto, second: onnx.ModelProto, limit: float
) -> str | None:
    """What changed in a weight (input 1) or a bias (input 2)."""
    if before.op_type not in ("Conv", "Gemm", "MatMul", "ConvTranspose"):
        return None
    for index, what in ((1, "weight"), (2, "bias")):
        old = _constant(before, index, first)
        new = _constant(after, index, second)
        if old is None:
            continue
        if new is None:
            return f"its {what} is missing"
        if old.shape == new.shape and signal_to_noise_db(old, new) >= limit + 5:
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
            if signal_to_noise_db(np.sort(old, axis=axis), np.sort(new, axis=axis)) >= limit:
                return f"its {what} has the same values in another order (channels or classes swapped)"
        return f"its {what} is another ({signal_to_noise_db(old, new):.1f} dB)"
    return None


def _quantization_cause(
    x: NDArray[Any], y: NDArray[Any], node: onnx.NodeProto, model: onnx.ModelProto, limit: float
) -> str:
    """Clipping, a wrong scale or a shifted zero point of an activation."""
    constant = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model).items()}
    quantize = next(n for n in model.graph.node if n.output[:1] == node.input[:1])
    scale = float(np.max(constant[node.input[1]]))
    zero = int(np.max(constant[node.input[2]])) if len(node.input) > 2 else 0
    kind = np.iinfo(constant[node.input[2]].dtype if len(node.input) > 2 else np.uint8)
    if any(
        not np.array_equal(constant[a], constant[b]) for a, b in zip(quantize.input[1:], node.input[1:], strict=False)
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
    if signal_to_noise_db(b64, gain * a64) >= limit:
        return f"its values are {gain:.3g} times what they were: a scale is off"
    shift = float((b64 - a64).mean())
    if signal_to_noise_db(b64, a64 + shift) >= limit:
        return f"its values are shifted by {shift:.3g}: a zero point or a bias is off"
    if x.ndim == 4:
        axes = (0, 2, 3)
        by_channel = (y.astype(np.float64) - x).mean(axis=axes, keepdims=True)
        if signal_to_noise_db(y, x + by_channel) >= limit:
            return "each channel is shifted by a value of its own: a bias is off"
    return "no simple pattern: compare the code that makes it"


def _constant(node: onnx.NodeProto, index: int, model: onnx.ModelProto) -> NDArray[Any] | None:
    """A constant input as float, dequantized where it is quantized; None where there is none."""
    if index >= len(node.input) or not node.input[index]:
        return None
    held = constants(model)
    name = node.input[index]
    if name in held:
        return np.asarray(numpy_helper.to_array(held[name]), dtype=np.float32)
    maker = next((n for n in model.graph.node if name in n.output and n.op_type == "DequantizeLinear"), None)
    if maker is None or any(part not in held for part in maker.input):
        return None
    quantized, scale, *zero = (numpy_helper.to_array(held[part]) for part in maker.input)
    axis = next((a.i for a in maker.attribute if a.name == "axis"), 1)
    if scale.ndim == 1 and quantized.ndim > 1:
        shape = [-1 if i == axis % quantized.ndim else 1 for i in range(quantized.ndim)]
        scale, zero = scale.reshape(shape), [z.reshape(shape) for z in zero]
    centred = quantized.astype(np.float32) - (zero[0].astype(np.float32) if zero else 0)
    return np.asarray(centred * scale, dtype=np.float32)


def _near(a: NDArray[Any], b: NDArray[Any]) -> bool:
    return signal_to_noise_db(a, b) >= MIN_INT8_SNR_DB


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else "absent" if value is None else str(value)


def failed_pairs(hops: list[Hop], artifacts: list[Artifact]) -> list[tuple[Artifact, Artifact]]:
    """The pairs of files between which a hop failed; quantization is held against the last float32 file."""
    failed = [hop for hop in hops if not hop.passed]
    pairs = []
    reference: Artifact | None = None
    for artifact in artifacts:
        is_float = artifact.contract.precision == "float32"
        name = artifact.path.name if is_float else f"{artifact.path.name} simulated"
        if reference is not None and any(hop.after == name and hop.before != "torch" for hop in failed):
            pairs.append((reference, artifact))
        if is_float:
            reference = artifact
    return pairs
