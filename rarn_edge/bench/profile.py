"""Where the time goes: ONNX Runtime's own profile by operator and node, and the distance to this machine's limits."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType
from typing import Any

import numpy as np
import onnxruntime as ort

from rarn_edge.assets import asset
from rarn_edge.bench.nodes import NodeWork, computes_in_int8, is_node, node_key

LITTLE_GAIN = 1.5  # `Products.integer_gain` below this does not pay for the conversions around 8-bit arithmetic
_PEAK_SIDE = 512  # rows and columns of the constant matrix in assets/peak_*.onnx
_PEAK_ROWS = 128
_PEAK_REPEATS = 200  # of a few milliseconds: on a busy machine some of them run undisturbed
_COPY_BYTES = 32 << 20  # far beyond any cache of a small machine
_COPY_REPEATS = 15
_TOP_NODES = 12


@dataclass(frozen=True)
class Peaks:
    """This machine's measured limits with that number of threads."""

    float32_macs_per_s: float  # a large matrix product through the same runtime
    int8_macs_per_s: float  # u8 x s8
    bytes_per_s: float  # reads plus writes of a large copy


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


def summarise(
    events: Sequence[dict[str, Any]], calls: int, work: Mapping[str, NodeWork] = MappingProxyType({})
) -> dict[str, Any]:
    """Sum the node events of the last `calls` calls up, with what each node computes; JSON-ready, seconds per call.

    Raises:
        ValueError: the profile has no node events.
    """
    nodes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for event in filter(is_node, events):
        nodes[node_key(event)].append(event)
    if not nodes:
        raise ValueError("ONNX Runtime's profile names no node: this provider does not report its nodes")
    rows, moved, highest, highest_node = [], 0, 0, ""
    by_provider: dict[str, float] = defaultdict(float)
    for key, all_events in nodes.items():
        kept = all_events[-calls:]  # the first calls warm up
        seconds = (
            median(float(event["dur"]) for event in kept) / 1e6
        )  # a mean would blame the node that was interrupted
        facts = kept[-1].get("args", {})
        name, done = key.rpartition("/")[0], work.get(key)
        row = {"name": name, "operator": str(facts.get("op_name", "?")), "seconds": seconds}
        rows.append({**row, "multiply_adds": done and done.multiply_adds, "bytes": done and done.bytes_moved})
        by_provider[str(facts.get("provider", "?"))] += seconds
        moved += done.bytes_moved if done else 0
        used = int(facts.get("mem_in_use_peak", 0))
        if used > highest:
            highest, highest_node = used, name
    return {
        "nodes": rows,
        "providers": dict(by_provider),
        "bytes_moved": moved,
        "activation_peak_bytes": highest,
        "activation_peak_node": highest_node,
    }


def build_profile(
    label: str,
    batch: int,
    threads: int,
    answer: dict[str, Any],
    ort_provider: str,
    latency_s: float,
    multiply_adds: int | None,
    is_int8: bool,
    peaks: Peaks,
) -> Profile:
    """From the worker's sums; `latency_s` is the unprofiled median, which the distances to the limits refer to."""
    total_s = sum(node["seconds"] for node in answer["nodes"])
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for node in answer["nodes"]:
        kinds[node["operator"]].append(node)
    operators = [_share_of(kind, each, total_s, peaks) for kind, each in kinds.items()]
    nodes = [_share_of(node["name"], [node], total_s, peaks) for node in answer["nodes"]]
    counted = sum(node["multiply_adds"] or 0 for node in answer["nodes"])  # of the whole batch
    done = counted if multiply_adds is None else multiply_adds * batch
    rate = done / latency_s if done else None
    peak = peaks.int8_macs_per_s if is_int8 else peaks.float32_macs_per_s
    return Profile(
        label=label,
        batch=batch,
        threads=threads,
        nodes_s=total_s,
        provider_share=answer["providers"].get(ort_provider, 0.0) / total_s,
        operators=tuple(sorted(operators, key=lambda each: -each.seconds)),
        slowest_nodes=tuple(sorted(nodes, key=lambda each: -each.seconds)[:_TOP_NODES]),
        bytes_moved=answer["bytes_moved"],
        activation_peak_bytes=answer["activation_peak_bytes"],
        activation_peak_node=answer["activation_peak_node"],
        macs_per_s=rate,
        peak_share=None if rate is None else rate / peak,
        bandwidth_share=(answer["bytes_moved"] / latency_s / peaks.bytes_per_s) if answer["bytes_moved"] else None,
        peaks=peaks,
    )


def _share_of(name: str, nodes: Sequence[dict[str, Any]], total_s: float, peaks: Peaks) -> Share:
    """Nodes of one operator together: their part of the time, and how near they come to the limits."""
    operator = str(nodes[0]["operator"])
    seconds = sum(node["seconds"] for node in nodes)
    work, moved = (sum(node[key] or 0 for node in nodes) for key in ("multiply_adds", "bytes"))
    peak = peaks.int8_macs_per_s if computes_in_int8(operator) else peaks.float32_macs_per_s
    rate = work / seconds if work and seconds else None
    traffic = moved / seconds if moved and seconds else None
    return Share(
        name=name,
        operator=operator,
        calls=len(nodes),
        seconds=seconds,
        share=seconds / total_s,
        macs_per_s=rate,
        peak_share=None if rate is None else rate / peak,
        bytes_per_s=traffic,
        bandwidth_share=None if traffic is None else traffic / peaks.bytes_per_s,
    )


@dataclass(frozen=True)
class Products:
    """Multiply-adds per second of a large matrix product through ONNX Runtime, the best of many."""

    float32_macs_per_s: float
    int8_macs_per_s: float  # u8 x s8

    @property
    def integer_gain(self) -> float:
        """How many times as fast bytes are multiplied: near 1, INT8 cannot make a model much faster here."""
        return self.int8_macs_per_s / self.float32_macs_per_s


def measure_products(threads: int) -> Products:
    """On the CPU; about a second."""
    float32_s = _product_s("peak_float32.onnx", np.dtype(np.float32), threads)
    int8_s = _product_s("peak_int8.onnx", np.dtype(np.uint8), threads)
    work = _PEAK_ROWS * _PEAK_SIDE * _PEAK_SIDE
    return Products(work / float32_s, work / int8_s)


def measure_peaks(threads: int) -> Peaks:
    """The limits of this machine: matrix products and a large copy."""
    products = measure_products(threads)
    return Peaks(products.float32_macs_per_s, products.int8_macs_per_s, _copy_bytes_per_s(threads))


def _product_s(name: str, dtype: np.dtype[Any], threads: int) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = ort.InferenceSession(asset(name), options, providers=["CPUExecutionProvider"])
    left = np.full((_PEAK_ROWS, _PEAK_SIDE), 2, dtype)  # [rows, side]
    times_s = []
    for _ in range(_PEAK_REPEATS):
        start_s = time.perf_counter()
        session.run(None, {"input": left})
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def _copy_bytes_per_s(threads: int) -> float:
    """NumPy copies without the interpreter lock, so threads really copy side by side."""
    pairs = [
        (np.ones(_COPY_BYTES // threads, np.uint8), np.empty(_COPY_BYTES // threads, np.uint8)) for _ in range(threads)
    ]
    for source, target in pairs:
        np.copyto(target, source)  # touch every page once
    times_s = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_COPY_REPEATS):
            start_s = time.perf_counter()
            for job in [pool.submit(np.copyto, target, source) for source, target in pairs]:
                job.result()
            times_s.append(time.perf_counter() - start_s)
    return 2 * sum(source.nbytes for source, _ in pairs) / min(times_s)
