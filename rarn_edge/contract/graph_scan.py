"""What an ONNX file's graph is made of, read from its bytes without the package `onnx`: a device has none.

Operators, their connections, and the type and shape of each constant; the values of weights are stepped over. That is enough to
tell what precision a graph really has, whatever its metadata says.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from rarn_edge.boundary.paths import MODEL_HINT, require_file
from rarn_edge.errors import InputError, first_line

WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operators with a weight, the second input, in a float graph."""

_STATIC = ("QLinearConv", "QLinearMatMul", "QGemm")  # their inputs: x, scale, zero point, weight, scale, zero point
_DYNAMIC = ("ConvInteger", "MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_MOVES = ("Identity", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Cast")  # what stands before a weight

_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 16: "bfloat16", 17: "float8e4m3fn", 19: "float8e5m2", 21: "uint4", 22: "int4",
}  # fmt: skip

# field numbers of onnx.proto
_MODEL_PRODUCER, _MODEL_PRODUCER_VERSION, _MODEL_GRAPH, _MODEL_OPSET = 2, 3, 7, 8
_GRAPH_NODE, _GRAPH_INITIALIZER = 1, 5
_NODE_INPUT, _NODE_OUTPUT, _NODE_NAME, _NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 1, 2, 3, 4, 5, 7
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME = 1, 2, 8
_ATTRIBUTE_TENSOR = 5
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2


@dataclass(frozen=True)
class ScannedNode:
    """A node with the names of what it reads and makes; an input left out is ''."""

    operator: str
    name: str
    domain: str  # '': the standard one
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Constant:
    """An initializer or a Constant node's tensor."""

    dtype: str  # NumPy's name, or ONNX's where NumPy has none
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        count = 1
        for axis in self.shape:
            count *= axis
        return count


@dataclass(frozen=True)
class Quantization:
    """How a graph asks for integers. `nodes` are the places, in the scan, of the weighted nodes that are quantized."""

    form: Literal["QDQ", "QOperator", "dynamic", "weights only"]
    activations: tuple[str, ...]  # types, the commonest first
    weights: tuple[str, ...]
    per_channel: bool
    nodes: tuple[int, ...]

    @property
    def precision(self) -> Literal["int8", "int8-dynamic"]:
        """As a contract calls it."""
        return "int8-dynamic" if self.form == "dynamic" else "int8"

    def describe(self) -> str:
        """`QDQ, uint8 activations, int8 weights per channel`."""
        activations = f"{' and '.join(self.activations) or 'float'} activations"
        scope = "per channel" if self.per_channel else "per tensor"
        return f"{self.form}, {activations}, {' and '.join(self.weights)} weights {scope}"


@dataclass(frozen=True)
class GraphScan:
    """The main graph of a file; graphs inside nodes (of If, Loop, Scan) are not entered."""

    producer: str  # the tool that wrote it, with its version
    opsets: dict[str, int]  # by domain
    nodes: tuple[ScannedNode, ...]
    constants: dict[str, Constant] = field(repr=False)

    @cached_property
    def made_by(self) -> dict[str, ScannedNode]:
        """The node that makes each value."""
        return {name: node for node in self.nodes for name in node.outputs}

    @property
    def operators(self) -> dict[str, int]:
        """How often each occurs, the commonest first."""
        return dict(Counter(node.operator for node in self.nodes).most_common())

    @property
    def layers(self) -> int:
        """How many convolutions and matrix products there are, in float or in integers."""
        return sum(_has_weight(node) or node.operator in (*_STATIC, *_DYNAMIC) for node in self.nodes)

    @cached_property
    def quantization(self) -> Quantization | None:
        """None: no convolution or matrix product of the graph is quantized."""
        found = [(index, layer) for index, node in enumerate(self.nodes) if (layer := self._layer(node)) is not None]
        if not found:
            return None
        forms = Counter(layer.form for _, layer in found)
        if "weights only" in forms and len(forms) > 1:
            del forms["weights only"]
        return Quantization(
            forms.most_common(1)[0][0],
            _commonest(layer.activation for _, layer in found),
            _commonest(layer.weight for _, layer in found),
            any(layer.per_channel for _, layer in found),
            tuple(index for index, _ in found),
        )

    @property
    def is_float16(self) -> bool:
        """Whether most convolutions and matrix products have float16 weights."""
        weights = [self.constants.get(node.inputs[1]) for node in self.nodes if _has_weight(node)]
        halves = [weight for weight in weights if weight is not None and weight.dtype == "float16"]
        return bool(halves) and 2 * len(halves) > len(weights)

    def _layer(self, node: ScannedNode) -> "_Layer | None":
        """How a weighted node is quantized; None: it is not, or has no weight."""
        if node.operator in _STATIC and len(node.inputs) >= 6:
            return _Layer(
                "QOperator", self._type(node.inputs[2]), self._type(node.inputs[3]), self._many(node.inputs[4])
            )
        if node.operator in _DYNAMIC and len(node.inputs) >= 2:
            # DynamicQuantizeMatMul has its scale in the third place, the others multiply by it later
            scale = node.inputs[2] if node.operator == "DynamicQuantizeMatMul" and len(node.inputs) > 2 else ""
            return _Layer("dynamic", "uint8", self._type(node.inputs[1]), self._many(scale))
        if not _has_weight(node):
            return None
        weight = self._dequantized(node.inputs[1])
        if weight is None or not self._is_constant(weight.inputs[0]):
            return None
        kind, scope = self._integer_type(weight), self._many(weight.inputs[1])
        activation = self._dequantized(node.inputs[0])
        if activation is None:
            return _Layer("weights only", "", kind, scope)
        source = self.made_by.get(activation.inputs[0])
        is_dynamic = source is not None and source.operator == "DynamicQuantizeLinear"
        return _Layer("dynamic" if is_dynamic else "QDQ", self._integer_type(activation), kind, scope)

    def _dequantized(self, name: str) -> ScannedNode | None:
        """The DequantizeLinear that makes a value, seen through what only moves it."""
        node = self.made_by.get(name)
        for _ in range(4):
            if node is None or node.operator not in _MOVES or not node.inputs:
                break
            node = self.made_by.get(node.inputs[0])
        fits = node is not None and node.operator == "DequantizeLinear" and len(node.inputs) >= 2
        return node if fits else None

    def _is_constant(self, name: str) -> bool:
        """A constant, or one that a QuantizeLinear in the graph makes integers of."""
        if name in self.constants:
            return True
        node = self.made_by.get(name)
        return (
            node is not None
            and node.operator in ("QuantizeLinear", *_MOVES)
            and bool(node.inputs)
            and (node.inputs[0] in self.constants)
        )

    def _integer_type(self, dequantize: ScannedNode) -> str:
        """Of what a DequantizeLinear reads; the standard's default is uint8."""
        if dequantize.inputs[0] in self.constants:
            return self.constants[dequantize.inputs[0]].dtype
        return self._type(dequantize.inputs[2]) if len(dequantize.inputs) > 2 and dequantize.inputs[2] else "uint8"

    def _type(self, name: str) -> str:
        constant = self.constants.get(name)
        return "uint8" if constant is None else constant.dtype

    def _many(self, scale: str) -> bool:
        constant = self.constants.get(scale)
        return constant is not None and constant.size > 1


