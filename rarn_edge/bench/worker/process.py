"""The child process that holds one model: whatever the model does to it, the benchmark goes on.

It reads one JSON request per line and answers each with one JSON line; `client.Worker` is the other end. It times its own
calls, so that a sample contains no pipe and no scheduler of the parent.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.bench.extras.accuracy import accuracy_of
from rarn_edge.bench.extras.audit import audit_facts
from rarn_edge.bench.extras.profile import node_costs
from rarn_edge.bench.worker.binding import bind
from rarn_edge.bench.worker.timing import Call, CallTime, overhead_s, timed_s, warm_up
from rarn_edge.bench.worker.timing import serve as serve_arrivals
from rarn_edge.contract.artifact import METADATA_KEY, open_unoptimised
from rarn_edge.decode import encode
from rarn_edge.errors import InputError, RarnEdgeError, first_line
from rarn_edge.host.gpu import gpu_used_bytes
from rarn_edge.host.memory import meminfo, peak_rss_bytes, rss_bytes
from rarn_edge.runtime.ort_profile import UNPACKED, NodeCall, end_profile, profiled_into
from rarn_edge.runtime.peaks import measure_peaks
from rarn_edge.runtime.providers import (
    assigned_operators,
    device_memory,
    find_provider,
    open_session,
    provider_devices,
)

# A session's idle threads spin for a while in case more work comes. Between interleaved models that work is another
# model's, and the spinning would take its cores.
_SESSION_CONFIG = {"session.force_spinning_stop": "1"}
_CPU_CLOCK_RESOLUTION_S = time.get_clock_info("process_time").resolution
_FINE_S = 1e-5  # Windows counts processor time in 16 ms: no figure is better than that one
_MEMORY_SHARE = 0.9  # of what is free now: past it an allocation fails here, instead of the system killing others


@dataclass
class Held:
    """The session this process holds, and the call that is timed."""

    session: ort.InferenceSession | None = None
    path: Path = field(default_factory=Path)
    provider: str = ""
    allow_fallback: bool = False
    call: Call | None = None
    feed: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    on_device: Call | None = None

    def opened(self) -> ort.InferenceSession:
        assert self.session is not None, "the parent asks for `open` first"
        return self.session

    def prepared(self) -> Call:
        assert self.call is not None, "the parent asks for `prepare` first"
        return self.call


def describe(_held: Held, path: str) -> dict[str, Any]:
    """Inputs and metadata of a file, read without optimising it."""
    session = open_unoptimised(Path(path))
    inputs = [{"name": v.name, "type": v.type, "shape": v.shape} for v in session.get_inputs()]
    return {"inputs": inputs, "metadata": session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)}


def open_model(
    held: Held,
    path: str,
    provider: str,
    threads: int,
    allow_fallback: bool = False,
    arena: bool = True,
    cuda_graph: bool = False,
    profile_prefix: str | None = None,
) -> dict[str, Any]:
    """Open the one session; for TensorRT this is where the engine is built or read from its cache."""
    if provider in ("cpu", "xnnpack", "openvino"):  # a GPU runtime reserves far more address space than it uses
        _limit_memory()

    def tune(options: ort.SessionOptions) -> None:
        options.enable_cpu_mem_arena = arena
        if profile_prefix is not None:
            profiled_into(Path(profile_prefix))(options)

    extra = {"enable_cuda_graph": "1"} if cuda_graph and provider == "cuda" else {}
    if cuda_graph and provider == "tensorrt":
        extra = {"trt_cuda_graph_enable": "1"}
    start_s = time.perf_counter()
    held.session = open_session(
        Path(path), provider, threads, extra, _SESSION_CONFIG, allow_fallback=allow_fallback, tune=tune
    )
    session_s = time.perf_counter() - start_s
    held.path, held.provider, held.allow_fallback = Path(path), provider, allow_fallback
    assigned = assigned_operators(held.session)
    ours = find_provider(provider).ort_name
    return {
        "session_s": session_s,
        "nodes": sum(operators.total() for operators in assigned.values()),
        "nodes_elsewhere": sum(operators.total() for place, operators in assigned.items() if place != ours),
        "quantized": any("DequantizeLinear" in operators for operators in assigned.values()),
    }


def prepare(
    held: Held, input_name: str, dtype: str, shape: list[int], seed: int, limit_s: float, warm: bool = True
) -> dict[str, Any]:
    """Make the input of a batch size and warm up on it."""
    session = held.opened()
    held.feed = {input_name: random_input(dtype, tuple(shape), seed)}
    held.call = lambda: session.run(None, held.feed)
    held.on_device = None
    if (memory := device_memory(session, held.provider)) is not None:
        bound = bind(session, held.feed, memory)
        held.call, held.on_device = bound.host_to_host, bound.on_device
    if not warm:
        return {}
    done = warm_up(held.call, limit_s)
    if held.on_device is not None:
        warm_up(held.on_device, limit_s)
    return {"calls": done.calls, "duration_s": done.duration_s, "stable": done.stable}


def timed_call(held: Held) -> dict[str, Any]:
    """One untimed call that brings the caches back to this model, one timed; on a GPU also one without the copies."""
    call = held.prepared()
    call()
    before_s = time.process_time()
    wall_s = timed_s(call)
    cpu_s = time.process_time() - before_s if _CPU_CLOCK_RESOLUTION_S <= _FINE_S else None
    device_s = None
    if held.on_device is not None:
        held.on_device()
        device_s = timed_s(held.on_device)
    return encode(CallTime(wall_s, cpu_s, device_s))


def run_calls(held: Held, count: int) -> dict[str, Any]:
    """Untimed calls, and the resident memory after them."""
    for _ in range(count):
        held.prepared()()
    return memory(held)


def serve(
    held: Held, rate_per_s: float, queries: int, seed: int, limit_s: float, bound_s: float, late: int
) -> dict[str, Any]:
    """Poisson arrivals on the prepared call: latency of each query from its arrival on."""
    return {"latencies_s": serve_arrivals(held.prepared(), rate_per_s, queries, seed, limit_s, bound_s, late)}


def profile_calls(held: Held, count: int) -> dict[str, Any]:
    """Run under ONNX Runtime's profiler (opened with `profile_prefix`) and sum its calls up."""
    for _ in range(count):
        held.prepared()()
    work = {call.key: call for call in _unpacked_call(held)}
    return {"nodes": [encode(node) for node in node_costs(end_profile(held.opened()), count, work)]}


