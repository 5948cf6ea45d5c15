"""Interleaving, stopping, failing and spending a budget; never a duration."""

import time
from collections.abc import Callable

import pytest

from rarn_edge.bench.rounds import MIN_ROUNDS, Samples, TurnFailed, run_rounds
from rarn_edge.bench.timing import overhead_s, timed_s, warm_up

Turn = Callable[[], float]


def recording(names: str, log: list[str], seconds: float = 1.0) -> dict[str, Turn]:
    def turn_of(name: str) -> Turn:
        def turn() -> float:
            log.append(name)
            return seconds

        return turn

    return {name: turn_of(name) for name in names}


def test_every_round_runs_every_model_once() -> None:
    log: list[str] = []
    outcome = run_rounds(recording("ABC", log), "A", rounds=40)
    rounds = ["".join(log[start : start + 3]) for start in range(0, len(log), 3)]
    assert len(log) == 120
    assert all(sorted(each) == ["A", "B", "C"] for each in rounds)
    assert len(set(rounds)) == 6  # every order occurs, so no model always follows the same one
    assert all(each.rounds == list(range(40)) for each in outcome.samples.values())


def test_order_is_seeded() -> None:
    logs: list[list[str]] = [[], [], []]
    for log, seed in zip(logs, (1, 1, 2), strict=True):
        run_rounds(recording("ABC", log), "A", rounds=20, seed=seed)
    assert logs[0] == logs[1] != logs[2]


def test_past_the_deadline_a_few_rounds_still_run() -> None:
    seen: list[int] = []
    past_s = time.perf_counter()
    run_rounds(recording("A", []), "A", 100, past_s, on_round=lambda _: seen.append(len(seen)))
    assert seen == list(range(MIN_ROUNDS))


def test_fewer_rounds_than_the_minimum_may_be_asked_for() -> None:
    assert len(run_rounds(recording("A", []), "A", rounds=1).samples["A"].seconds) == 1


def test_a_model_that_fails_leaves_and_the_others_go_on() -> None:
    calls: list[int] = []

    def failing() -> float:
        calls.append(0)
        if len(calls) == 3:
            raise TurnFailed("its process was killed by SIGSEGV")
        return 1.0

    outcome = run_rounds({**recording("A", []), "B": failing}, "A", rounds=10)
    assert len(outcome.samples["A"].seconds) == 10
    assert outcome.samples["B"].rounds == [0, 1]
    assert outcome.failures == {"B": "its process was killed by SIGSEGV"}
    assert len(calls) == 3


def test_the_others_go_on_without_the_reference() -> None:
    def failing() -> float:
        raise TurnFailed("gone")

    outcome = run_rounds({"A": failing, **recording("B", [])}, "A", 40, time.perf_counter() + 60)
    assert outcome.failures == {"A": "gone"}
    assert len(outcome.samples["B"].seconds) == 40


def test_the_budget_goes_to_the_widest_interval() -> None:
    """B is as steady as the reference, C is all over the place: C gets more turns."""
    values = iter(range(1_000_000))

    def restless() -> float:
        return 1.0 + (next(values) * 7919 % 13) / 10

    turns = {**recording("AB", []), "C": restless}
    outcome = run_rounds(turns, "A", 200, time.perf_counter() + 1.5)
    counts = {label: len(samples.seconds) for label, samples in outcome.samples.items()}
    assert counts["C"] > counts["B"] >= 16
    assert counts["A"] >= counts["C"]  # the reference takes part in every round
    assert len(outcome.samples["C"].paired(outcome.samples["A"])) == counts["C"]


def test_pairs_are_of_the_same_round() -> None:
    ours = Samples([1.0, 2.0, 3.0], [0, 2, 5])
    theirs = Samples([10.0, 20.0, 30.0], [0, 1, 5])
    assert ours.paired(theirs) == [(0, 1.0, 10.0), (5, 3.0, 30.0)]


@pytest.mark.parametrize("limit_s", [0.0, 0.2])
def test_warm_up_runs_at_least_three_times_and_ends(limit_s: float) -> None:
    log: list[str] = []
    done = warm_up(recording("A", log)["A"], limit_s=limit_s)
    assert len(log) == done.calls >= 3
    assert done.stable or limit_s in (0.0, 0.2)


def test_what_never_settles_is_called_unstable() -> None:
    state = [0.0]

    def slower_and_slower() -> None:
        state[0] += 0.0005
        time.sleep(state[0])

    assert not warm_up(slower_and_slower, limit_s=0.3).stable


def test_overhead_is_that_of_a_call_that_does_nothing() -> None:
    assert 0 <= overhead_s(200) < timed_s(lambda: time.sleep(0.01))
