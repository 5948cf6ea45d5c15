"""Interleaving, stopping, failing and spending a budget; never a duration."""

import time
from collections.abc import Callable

import pytest

from rarn_edge.bench.extras.scenarios import find_server_rate
from rarn_edge.bench.schedule import Calls, run_rounds
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.bench.worker.timing import CallTime, overhead_s, serve, timed_s, warm_up
from rarn_edge.stats.ratio import MIN_ROUNDS

Model = Callable[[], CallTime]


def recording(names: str, log: list[str], seconds: float = 1.0) -> dict[str, Model]:
    def model(name: str) -> Model:
        def call() -> CallTime:
            log.append(name)
            return CallTime(seconds)

        return call

    return {name: model(name) for name in names}


def taken(rounds: list[Calls], label: str) -> list[int]:
    """The rounds that a model took part in."""
    return [number for number, calls in enumerate(rounds) if label in calls]


def test_every_round_runs_every_model_once() -> None:
    log: list[str] = []
    calls: list[Calls] = []
    run_rounds(recording("ABC", log), "A", rounds=40, on_round=calls.append)
    rounds = ["".join(log[start : start + 3]) for start in range(0, len(log), 3)]
    assert len(log) == 120
    assert all(sorted(each) == ["A", "B", "C"] for each in rounds)
    assert len(set(rounds)) == 6  # every order occurs, so no model always follows the same one
    assert all(taken(calls, name) == list(range(40)) for name in "ABC")


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
    rounds: list[Calls] = []
    run_rounds(recording("A", []), "A", rounds=1, on_round=rounds.append)
    assert taken(rounds, "A") == [0]


def test_a_model_that_fails_leaves_and_the_others_go_on() -> None:
    calls: list[int] = []

    def failing() -> CallTime:
        calls.append(0)
        if len(calls) == 3:
            raise WorkerError("its process was killed by SIGSEGV")
        return CallTime(1.0)

    rounds: list[Calls] = []
    failures = run_rounds({**recording("A", []), "B": failing}, "A", rounds=10, on_round=rounds.append)
    assert len(taken(rounds, "A")) == 10
    assert taken(rounds, "B") == [0, 1]
    assert failures == {"B": "its process was killed by SIGSEGV"}
    assert len(calls) == 3


def test_the_others_go_on_without_the_reference() -> None:
    def failing() -> CallTime:
        raise WorkerError("gone")

    rounds: list[Calls] = []
    models = {"A": failing, **recording("B", [])}
    assert run_rounds(models, "A", 40, time.perf_counter() + 60, on_round=rounds.append) == {"A": "gone"}
    assert len(taken(rounds, "B")) == 40


def test_the_budget_goes_to_the_widest_interval() -> None:
    """B is as steady as the reference, C is all over the place: C gets more calls."""
    values = iter(range(1_000_000))

    def restless() -> CallTime:
        return CallTime(1.0 + (next(values) * 7919 % 13) / 10)

    rounds: list[Calls] = []
    models = {**recording("AB", []), "C": restless}
    run_rounds(models, "A", 200, time.perf_counter() + 1.5, on_round=rounds.append)
    counts = {label: len(taken(rounds, label)) for label in models}
    assert counts["C"] > counts["B"] >= 16
    assert counts["A"] >= counts["C"]  # the reference takes part in every round
    assert set(taken(rounds, "C")) <= set(taken(rounds, "A"))


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


@pytest.mark.parametrize(("bound_s", "late", "taken"), [(0.0, 0, 1), (0.0, 2, 3), (60.0, 0, 100)])
def test_serving_ends_with_one_late_query_too_many(bound_s: float, late: int, taken: int) -> None:
    calls: list[int] = []
    latencies_s = serve(lambda: calls.append(0), 1e6, 100, seed=0, limit_s=60.0, bound_s=bound_s, late=late)
    assert len(latencies_s) == len(calls) == taken


def test_a_question_can_have_a_limit_of_its_own(make_onnx) -> None:
    path = str(make_onnx("model"))
    with Worker(timeout_s=0.001) as worker:
        assert worker.ask_within(60.0, "describe", path=path)["inputs"]
    with Worker() as worker, pytest.raises(WorkerError, match=r"no answer to 'describe' within 0\.001 s"):
        worker.ask_within(0.001, "describe", path=path)


def test_a_slow_model_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 600 ms a call, a probe of 662 queries may take over 20 minutes."""
    asked: list[tuple[float, float]] = []

    def answer(_self: Worker, timeout_s: float, _command: str, *, limit_s: float, late: int, **_: float) -> object:
        asked.append((timeout_s, limit_s))
        assert late == 6  # of 662, that leave p99 within the bound
        return {"latencies_s": [1.0] * (late + 1)}

    monkeypatch.setattr(Worker, "ask_within", answer)
    with Worker() as worker:
        found = find_server_rate(worker, "model", 1, 0.6, 0.5, seed=0)
    assert (found.rate_per_s, {probe.p99_s for probe in found.probes}) == (None, {None})
    assert all(timeout_s > limit_s > 1200 for timeout_s, limit_s in asked)
