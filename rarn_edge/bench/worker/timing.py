"""Timed calls, warm-up until stable, random arrivals, and what the timing itself costs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Call = Callable[[], object]

_WINDOW_CALLS = 5
_WINDOW_S = 0.02  # at least this long: a window of microsecond calls would be all noise
_STABLE = 0.03  # two windows in a row within this share of each other's median
_MIN_CALLS = 3


@dataclass(frozen=True)
class CallTime:
    """What one timed call took, in seconds."""

    wall_s: float  # on a GPU with the copies from and to the host
    cpu_s: float | None = None  # processor time of all threads; None: this system counts it too coarsely
    device_s: float | None = None  # on a GPU: another call without the copies


@dataclass(frozen=True)
class WarmUp:
    """How a model came to a steady time per call."""

    calls: int
    duration_s: float
    stable: bool  # False: it was still changing when the limit was reached; with less than three windows none can tell


def timed_s(call: Call) -> float:
    """Seconds that one call takes."""
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s


def warm_up(call: Call, limit_s: float = 3.0) -> WarmUp:
    """Call until three windows in a row have the same median within 3 %: at least three calls, at most about `limit_s`."""
    start_s = time.perf_counter()
    end_s = start_s + limit_s
    calls = 0
    medians: list[float] = []
    for _ in range(_MIN_CALLS):  # the first calls allocate; they say nothing about the rest
        call()
        calls += 1
    while time.perf_counter() < end_s:
        window: list[float] = []
        window_end_s = time.perf_counter() + _WINDOW_S
        while len(window) < _WINDOW_CALLS or time.perf_counter() < window_end_s:
            window.append(timed_s(call))
        calls += len(window)
        medians.append(statistics.median(window))
        newest = medians[-3:]
        if len(newest) == 3 and max(newest) <= min(newest) * (1 + _STABLE):
            return WarmUp(calls, time.perf_counter() - start_s, True)
    return WarmUp(calls, time.perf_counter() - start_s, len(medians) < 3)


def overhead_s(repeats: int = 2000) -> float:
    """Median seconds that `timed_s` reports for a call that does nothing: what every sample contains of the harness."""
    return statistics.median(timed_s(lambda: None) for _ in range(repeats))


def serve(
    call: Call, rate_per_s: float, queries: int, seed: int, limit_s: float, bound_s: float, late: int
) -> list[float]:
    """Seconds from each query's arrival to its answer, one at a time; fewer than `queries` when it cannot keep up.

    Args:
        call: Answers one query.
        rate_per_s: Mean arrivals per second; the gaps are exponential (a Poisson process).
        queries: How many arrive.
        seed: Of the gaps.
        limit_s: No further query is taken after this long.
        bound_s: Of the latency.
        late: How many queries may be above the bound; nothing is measured after one more.
    """
    arrivals_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, queries))
    latencies_s = []
    start_s = time.perf_counter()
    for arrival_s in arrivals_s.tolist():
        now_s = time.perf_counter() - start_s
        if now_s > limit_s:
            break
        if now_s < arrival_s:
            time.sleep(arrival_s - now_s)
        call()
        latencies_s.append(time.perf_counter() - start_s - arrival_s)
        late -= latencies_s[-1] > bound_s
        if late < 0:
            break
    return latencies_s