def weights(held: Held) -> dict[str, Any]:
    """Bytes of the constants that the executed graph reads; None where the provider reports no sizes."""
    found = _unpacked_call(held)
    return {"weights_bytes": sum(each.weight_bytes for each in found) if found else None}


def _unpacked_call(held: Held) -> list[NodeCall]:
    """One call with the prepared input in a session of its own: of each node with shapes, what it computes and moves."""
    with tempfile.TemporaryDirectory() as folder:
        tune = profiled_into(Path(folder) / "work")
        session = open_session(held.path, held.provider, 1, {}, UNPACKED, allow_fallback=held.allow_fallback, tune=tune)
        session.run(None, held.feed)
        return [call for call in end_profile(session) if call.outputs]


def audit(_held: Held, label: str, path: str, threads: int) -> dict[str, Any]:
    """The INT8 audit of a file."""
    return encode(audit_facts(label, Path(path), threads))


def accuracy(
    _held: Held, path: str, data: str, split: str | None, votes: str | None, provider: str, allow_fallback: bool
) -> dict[str, Any]:
    """The accuracy of a file on labelled faces."""
    by_votes = None if votes is None else Path(votes)
    return encode(accuracy_of(Path(path), Path(data), split, by_votes, provider, allow_fallback))


def peaks(_held: Held, threads: int) -> dict[str, Any]:
    """This machine's measured limits."""
    return encode(measure_peaks(threads))


def devices(_held: Held, provider: str) -> dict[str, Any]:
    """What a provider's plug-in can use here."""
    return {"devices": [encode(device) for device in provider_devices(provider)]}


def memory(_held: Held) -> dict[str, Any]:
    """Resident memory of this process, now and at its highest, and what is in use on the GPU."""
    return {"rss_bytes": rss_bytes(), "peak_rss_bytes": peak_rss_bytes(), "gpu_used_bytes": gpu_used_bytes()}


def overhead(_held: Held) -> dict[str, Any]:
    """What each sample contains of the harness."""
    return {"overhead_s": overhead_s()}


def random_input(dtype_name: str, shape: tuple[int, ...], seed: int) -> NDArray[np.generic]:
    """Standard normal for float inputs, uniform bytes for integer ones."""
    generator = np.random.default_rng(seed)
    dtype = np.dtype(dtype_name)
    if dtype.kind == "f":
        return generator.standard_normal(shape, dtype=np.float32).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


_COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "describe": describe,
    "open": open_model,
    "prepare": prepare,
    "call": timed_call,
    "run": run_calls,
    "serve": serve,
    "profile": profile_calls,
    "weights": weights,
    "audit": audit,
    "accuracy": accuracy,
    "peaks": peaks,
    "devices": devices,
    "memory": memory,
    "overhead": overhead,
}


def _limit_memory() -> None:
    """Let an allocation beyond the free memory fail in this process; elsewhere than on Linux the system decides."""
    free_bytes = meminfo().get("MemAvailable")
    if free_bytes is None:
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = int(free_bytes * _MEMORY_SHARE)
    resource.setrlimit(resource.RLIMIT_DATA, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _claim_stdout() -> TextIO:
    """The pipe for answers; file descriptor 1 becomes stderr, for a provider's library may print there."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def main() -> None:
    answers = _claim_stdout()
    held = Held()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = _COMMANDS[request.pop("do")](held, **request)
        except MemoryError:
            answer = {"error": "out of memory", "exit_code": InputError.exit_code}
        except RarnEdgeError as error:
            answer = {"error": str(error), "exit_code": error.exit_code}
        except Exception as error:  # onnxruntime's errors have no common base class; the parent gets the reason
            answer = {"error": first_line(error), "exit_code": InputError.exit_code}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
