"""A steady, an unsteady and a drifting machine are told apart."""

from collections.abc import Sequence

import pytest

from rarn_edge.host import noise
from rarn_edge.host.noise import Counters, unsteady, workload_s

STEADY = [1e-3 * (1 + 0.001 * (i % 3)) for i in range(90)]


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise, "default_threads", lambda: 2)


def test_steady() -> None:
    assert unsteady(0.9, STEADY) == []
    assert unsteady(None, STEADY) == []
    assert unsteady(0.0, [1.0, 9.0]) == []  # too few to say anything


@pytest.mark.parametrize(
    ("load", "samples_s", "signs"),
    [
        (3.1, STEADY, "load 3.1 on 2 cores"),
        (3.1, (), "load 3.1 on 2 cores"),
        (0.0, [1e-3 * (1 + 0.2 * (i % 3)) for i in range(90)], "spread 33%"),
        (0.0, [1e-3] * 60 + [1.1e-3] * 30, "drift +10%"),
        (3.1, [1e-3] * 60 + [1.4e-3] * 30, "load 3.1 on 2 cores, spread 40%, drift +40%"),
    ],
)
def test_an_unsteady_machine_is_one_line(load: float, samples_s: Sequence[float], signs: str) -> None:
    assert unsteady(load, samples_s) == [f"unsteady ({signs}): close programs, trust ratios"]


def test_counters_name_what_grew(monkeypatch) -> None:
    readings = iter(
        [
            {"ticks": 0.0, "steal": 0.0, "throttled": 0.0, "pswpin": 0.0, "pswpout": 0.0, "thermal": 1.0},
            {"ticks": 100.0, "steal": 7.0, "throttled": 3.0, "pswpin": 90.0, "pswpout": 40.0, "thermal": 2.0},
        ]
    )
    monkeypatch.setattr(noise, "_read", lambda: next(readings))
    text = "\n".join(Counters().warnings())
    for part in (
        "took 7% of",
        "quota stopped this process 3 times",
        "130 pages were swapped",
        "throttled itself for heat",
    ):
        assert part in text


def test_the_reference_workload_takes_time() -> None:
    assert 0 < workload_s() < 1
