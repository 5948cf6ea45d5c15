"""Timed calls, interleaved: every model is run once per round, in an order shuffled anew for each round.

Models measured one after the other are compared across minutes in which the clock, the temperature and the neighbours
change; interleaved, a bad moment hits all of them alike.
"""

import random
import time
from collections.abc import Callable, Sequence

Call = Callable[[], object]

MIN_ROUNDS = 3  # even past the deadline: one sample is an anecdote
_WARM_UP_CALLS = 3
_WARM_UP_GAIN = 0.95  # still warming up while the newest calls are this much faster than all before


def warm_up(call: Call, limit_s: float = 1.0) -> None:
    """Call until it no longer gets faster: at least three times, at most for about `limit_s`."""
    best_s = _timed(call)
    for _ in range(_WARM_UP_CALLS - 1):
        best_s = min(best_s, _timed(call))
    end_s = time.perf_counter() + limit_s
    while time.perf_counter() < end_s:
        newest_s = min(_timed(call) for _ in range(_WARM_UP_CALLS))
        if newest_s > best_s * _WARM_UP_GAIN:
            return
        best_s = newest_s


def time_interleaved(
    calls: Sequence[Call],
    rounds: int,
    deadline_s: float | None = None,
    seed: int = 0,
    on_round: Callable[[int], None] | None = None,
) -> list[list[float]]:
    """Seconds per call, `[len(calls)][rounds]`; sample i of every call comes from round i.

    Args:
        calls: What to time; each is called once per round.
        rounds: How many rounds at most.
        deadline_s: `time.perf_counter()` value after which no new round starts, once three are done.
        seed: Of the order within the rounds.
        on_round: Called outside the timed part with the number of rounds done.
    """
    samples_s: list[list[float]] = [[] for _ in calls]
    order = list(range(len(calls)))
    shuffle = random.Random(seed).shuffle
    for done in range(rounds):
        if deadline_s is not None and done >= MIN_ROUNDS and time.perf_counter() >= deadline_s:
            break
        shuffle(order)
        for index in order:
            samples_s[index].append(_timed(calls[index]))
        if on_round is not None:
            on_round(done + 1)
    return samples_s


def _timed(call: Call) -> float:
    start_s = time.perf_counter()
    call()
    return time.perf_counter() - start_s
