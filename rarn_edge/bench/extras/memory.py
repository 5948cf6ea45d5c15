"""Resident memory, each measurement in a fresh process, so that no model pays for the one before it.

What a process that only imports the same modules needs is subtracted: what remains is the model's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.worker.client import Worker, WorkerError

_TIMEOUT_S = 300.0
_RUNS = 3  # the memory arena reaches its size in the second run at the latest


@dataclass(frozen=True)
class Memory:
    """Resident bytes of one model at one batch size, above a process that only imports; None: cannot be read here."""

    import_bytes: int  # that process itself
    session_bytes: int | None  # with the session open: weights and what the runtime made of them
    peak_bytes: int  # the highest, opening and optimising the graph included
    steady_bytes: int | None  # after some calls
    peak_without_arena_bytes: int | None = None  # the same with ONNX Runtime's memory arena off
    weights_bytes: int | None = None  # constants that the executed graph reads, counted and not measured
    device_bytes: int | None = None  # on the GPU: what is in use there above what was before


@dataclass(frozen=True)
class MemoryResult:
    """The figures, or None with the reason why they could not be measured."""

    memory: Memory | None
    reason: str | None = None


def measure_memory(
    case: BenchCase,
    batch: int,
    provider: str,
    threads: int,
    allow_fallback: bool = False,
    open_worker: Callable[[], Worker] = lambda: Worker(_TIMEOUT_S),
) -> MemoryResult:
    """The model's memory; a child that fails, crashes or hangs is a result with its reason."""

    def run(arena: bool) -> Memory:
        with open_worker() as worker:
            before = worker.ask("memory")
            model = {"path": str(case.path), "provider": provider, "threads": threads, "allow_fallback": allow_fallback}
            worker.ask("open", **model, arena=arena)
            opened = worker.ask("memory")
            worker.ask("prepare", **case.input_of(batch), seed=0, limit_s=0.0, warm=False)
            after = worker.ask("run", count=_RUNS)
            on_gpu = provider in ("cuda", "tensorrt") and before["gpu_used_bytes"] is not None
            imports = before["peak_rss_bytes"]
            opened_rss, steady_rss = (each["rss_bytes"] for each in (opened, after))
            return Memory(
                import_bytes=imports,
                session_bytes=None if opened_rss is None else max(0, opened_rss - imports),
                peak_bytes=max(0, after["peak_rss_bytes"] - imports),
                steady_bytes=None if steady_rss is None else max(0, steady_rss - imports),
                weights_bytes=None if arena else worker.ask("weights")["weights_bytes"],  # last: another session
                device_bytes=after["gpu_used_bytes"] - before["gpu_used_bytes"] if on_gpu else None,
            )

    try:
        usual, bare = run(arena=True), run(arena=False)
    except WorkerError as failed:
        return MemoryResult(None, str(failed).splitlines()[0])
    return MemoryResult(replace(usual, peak_without_arena_bytes=bare.peak_bytes, weights_bytes=bare.weights_bytes))
