"""All processes launched anew: how often, with which rounds and which share of a budget, and what fails on the way."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from rarn_edge.bench.cases import load_case, load_cases
from rarn_edge.bench.config import BenchConfig
from rarn_edge.bench.runner import benchmark
from rarn_edge.bench.schedule import Budget
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.errors import ProviderError


def test_every_launch_is_a_new_process(make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also with a budget, which is dealt to all launches; what cannot be measured is tried and said once."""
    opened: list[str] = []
    ask = Worker.ask

    def noted(self: Worker, command: str, **arguments: Any) -> dict[str, Any]:
        if command == "open":
            opened.append(f"{Path(arguments['path']).stem} {self._process.pid}")
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", noted)
    good = load_case(make_onnx("good"))
    wrong = dataclasses.replace(load_case(make_onnx("wrong")), input_shape=(None, 1, 5, 5))
    gone = dataclasses.replace(load_case(make_onnx("gone")), path=Path("gone.onnx"))
    request = BenchConfig(threads=(1,), rounds=None, budget_s=0.5, launches=3, memory=False)
    report = benchmark([good, wrong, gone], request)
    assert len(set(opened)) == len(opened)
    assert [sum(each.startswith(name) for each in opened) for name in ("good", "wrong", "gone")] == [3, 1, 1]
    assert set(report.rows[0].sample_launches) == {0, 1, 2}
    assert [(failure.label, failure.stage) for failure in report.failures] == [("gone", "open"), ("wrong", "warm-up")]


def test_a_provider_that_starts_and_then_fails(make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes live on and answer with errors: said once, not tried in later launches, and what it had measured is kept."""
    asked: list[str] = []
    ask = Worker.ask

    def failing(self: Worker, command: str, **arguments: Any) -> dict[str, Any]:
        if command == "open" and "victim" in arguments["path"]:
            self.victim = True  # type: ignore[attr-defined]  # a mark of this test
        if command == "call" and hasattr(self, "victim"):
            asked.append(command)
            if len(asked) > 5:
                raise WorkerError("CUDA failure 700: an illegal memory access was encountered", ProviderError.exit_code)
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", failing)
    cases = load_cases([make_onnx("good"), make_onnx("victim")])
    report = benchmark(cases, BenchConfig(threads=(1,), rounds=12, launches=3, memory=False))
    assert [(row.label, len(row.samples_s)) for row in report.rows] == [("good", 12), ("victim", 5)]
    assert report.rows[1].samples_by_launch() == [
        list(report.rows[1].samples_s[:4]),
        list(report.rows[1].samples_s[4:]),
    ]
    (failure,) = report.failures
    assert (failure.label, failure.stage) == ("victim", "timing")
    assert "illegal memory access" in failure.reason
    assert len(asked) == 6


def test_a_budget_is_dealt_to_all_launches() -> None:
    """10 s, five openings of which the first is slow, ten groups: the first launches are not starved, and it is not overspent."""
    budget = Budget(10.0, openings=5, timings=10)
    shares = []
    for opening_s in (3.0, 0.5, 0.5, 0.5, 0.5):
        budget.opened(opening_s)
        for _ in range(2):
            with budget.timing() as share_s:
                assert share_s is not None
            budget._spend(share_s)  # as if the group had taken what it may
            shares.append(share_s)
    assert min(shares) > 0.3
    assert 4.5 < sum(shares) <= 5.0
    assert Budget(None, 1, 1).timing().__enter__() is None
