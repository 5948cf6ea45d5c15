"""What the graph of any ONNX file takes and answers: the part of a contract that nobody has to write."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Literal

from rarn_edge.boundary.names import printable
from rarn_edge.contract.artifact import INPUT_TYPES, open_unoptimised
from rarn_edge.contract.graph_scan import GraphScan, scan_graph
from rarn_edge.errors import InputError

Axis = int | str | None
Ending = Literal["softmax", "log-softmax", "sigmoid"]

_ENDINGS: dict[str, Ending] = {"Softmax": "softmax", "LogSoftmax": "log-softmax", "Sigmoid": "sigmoid"}
_PASSED = ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Port:
    """An input or output of a graph; an axis that is no whole number is free."""

    name: str
    type: str  # ONNX Runtime's: tensor(float), ...
    shape: tuple[Axis, ...]

    def describe(self) -> str:
        """`input tensor(float) [N, 3, 224, 224]`."""
        axes = ", ".join(printable(axis) if axis is not None else "?" for axis in self.shape)
        return f"{printable(self.name)} {self.type} [{axes}]"


@dataclass(frozen=True)
class Interface:
    """All inputs and outputs of a file, its graph and its metadata."""

    path: Path
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    scan: GraphScan
    metadata: dict[str, str]

    def image(self) -> "ImageInput":
        """The one input, read as pictures.

        Raises:
            InputError: several inputs, another type, or a shape that is no batch of pictures; with what to do.
        """
        if len(self.inputs) != 1:
            listed = "; ".join(port.describe() for port in self.inputs) or "none"
            raise InputError(
                f"{self.path}: has {len(self.inputs)} inputs ({listed}); one input of pictures is needed.\n"
                "Export it again from a module whose forward takes the pictures alone and fills in the rest"
            )
        (port,) = self.inputs
        dtype = next((name for name, kind in INPUT_TYPES.items() if kind == port.type), None)
        if dtype is None:
            raise InputError(
                f"{self.path}: input '{printable(port.name)}' is {port.type}; pictures are {' or '.join(INPUT_TYPES.values())}:"
                " export it again with such an input"
            )
        if len(port.shape) != 4:
            raise InputError(
                f"{self.path}: input {port.describe()} is no batch of pictures [N, channels, height, width];"
                " export it again with four axes"
            )
        batch, *rest = port.shape
        is_last = _is_channels(rest[2]) and not _is_channels(rest[0])
        channels, height, width = (rest[2], rest[0], rest[1]) if is_last else rest
        if isinstance(channels, int) and not _is_channels(channels):
            raise InputError(
                f"{self.path}: input {port.describe()} has neither 1 nor 3 channels, so it takes no pictures"
            )
        return ImageInput(
            port.name, dtype, "NHWC" if is_last else "NCHW", _size(batch), _size(channels), _size(height), _size(width)
        )

    def answer(self, name: str | None = None) -> "Answer":
        """The output with the classes: the only one, or the one of that name.

        Raises:
            InputError: several outputs and none named, or no output of that name.
        """
        listed = "; ".join(port.describe() for port in self.outputs)
        if name is None and len(self.outputs) != 1:
            raise InputError(
                f"{self.path}: has {len(self.outputs)} outputs ({listed}); write a TOML file with"
                f" rarn-edge stamp {quote(str(self.path))} --init spec.toml, and name the one with the classes there: output_name"
            )
        port = next((port for port in self.outputs if name in (None, port.name)), None)
        if port is None:
            raise InputError(f"{self.path}: has no output '{printable(name)}' (output_name); it has {listed}")
        if port.shape and len(port.shape) != 2:
            raise InputError(
                f"{self.path}: output {port.describe()} is not [N, classes]: end it in a Flatten, and export it again"
            )
        return Answer(port.name, _size(port.shape[1]) if port.shape else None, self._ending(port.name))

    def _ending(self, name: str) -> Ending | None:
        for _ in range(6):
            node = self.scan.made_by.get(name)
            if node is None:
                return None
            if node.operator in _ENDINGS:
                return _ENDINGS[node.operator]
            if node.operator not in _PASSED or not node.inputs:
                return None
            name = node.inputs[0]
        return None

    def to_dict(self) -> dict[str, Any]:
        ports = {"inputs": self.inputs, "outputs": self.outputs}
        return {
            key: [{"name": port.name, "type": port.type, "shape": list(port.shape)} for port in found]
            for key, found in ports.items()
        }


@dataclass(frozen=True)
class ImageInput:
    """The input of pictures; None: that axis is free."""

    name: str
    dtype: str  # of a contract
    layout: Literal["NCHW", "NHWC"]
    batch: int | None
    channels: int | None
    height_px: int | None
    width_px: int | None


@dataclass(frozen=True)
class Answer:
    """The output of classes: how many (None: not declared), and what the graph ends in."""

    name: str
    classes: int | None
    ending: Ending | None


def read_interface(path: Path) -> Interface:
    """Read any ONNX file that ONNX Runtime opens; the package `onnx` is not needed.

    Raises:
        InputError: no such file, or ONNX Runtime cannot read it.
    """
    session = open_unoptimised(path)
    inputs, outputs = (
        tuple(Port(value.name, value.type, tuple(value.shape or ())) for value in found)
        for found in (session.get_inputs(), session.get_outputs())
    )
    return Interface(path, inputs, outputs, scan_graph(path), dict(session.get_modelmeta().custom_metadata_map))


def _is_channels(axis: Axis) -> bool:
    return axis in (1, 3)


def _size(axis: Axis) -> int | None:
    return axis if isinstance(axis, int) else None
