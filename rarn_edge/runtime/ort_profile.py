"""ONNX Runtime's own profile of a session: the only reader of its events.

With its prepacking of weights, ONNX Runtime's profile no longer names the shapes and bytes of what was packed, which in an INT8
file is nearly every weight. A session opened with `UNPACKED` leaves them as they are in the graph.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime as ort

from rarn_edge.runtime.operators import multiply_adds

UNPACKED = {"session.disable_prepacking": "1"}
"""The session configuration under which the profile names every weight."""

_END = "_kernel_time"


@dataclass(frozen=True)
class Tensor:
    """An input or output of a node: its type by ONNX Runtime's name (float, uint8, ...), and its shape; `""` if left out."""

    type: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class NodeCall:
    """One call of one node."""

    name: str
    index: str  # in the executed graph: a name may be used twice
    operator: str
    provider: str  # ONNX Runtime's name of it
    duration_s: float  # the profiler adds a few microseconds
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]  # empty: the provider reports no shapes
    weight_bytes: int  # constants it reads
    bytes_moved: int  # inputs, weights and outputs, once each
    allocated_peak_bytes: int  # of ONNX Runtime's allocator while it ran

    @property
    def key(self) -> str:
        """Unique in a graph."""
        return f"{self.name}/{self.index}"

    @property
    def multiply_adds(self) -> int:
        """Of a convolution or a matrix product, for the whole batch; 0 for everything else."""
        return (
            multiply_adds(self.operator, [each.shape for each in self.inputs], self.outputs[0].shape)
            if self.outputs
            else 0
        )


def profiled_into(prefix: Path) -> Callable[[ort.SessionOptions], None]:
    """For `open_session(..., tune=...)`: record a profile into a file whose path begins with `prefix`."""

    def tune(options: ort.SessionOptions) -> None:
        options.enable_profiling = True
        options.profile_file_prefix = str(prefix)

    return tune


def end_profile(session: ort.InferenceSession) -> list[NodeCall]:
    """Every call of a node since the session was opened, oldest first; it records nothing further, and its file is removed."""
    path = Path(session.end_profiling())
    try:
        return read_events(json.loads(path.read_text(encoding="utf-8")))
    finally:
        path.unlink(missing_ok=True)


def read_events(events: Iterable[Mapping[str, Any]]) -> list[NodeCall]:
    """The calls of nodes among a profile's events."""
    return [_call(each) for each in events if each.get("cat") == "Node" and str(each.get("name", "")).endswith(_END)]


def _call(event: Mapping[str, Any]) -> NodeCall:
    facts = event.get("args", {})
    sizes = {name: int(facts.get(f"{name}_size", 0)) for name in ("activation", "parameter", "output")}
    return NodeCall(
        name=str(event["name"]).removesuffix(_END),
        index=str(facts.get("node_index", "")),
        operator=str(facts.get("op_name", "?")),
        provider=str(facts.get("provider", "?")),
        duration_s=float(event.get("dur", 0)) * 1e-6,
        inputs=tuple(map(_tensor, facts.get("input_type_shape", ()))),
        outputs=tuple(map(_tensor, facts.get("output_type_shape", ()))),
        weight_bytes=sizes["parameter"],
        bytes_moved=sum(sizes.values()),
        allocated_peak_bytes=int(facts.get("mem_in_use_peak", 0)),
    )


def _tensor(value: Mapping[str, Iterable[int]]) -> Tensor:
    """`{"float": [1, 7]}`; an input left out is {}."""
    return next((Tensor(name, tuple(shape)) for name, shape in value.items()), Tensor("", ()))
