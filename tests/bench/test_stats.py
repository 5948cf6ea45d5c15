"""Statistics on numbers whose answers are known."""

import pytest

from rarn_edge.bench.stats import Ratio, latency_ratio, median_s, percentile_s


def test_median() -> None:
    assert median_s([3.0, 1.0, 2.0]) == 2.0
    assert median_s([4.0, 1.0, 2.0, 3.0]) == 2.5


@pytest.mark.parametrize(("percent", "needed"), [(90, 64), (95, 130), (99, 662)])
def test_percentiles_are_withheld_below_the_bound(percent: int, needed: int) -> None:
    assert percentile_s([1.0] * (needed - 1), percent) is None
    assert percentile_s([1.0] * needed, percent) == 1.0


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile_s([float(value) for value in range(100, 0, -1)], 90) == 90.0
    assert percentile_s([float(value) for value in range(1, 66)], 90) == 59.0  # ceil(58.5)


def test_ratio_to_itself_is_exactly_one() -> None:
    samples = [0.1, 0.2, 0.15, 0.9]
    assert latency_ratio(samples, samples) == Ratio(1.0, 1.0, 1.0)


def test_constant_ratio_has_no_width_whatever_the_noise() -> None:
    """Rounds are drawn whole: twice as slow in every round is twice as slow in every resample of an odd size."""
    reference = [0.1, 0.3, 0.2, 5.0, 0.25]
    ratio = latency_ratio([2 * value for value in reference], reference)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((2.0, 2.0, 2.0))


def test_interval_is_seeded_and_holds_the_value() -> None:
    ours = [1.0 + 0.01 * (index % 7) for index in range(100)]
    theirs = [1.0 + 0.01 * (index % 5) for index in range(100)]
    ratio = latency_ratio(ours, theirs, seed=3)
    assert ratio == latency_ratio(ours, theirs, seed=3)
    assert ratio.low <= ratio.value <= ratio.high
    assert ratio.value == pytest.approx(1.03 / 1.02)


def test_blocks_do_not_change_how_many_resamples_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    samples, reference = [1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 3.0]
    whole = latency_ratio(samples, reference, resamples=501)
    monkeypatch.setattr("rarn_edge.bench.stats._BLOCK_ELEMENTS", 40)
    assert latency_ratio(samples, reference, resamples=501) == whole


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_samples_are_a_programming_error(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="paired samples"):
        latency_ratio(ours, theirs)
