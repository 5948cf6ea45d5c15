"""Where an INT8 graph falls back to float, and why: each connected group of float operators with its reason."""

from collections import defaultdict
from dataclasses import dataclass

from rarn_edge.audit.executed import ExecutedGraph, ExecutedNode
from rarn_edge.runtime.operators import WEIGHTED_OPS, has_int8_kernel, plain_name


@dataclass(frozen=True)
class Island:
    """Float operators that are connected; `time_share` is of the whole run."""

    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    reason: str
    time_share: float


def find_islands(graph: ExecutedGraph) -> list[Island]:
    """The float islands, the costliest first. A conversion alone (Q or DQ) is none."""
    floats = [node for node in graph.nodes if node.kind == "float"]
    made_by = {name: node for node in floats for name in node.outputs}
    root = {node.name: node.name for node in floats}

    def find(name: str) -> str:
        while root[name] != name:
            name = root[name]
        return name

    for node in floats:
        for name in node.inputs:
            if name in made_by:
                root[find(node.name)] = find(made_by[name].name)
    groups: dict[str, list[ExecutedNode]] = defaultdict(list)
    for node in floats:
        groups[find(node.name)].append(node)
    total_s = sum(node.time_s for node in graph.nodes)
    found = [
        Island(
            tuple(node.operator for node in group),
            tuple(node.name for node in group),
            _reason(group, graph),
            sum(node.time_s for node in group) / total_s if total_s else 0.0,
        )
        for group in groups.values()
    ]
    return sorted(found, key=lambda island: -island.time_share)


def _reason(group: list[ExecutedNode], graph: ExecutedGraph) -> str:
    """The first rule that explains why these nodes did not become integer ones."""
    made_by = {name: node for node in graph.nodes for name in node.outputs}
    readers: dict[str, int] = defaultdict(int)
    for node in graph.nodes:
        for name in set(node.inputs):
            readers[name] += 1
    lacking = sorted({node.operator for node in group if not has_int8_kernel(node.operator)})
    if lacking:
        return f"no INT8 kernel for {', '.join(lacking)}"
    for node in group:
        mode = node.attributes.get("mode", b"")
        if node.operator in ("Resize", "Upsample") and mode in (b"linear", b"cubic"):
            return f"{mode.decode()} Resize has no INT8 kernel; nearest has"
    for node in group:
        if plain_name(node.operator) in WEIGHTED_OPS and any(
            name in graph.float_constants for name in node.inputs[1:2]
        ):
            return "float weights: this layer was not quantized"
    sources = [made_by[name] for node in group for name in node.inputs if name in made_by]
    # weights are s8 beside u8 activations by design: only activations can disagree
    types = {
        node.input_types[0]
        for node in sources
        if node.operator == "DequantizeLinear" and node.input_types and node.inputs[0] not in graph.constants
    }
    if len(types) > 1:
        return f"types differ: {' and '.join(sorted(types))} meet here"
    for node in group:
        if any(name in graph.outputs for name in node.outputs):
            return "makes a graph output, which is float"
    for node in group:
        if any(readers[name] > 1 for name in node.outputs):
            return "fork: several nodes read its float result"
    if not any(node.operator == "DequantizeLinear" for node in sources):
        return "its inputs were never quantized"
    return "ONNX Runtime did not fuse it"
