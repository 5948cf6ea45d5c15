"""Where the time goes: ONNX Runtime's own profile by operator and node, and the distance to this machine's limits."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from rarn_edge.bench.cases import BenchCase
from rarn_edge.runtime.operators import computes_in_int8
from rarn_edge.runtime.ort_profile import NodeCall
from rarn_edge.runtime.peaks import Peaks

_TOP_NODES = 12


@dataclass(frozen=True)
class NodeCost:
    """One node in one call of the model."""

    name: str
    operator: str
    provider: str  # ONNX Runtime's name of it
    seconds: float
    multiply_adds: int | None  # of the whole batch; None: the provider reports no shapes
    bytes: int | None  # inputs, weights and outputs, once each
    allocated_peak_bytes: int  # of ONNX Runtime's allocator while it ran


@dataclass(frozen=True)
class Share:
    """One operator type or one node: its part of the time of a call."""

    name: str
    operator: str
    calls: int  # nodes of that type
    seconds: float  # in one call of the model
    share: float  # of the time in all nodes
    macs_per_s: float | None = None  # None: no convolution or matrix product
    peak_share: float | None = None  # of the measured peak of its type of number
    bytes_per_s: float | None = None  # None: the provider does not report sizes
    bandwidth_share: float | None = None


@dataclass(frozen=True)
class Profile:
    """One model at one batch size."""

    label: str
    batch: int
    threads: int
    nodes_s: float  # in all nodes, one call, slowed by the profiler itself
    provider_share: float  # of that time on the requested provider
    operators: tuple[Share, ...]
    slowest_nodes: tuple[Share, ...]
    bytes_moved: int  # inputs, weights and outputs of every node, once each
    activation_peak_bytes: int  # of ONNX Runtime's allocator while a node ran
    activation_peak_node: str
    macs_per_s: float | None  # None: neither the file nor the provider states its multiply-adds
    peak_share: float | None  # of the measured peak of its data type
    bandwidth_share: float | None  # None: the provider does not report sizes
    peaks: Peaks


def node_costs(profiled: Sequence[NodeCall], calls: int, work: Mapping[str, NodeCall]) -> list[NodeCost]:
    """The last `calls` calls of each node summed up; `work` says by `NodeCall.key` what each computes and moves.

    Raises:
        ValueError: the profile names no node.
    """
    by_node: dict[str, list[NodeCall]] = defaultdict(list)
    for call in profiled:
        by_node[call.key].append(call)
    if not by_node:
        raise ValueError("ONNX Runtime's profile names no node: this provider does not report its nodes")
    costs = []
    for key, all_calls in by_node.items():
        kept = all_calls[-calls:]  # the first calls warm up
        seconds = median(call.duration_s for call in kept)  # a mean would blame the node that was interrupted
        last, done = kept[-1], work.get(key)
        work_done, moved = (None, None) if done is None else (done.multiply_adds, done.bytes_moved)
        costs.append(
            NodeCost(last.name, last.operator, last.provider, seconds, work_done, moved, last.allocated_peak_bytes)
        )
    return costs


def build_profile(
    case: BenchCase,
    batch: int,
    threads: int,
    nodes: Sequence[NodeCost],
    ort_provider: str,
    latency_s: float,
    peaks: Peaks,
) -> Profile:
    """Shares and distances to the limits; `latency_s` is the unprofiled median, which the limits are held against."""
    contract = case.contract
    total_s = sum(node.seconds for node in nodes)
    kinds: dict[str, list[NodeCost]] = defaultdict(list)
    for node in nodes:
        kinds[node.operator].append(node)
    operators = [_share_of(kind, each, total_s, peaks) for kind, each in kinds.items()]
    singly = [_share_of(node.name, [node], total_s, peaks) for node in nodes]
    if contract is None or contract.multiply_adds is None:
        multiply_adds = sum(node.multiply_adds or 0 for node in nodes)
    else:
        multiply_adds = contract.multiply_adds * batch
    rate = multiply_adds / latency_s if multiply_adds else None
    is_int8 = contract is not None and contract.precision == "int8"
    moved = sum(node.bytes or 0 for node in nodes)
    fullest = max(nodes, key=lambda node: node.allocated_peak_bytes)
    return Profile(
        label=case.label,
        batch=batch,
        threads=threads,
        nodes_s=total_s,
        provider_share=sum(node.seconds for node in nodes if node.provider == ort_provider) / total_s,
        operators=tuple(sorted(operators, key=lambda each: -each.seconds)),
        slowest_nodes=tuple(sorted(singly, key=lambda each: -each.seconds)[:_TOP_NODES]),
        bytes_moved=moved,
        activation_peak_bytes=fullest.allocated_peak_bytes,
        activation_peak_node=fullest.name if fullest.allocated_peak_bytes else "",
        macs_per_s=rate,
        peak_share=None if rate is None else rate / _peak(is_int8, peaks),
        bandwidth_share=moved / latency_s / peaks.bytes_per_s if moved else None,
        peaks=peaks,
    )


def _share_of(name: str, nodes: Sequence[NodeCost], total_s: float, peaks: Peaks) -> Share:
    """Nodes of one operator together: their part of the time, and how near they come to the limits."""
    operator, seconds = nodes[0].operator, sum(node.seconds for node in nodes)
    work, moved = sum(node.multiply_adds or 0 for node in nodes), sum(node.bytes or 0 for node in nodes)
    rate = work / seconds if work and seconds else None
    traffic = moved / seconds if moved and seconds else None
    return Share(
        name=name,
        operator=operator,
        calls=len(nodes),
        seconds=seconds,
        share=seconds / total_s,
        macs_per_s=rate,
        peak_share=None if rate is None else rate / _peak(computes_in_int8(operator), peaks),
        bytes_per_s=traffic,
        bandwidth_share=None if traffic is None else traffic / peaks.bytes_per_s,
    )


def _peak(is_int8: bool, peaks: Peaks) -> float:
    return peaks.int8_macs_per_s if is_int8 else peaks.float32_macs_per_s
