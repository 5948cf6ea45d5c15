"""Timed calls, warm-up until stable, and what the timing itself costs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Call = Callable[[], object]

_WINDOW_CALLS = 5
_WINDOW_S = 0.02  # at least this long: a window of microsecond calls would be all noise
_STABLE = 0.03  # two windows in a row within this share of each other's median
_MIN_CALLS = 3


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
    return statistics.median(timed_s(_nothing) for _ in range(repeats))


def _nothing() -> None:
    pass
