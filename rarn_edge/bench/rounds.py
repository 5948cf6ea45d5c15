"""Rounds: every model takes its turn in each, in an order shuffled anew, and a time budget goes where the doubt is.

Models measured one after the other are compared across minutes in which the clock, the temperature and the neighbours
change; interleaved, a bad moment hits all of them alike. A model that fails leaves the rounds; the others go on.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from rarn_edge.bench.stats import MIN_ROUNDS, MIN_SAMPLES, latency_ratio

Turn = Callable[[], float]
"""Do one timed call and return its seconds; raises `TurnFailed` when the model cannot go on."""

_EVEN_ROUNDS = 16  # of a budgeted run, before the budget follows the doubt
_CHUNK_ROUNDS = 8
_GOOD_ENOUGH = 0.01  # a ratio known to 1 % ends a budgeted run early, once p95 can be stated too
_GUIDE_RESAMPLES = 300  # where to go next needs less precision than what is reported


class TurnFailed(Exception):
    """A model's process crashed, hung, or answered with an error; its text is the reason."""


@dataclass
class Samples:
    """The timed calls of one model: seconds, and the number of the round each was taken in."""

    seconds: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def paired(self, other: "Samples") -> list[tuple[int, float, float]]:
        """The rounds that both models took part in: number, seconds, the other's seconds."""
        theirs = dict(zip(other.rounds, other.seconds, strict=True))
        return [(r, s, theirs[r]) for r, s in zip(self.rounds, self.seconds, strict=True) if r in theirs]


@dataclass
class Outcome:
    """What the rounds gave, by label."""

    samples: dict[str, Samples]
    failures: dict[str, str]


def run_rounds(
    turns: Mapping[str, Turn],
    reference: str,
    rounds: int | None,
    deadline_s: float | None = None,
    seed: int = 0,
    on_round: Callable[[Mapping[str, float]], None] | None = None,
    enough: int = MIN_SAMPLES[95],
) -> Outcome:
    """Take turns until `rounds` are done or the deadline is reached, whichever comes first.

    With a deadline, after some rounds of all, further rounds belong to the reference and to the model whose ratio has the
    widest interval at that moment.

    Args:
        turns: By label.
        reference: The label that ratios refer to; it takes part in every round while it works.
        rounds: Most samples of one model; None: as many as the deadline allows.
        deadline_s: `time.perf_counter()` value after which no new round starts, once three are done.
        seed: Of the order within the rounds.
        on_round: Called after each round with its samples, outside the timed part.
        enough: Samples of every model below which a run with a deadline does not end early.
    """
    run = _Run(turns, random.Random(seed), on_round or (lambda _samples: None))
    limit = rounds if rounds is not None else 1 << 62
    even = limit if deadline_s is None else min(limit, _EVEN_ROUNDS)
    while run.number < even and run.working and not (run.number >= MIN_ROUNDS and _past(deadline_s)):
        run.round(run.working)
    if deadline_s is not None:
        _spend(run, reference, limit, deadline_s, enough)
    return Outcome(run.samples, run.failures)


def _spend(run: "_Run", reference: str, limit: int, deadline_s: float, enough: int) -> None:
    """Give the rest of the budget to the widest interval, chunk by chunk."""
    widths: dict[str, float] = {}
    while not _past(deadline_s):
        ours = run.samples.get(reference)
        open_labels = [label for label in run.working if len(run.samples[label].seconds) < limit and label != reference]
        alone = reference in run.working and len(run.working) == 1
        if alone and ours is not None and len(ours.seconds) < limit:
            chosen = [reference]
        elif not open_labels:
            return
        elif reference not in run.working or ours is None:  # no ratios: even turns for all that is left
            chosen = open_labels
        else:
            for label in open_labels:
                if label not in widths:
                    widths[label] = _width(run.samples[label], ours)
            label = max(open_labels, key=lambda each: widths[each])
            if widths[label] < _GOOD_ENOUGH and all(len(run.samples[each].seconds) >= enough for each in open_labels):
                return
            if widths[label] < _GOOD_ENOUGH:
                label = min(open_labels, key=lambda each: len(run.samples[each].seconds))
            chosen = [reference, label]
            widths.pop(label)
        for _ in range(_CHUNK_ROUNDS):
            if _past(deadline_s):
                return
            run.round([label for label in chosen if label in run.working])


def _width(samples: Samples, reference: Samples) -> float:
    """The ratio's 95 % interval relative to the ratio."""
    pairs = samples.paired(reference)
    ratio = latency_ratio([ours for _, ours, _ in pairs], [their for *_, their in pairs], resamples=_GUIDE_RESAMPLES)
    return (ratio.high - ratio.low) / ratio.value


def _past(deadline_s: float | None) -> bool:
    return deadline_s is not None and time.perf_counter() >= deadline_s


class _Run:
    """The rounds so far: who still works, and what they took."""

    def __init__(
        self, turns: Mapping[str, Turn], order: random.Random, on_round: Callable[[Mapping[str, float]], None]
    ) -> None:
        self._turns, self._order, self._on_round = turns, order, on_round
        self.samples = {label: Samples() for label in turns}
        self.failures: dict[str, str] = {}
        self.number = 0

    @property
    def working(self) -> list[str]:
        return [label for label in self._turns if label not in self.failures]

    def round(self, labels: list[str]) -> None:
        order = list(labels)
        self._order.shuffle(order)
        taken: dict[str, float] = {}
        for label in order:
            try:
                taken[label] = self._turns[label]()
            except TurnFailed as failed:
                self.failures[label] = str(failed)
                continue
            self.samples[label].seconds.append(taken[label])
            self.samples[label].rounds.append(self.number)
        self._on_round(taken)
        self.number += 1
