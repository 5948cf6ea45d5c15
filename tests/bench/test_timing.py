"""Interleaving and stopping; never a duration."""

import time
from collections.abc import Callable

from rarn_edge.bench.timing import MIN_ROUNDS, time_interleaved, warm_up


def _recording(names: str, log: list[str]) -> list[Callable[[], object]]:
    return [lambda name=name: log.append(name) for name in names]


def test_every_round_runs_every_model_once() -> None:
    log: list[str] = []
    samples = time_interleaved(_recording("ABC", log), rounds=40)
    rounds = ["".join(log[start : start + 3]) for start in range(0, len(log), 3)]
    assert len(log) == 120
    assert all(sorted(each) == ["A", "B", "C"] for each in rounds)
    assert len(set(rounds)) == 6  # every order occurs, so no model always follows the same one
    assert [len(each) for each in samples] == [40, 40, 40]
    assert all(sample >= 0 for each in samples for sample in each)


def test_order_is_seeded() -> None:
    logs: list[list[str]] = [[], [], []]
    for log, seed in zip(logs, (1, 1, 2), strict=True):
        time_interleaved(_recording("ABC", log), rounds=20, seed=seed)
    assert logs[0] == logs[1] != logs[2]


def test_past_the_deadline_a_few_rounds_still_run() -> None:
    seen: list[int] = []
    samples = time_interleaved([lambda: None], rounds=100, deadline_s=time.perf_counter(), on_round=seen.append)
    assert len(samples[0]) == MIN_ROUNDS
    assert seen == [1, 2, 3]


def test_fewer_rounds_than_the_minimum_may_be_asked_for() -> None:
    assert len(time_interleaved([lambda: None], rounds=1)[0]) == 1


def test_warm_up_runs_at_least_three_times_and_ends() -> None:
    log: list[str] = []
    warm_up(*_recording("A", log), limit_s=0.0)
    assert len(log) == 3
