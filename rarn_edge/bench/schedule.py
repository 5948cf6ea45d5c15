"""Rounds: every model is called once in each, in an order shuffled anew, and a time budget goes where the doubt is.

Models measured one after the other are compared across minutes in which the clock, the temperature and the neighbours
change; interleaved, a bad moment hits all of them alike. A model that fails leaves the rounds; the others go on.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rarn_edge.bench.worker.client import WorkerError
from rarn_edge.bench.worker.timing import CallTime
from rarn_edge.stats.ratio import MIN_ROUNDS, MIN_SAMPLES, latency_ratio

Calls = dict[str, CallTime]
"""One round: what the call of each model took, by label."""

_EVEN_ROUNDS = 16  # of a budgeted run, before the budget follows the doubt
_CHUNK_ROUNDS = 8
_GOOD_ENOUGH = 0.01  # a ratio known to 1 % ends a budgeted run early, once p95 can be stated too
_GUIDE_RESAMPLES = 300  # where to go next needs less precision than what is reported


class Budget:
    """The time that may be spent on opening and timing, dealt evenly to what is still to be timed; None: no limit."""

    def __init__(self, budget_s: float | None, openings: int, timings: int) -> None:
        self._left_s, self._openings, self._timings = budget_s, openings, timings
        self._opening_s = 0.0  # of the latest

    def opened(self, took_s: float) -> None:
        """The processes of a launch are there."""
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


def run_rounds(
    models: Mapping[str, Callable[[], CallTime]],
    reference: str,
    rounds: int | None,
    deadline_s: float | None = None,
    seed: int = 0,
    on_round: Callable[[Calls], None] = lambda _calls: None,
    enough: int = MIN_SAMPLES[95],
) -> dict[str, str]:
    """Take rounds until so many are done or the deadline is reached, whichever comes first; why each failed model failed.

    With a deadline, after some rounds of all, further rounds belong to the reference and to the model whose ratio has the
    widest interval at that moment.

    Args:
        models: By label: makes one timed call, or raises `WorkerError` when the model cannot go on.
        reference: The label that ratios refer to; it takes part in every round while it works.
        rounds: Most calls of one model; None: as many as the deadline allows.
        deadline_s: `time.perf_counter()` value after which no new round starts, once three are done.
        seed: Of the order within the rounds.
        on_round: Gets each round when it is done, outside the timed part.
        enough: Calls of every model below which a run with a deadline does not end early.
    """
    run = _Run(models, random.Random(seed), on_round)
    limit = rounds if rounds is not None else 1 << 62
    even = limit if deadline_s is None else min(limit, _EVEN_ROUNDS)
    while len(run.rounds) < even and run.working and not (len(run.rounds) >= MIN_ROUNDS and _past(deadline_s)):
        run.round(run.working)
    if deadline_s is not None:
        _spend(run, reference, limit, deadline_s, enough)
    return run.failures


def _spend(run: "_Run", reference: str, limit: int, deadline_s: float, enough: int) -> None:
    """Give the rest of the budget to the widest interval, chunk by chunk."""
    widths: dict[str, float] = {}
    while not _past(deadline_s):
        open_labels = [label for label in run.working if run.counts[label] < limit and label != reference]
        if run.working == [reference] and run.counts[reference] < limit:
            chosen = [reference]
        elif not open_labels:
            return
        elif reference not in run.working:  # no ratios: all that is left is called alike
            chosen = open_labels
        else:
            for label in open_labels:
                if label not in widths:
                    widths[label] = run.width(label, reference)
            label = max(open_labels, key=lambda each: widths[each])
            if widths[label] < _GOOD_ENOUGH and all(run.counts[each] >= enough for each in open_labels):
                return
            if widths[label] < _GOOD_ENOUGH:
                label = min(open_labels, key=lambda each: run.counts[each])
            chosen = [reference, label]
            widths.pop(label)
        for _ in range(_CHUNK_ROUNDS):
            if _past(deadline_s):
                return
            run.round([label for label in chosen if label in run.working])


def _past(deadline_s: float | None) -> bool:
    return deadline_s is not None and time.perf_counter() >= deadline_s


class _Run:
    """The rounds so far, and who still works."""

    def __init__(
        self, models: Mapping[str, Callable[[], CallTime]], order: random.Random, on_round: Callable[[Calls], None]
    ) -> None:
        self._models, self._order, self._on_round = models, order, on_round
        self.rounds: list[Calls] = []
        self.counts: Counter[str] = Counter()  # calls of each model
        self.failures: dict[str, str] = {}

    @property
    def working(self) -> list[str]:
        return [label for label in self._models if label not in self.failures]

    def width(self, label: str, reference: str) -> float:
        """The ratio's 95 % interval relative to the ratio."""
        both = [each for each in self.rounds if label in each and reference in each]
        ours, theirs = ([each[name].wall_s for each in both] for name in (label, reference))
        ratio = latency_ratio(ours, theirs, resamples=_GUIDE_RESAMPLES)
        return (ratio.high - ratio.low) / ratio.value

    def round(self, labels: list[str]) -> None:
        order = list(labels)
        self._order.shuffle(order)
        calls: Calls = {}
        for label in order:
            try:
                calls[label] = self._models[label]()
            except WorkerError as failed:
                self.failures[label] = str(failed)
        self.rounds.append(calls)
        self.counts.update(calls.keys())
        self._on_round(calls)
