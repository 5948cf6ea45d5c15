"""What each node of the executed graph computes and moves, read from one profiled call.

The call is made in a session that leaves weights as they are in the graph: with ONNX Runtime's prepacking the profile no longer
names the shapes and bytes of what was packed, which in an INT8 file is nearly every weight.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNPACKED = {"session.disable_prepacking": "1"}
"""The session configuration under which the profile names every weight."""

_WEIGHT_INPUT = {"QLinearConv": 3}  # of a convolution; else input 1


@dataclass(frozen=True)
class NodeWork:
    """Of one node in one call."""

    multiply_adds: int  # of convolutions and matrix products; 0 for everything else
    weight_bytes: int  # constants it reads
    bytes_moved: int  # inputs, weights and outputs, once each


def node_key(event: Mapping[str, Any]) -> str:
    """A node's name and index, for a name may be used twice."""
    name = str(event["name"]).removesuffix("_kernel_time")
    return f"{name}/{event.get('args', {}).get('node_index', '')}"


def is_node(event: Mapping[str, Any]) -> bool:
    """Whether the event of a profile is the computation of a node."""
    return event.get("cat") == "Node" and str(event.get("name", "")).endswith("_kernel_time")


def node_work(events: Iterable[Mapping[str, Any]]) -> dict[str, NodeWork]:
    """By `node_key`; nodes whose provider reports no shapes are left out."""
    found = {}
    for event in filter(is_node, events):
        facts = event.get("args", {})
        if facts.get("output_type_shape"):
            sizes = (int(facts.get(key, 0)) for key in ("activation_size", "parameter_size", "output_size"))
            activations, weights, outputs = sizes
            work = NodeWork(_multiply_adds(facts), weights, activations + weights + outputs)
            found[node_key(event)] = work
    return found


def computes_in_int8(operator: str) -> bool:
    """Whether the operator multiplies integers."""
    return operator.startswith(("QLinear", "QGemm")) or "Integer" in operator or operator == "DynamicQuantizeMatMul"


def _multiply_adds(facts: Mapping[str, Any]) -> int:
    operator = str(facts.get("op_name", ""))
    inputs = [_shape(value) for value in facts.get("input_type_shape", ())]
    output = _shape(facts["output_type_shape"][0])
    if "Conv" in operator:
        place = _WEIGHT_INPUT.get(operator, 1)
        weight = inputs[place] if place < len(inputs) else ()  # [out, in / groups, height, width]
        return math.prod(output) * math.prod(weight[1:]) if weight else 0
    if "Gemm" in operator and inputs and output:
        return math.prod(inputs[0]) * output[-1]  # [rows, inner], transposed or not, times the columns
    if "MatMul" in operator and inputs and inputs[0]:
        return math.prod(output) * inputs[0][-1]
    return 0


def _shape(value: Mapping[str, Sequence[int]]) -> tuple[int, ...]:
    """`{"float": [1, 7]}` -> (1, 7); an input left out is {}."""
    return tuple(next(iter(value.values()), ()))
