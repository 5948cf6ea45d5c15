"""The time that a benchmark may take, dealt to its starts and groups."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """The time that may be spent on opening and timing, dealt evenly to what is still to be timed; None: no limit."""

    def __init__(self, budget_s: float | None, openings: int, timings: int) -> None:
        self._left_s, self._openings, self._timings = budget_s, openings, timings
        self._opening_s = 0.0  # of the latest

    def opened(self, took_s: float) -> None:
        """A start's processes are there."""
        self._openings -= 1
        self._opening_s = took_s
        self._spend(took_s)

    @contextmanager
    def timing(self) -> Iterator[float | None]:
        """Seconds that the next group may take; what the openings to come may take is kept back, at most half."""
        share_s = None
        if self._left_s is not None:
            kept_back_s = min(self._openings * self._opening_s, self._left_s / 2)  # the first opening may be a slow one
            share_s = max(0.0, self._left_s - kept_back_s) / self._timings
        started_s = time.perf_counter()
        yield share_s
        self._timings -= 1
        self._spend(time.perf_counter() - started_s)

    def _spend(self, took_s: float) -> None:
        if self._left_s is not None:
            self._left_s -= took_s
