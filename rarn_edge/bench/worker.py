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
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.bench import profile, server
from rarn_edge.bench.device import bind
from rarn_edge.bench.nodes import UNPACKED, NodeWork, node_work
from rarn_edge.bench.process_memory import gpu_used_bytes, peak_rss_bytes, rss_bytes
from rarn_edge.bench.timing import Call, overhead_s, timed_s, warm_up
from rarn_edge.contract.artifact import METADATA_KEY, Artifact, open_unoptimised
from rarn_edge.errors import InputError, RarnEdgeError, first_line, require_extra
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
AUDIT_FACES = 512
_MEMORY_SHARE = (
    0.9  # of what is free now may be used: past it an allocation fails here, instead of the system killing others
)


class Held:
    """The session this process holds, and the call that is timed."""

    def __init__(self) -> None:
        self.session: ort.InferenceSession | None = None
        self.path = Path()
        self.provider = ""
        self.allow_fallback = False
        self.call: Call | None = None
        self.feed: dict[str, NDArray[np.generic]] = {}
        self.on_device: Call | None = None

    def opened(self) -> ort.InferenceSession:
        assert self.session is not None, "the parent asks for `open` first"
        return self.session


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
            options.enable_profiling = True
            options.profile_file_prefix = profile_prefix

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
    elsewhere = {place: dict(operators) for place, operators in assigned.items() if place != ours}
    return {
        "session_s": session_s,
        "nodes": sum(operators.total() for operators in assigned.values()),
        "nodes_elsewhere": sum(sum(operators.values()) for operators in elsewhere.values()),
        "elsewhere": elsewhere,
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


def take_turn(held: Held) -> dict[str, Any]:
    """One untimed call that brings the caches back to this model, one timed; on a GPU also one without the copies."""
    assert held.call is not None, "the parent asks for `prepare` first"
    held.call()
    before_s = time.process_time()
    answer = {"seconds": timed_s(held.call)}
    if _CPU_CLOCK_RESOLUTION_S <= _FINE_S:
        answer["cpu_s"] = time.process_time() - before_s
    if held.on_device is not None:
        held.on_device()
        answer["device_s"] = timed_s(held.on_device)
    return answer


def run_calls(held: Held, count: int) -> dict[str, Any]:
    """Untimed calls, and the resident memory after them."""
    assert held.call is not None, "the parent asks for `prepare` first"
    for _ in range(count):
        held.call()
    return memory(held)


def serve(held: Held, rate_per_s: float, queries: int, seed: int, limit_s: float) -> dict[str, Any]:
    """Poisson arrivals on the prepared call: latency of each query from its arrival on."""
    assert held.call is not None, "the parent asks for `prepare` first"
    return {"latencies_s": server.serve(held.call, rate_per_s, queries, seed, limit_s)}


def profile_calls(held: Held, count: int) -> dict[str, Any]:
    """Run under ONNX Runtime's profiler (opened with `profile_prefix`) and sum its events up."""
    assert held.call is not None, "the parent asks for `prepare` first"
    for _ in range(count):
        held.call()
    return profile.summarise(_events(held.opened()), count, _work(held))


def weights(held: Held) -> dict[str, Any]:
    """Bytes of the constants that the executed graph reads; None where the provider reports no sizes."""
    found = _work(held)
    return {"weights_bytes": sum(each.weight_bytes for each in found.values()) if found else None}


def _work(held: Held) -> dict[str, NodeWork]:
    """Of one call with the prepared input, in a session of its own."""
    with tempfile.TemporaryDirectory() as folder:

        def tune(options: ort.SessionOptions) -> None:
            options.enable_profiling = True
            options.profile_file_prefix = str(Path(folder) / "work")

        session = open_session(held.path, held.provider, 1, {}, UNPACKED, allow_fallback=held.allow_fallback, tune=tune)
        session.run(None, held.feed)
        return node_work(_events(session))


def _events(session: ort.InferenceSession) -> list[dict[str, Any]]:
    """What a profiled session recorded; it records nothing further."""
    path = Path(session.end_profiling())
    try:
        events: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return events
    finally:
        path.unlink(missing_ok=True)


def audit(_held: Held, path: str, threads: int) -> dict[str, Any]:
    """The INT8 audit of a file, saturation on drawn faces."""
    require_extra("onnx", "export")
    from rarn_edge.audit.run import audit as audit_file
    from rarn_edge.bench.audited import audit_facts
    from rarn_edge.data.synthetic import synthetic_faces

    return audit_facts(audit_file(Artifact.load(Path(path)), synthetic_faces(AUDIT_FACES, 0).images, threads))


def peaks(_held: Held, threads: int) -> dict[str, Any]:
    """This machine's measured limits."""
    return asdict(profile.measure_peaks(threads))


def devices(_held: Held, provider: str) -> dict[str, Any]:
    """What a provider's plug-in can use here."""
    return {"devices": [asdict(device) for device in provider_devices(provider)]}


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
    "turn": take_turn,
    "run": run_calls,
    "serve": serve,
    "profile": profile_calls,
    "weights": weights,
    "audit": audit,
    "peaks": peaks,
    "devices": devices,
    "memory": memory,
    "overhead": overhead,
}


def _limit_memory() -> None:
    """Let an allocation beyond the free memory fail in this process; elsewhere than on Linux the system decides."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return
    import resource

    lines = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
    free_bytes = int(lines["MemAvailable"].split()[0]) * 1024
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