@dataclass(frozen=True)
class _Layer:
    form: Literal["QDQ", "QOperator", "dynamic", "weights only"]
    activation: str
    weight: str
    per_channel: bool


def scan_graph(path: Path) -> GraphScan:
    """Read the main graph of an ONNX file.

    Raises:
        InputError: no such file, or its bytes are no ONNX model.
    """
    if require_file(path, MODEL_HINT).st_size == 0:
        raise InputError(f"{path}: is empty")
    try:
        return _model(memoryview(path.read_bytes()))
    except (ValueError, IndexError) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f"{path}: not a readable ONNX file (its protobuf is damaged: {first_line(error)})") from error


def _model(data: memoryview) -> GraphScan:
    producer, opsets = ["", ""], {}
    nodes: list[ScannedNode] = []
    constants: dict[str, Constant] = {}
    for number, value in _fields(data):
        if number in (_MODEL_PRODUCER, _MODEL_PRODUCER_VERSION):
            producer[number - _MODEL_PRODUCER] = _text(value)
        elif number == _MODEL_OPSET:
            entry = dict(_fields(_message(value)))
            version = entry.get(_OPSET_VERSION, 0)
            opsets[_text(entry.get(_OPSET_DOMAIN, b""))] = version if isinstance(version, int) else 0
        elif number == _MODEL_GRAPH:
            for part, content in _fields(_message(value)):
                if part == _GRAPH_NODE:
                    _read_node(_message(content), nodes, constants)
                elif part == _GRAPH_INITIALIZER:
                    name, constant = _tensor(_message(content))
                    constants[name] = constant
    return GraphScan(" ".join(each for each in producer if each), opsets, tuple(nodes), constants)


def _read_node(data: memoryview, nodes: list[ScannedNode], constants: dict[str, Constant]) -> None:
    inputs: list[str] = []
    outputs: list[str] = []
    texts = {_NODE_NAME: "", _NODE_OPERATOR: "", _NODE_DOMAIN: ""}
    attributes = []
    for number, value in _fields(data):
        if number == _NODE_INPUT:
            inputs.append(_text(value))
        elif number == _NODE_OUTPUT:
            outputs.append(_text(value))
        elif number == _NODE_ATTRIBUTE:
            attributes.append(value)
        elif number in texts:
            texts[number] = _text(value)
    domain = "" if texts[_NODE_DOMAIN] == "ai.onnx" else texts[_NODE_DOMAIN]
    node = ScannedNode(texts[_NODE_OPERATOR], texts[_NODE_NAME], domain, tuple(inputs), tuple(outputs))
    nodes.append(node)
    if node.operator == "Constant" and len(outputs) == 1:
        for attribute in attributes:
            for number, value in _fields(_message(attribute)):
                if number == _ATTRIBUTE_TENSOR:
                    constants[outputs[0]] = _tensor(_message(value))[1]


def _tensor(data: memoryview) -> tuple[str, Constant]:
    name, kind, shape = "", 0, []
    for number, value in _fields(data):
        if number == _TENSOR_NAME:
            name = _text(value)
        elif number == _TENSOR_TYPE and isinstance(value, int):
            kind = value
        elif number == _TENSOR_DIMS:
            shape += [value] if isinstance(value, int) else list(_varints(_message(value)))
    return name, Constant(_TYPES.get(kind, f"type {kind}"), tuple(shape))


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a protobuf message: its number, and a whole number or the bytes of what it holds.

    Raises:
        ValueError: no such message.
    """
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        wire, number = key & 7, key >> 3
        if wire == 0:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if place + length > end:
            raise ValueError("a field is longer than the file")
        yield number, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _varints(data: memoryview) -> Iterator[int]:
    place = 0
    while place < len(data):
        value, place = _varint(data, place)
        yield value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message is needed")
    return value


def _text(value: int | memoryview | bytes) -> str:
    if isinstance(value, int):
        raise ValueError("a number where a text is needed")
    return bytes(value).decode("utf-8")


def _has_weight(node: ScannedNode) -> bool:
    return node.operator in WEIGHTED and len(node.inputs) >= 2


def _commonest(types: Iterator[str]) -> tuple[str, ...]:
    return tuple(name for name, _ in Counter(types).most_common() if name)
