"""A steady, an unsteady and a drifting machine are told apart."""

from rarn_edge.host import noise
from rarn_edge.host.noise import Counters, workload_s, workload_warnings


def test_steady() -> None:
    assert workload_warnings([1e-3 * (1 + 0.001 * (i % 3)) for i in range(90)]) == []
    assert workload_warnings([1.0, 9.0]) == []  # too few to say anything


def test_unsteady() -> None:
    (warning,) = workload_warnings([1e-3 * (1 + 0.2 * (i % 3)) for i in range(90)])
    assert warning.startswith("unsteady machine: the same piece of work varied by 33%")


def test_drift() -> None:
    (warning,) = workload_warnings([1e-3] * 60 + [1.1e-3] * 30)
    assert "10% slower at the end than at the start" in warning


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
        "swapping: 130 pages",
        "throttled itself for heat",
    ):
        assert part in text


def test_the_reference_workload_takes_time() -> None:
    assert 0 < workload_s() < 1
