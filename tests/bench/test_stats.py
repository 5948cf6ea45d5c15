"""Statistics on numbers whose answers are known."""

import math

import numpy as np
import pytest

from rarn_edge.stats.interval import Interval
from rarn_edge.stats.ratio import (
    latency_ratio,
    median_s,
    percentile_s,
    ratio_over_launches,
    unpaired_ratio_over_launches,
)


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
    assert latency_ratio(samples, samples) == Interval(1.0, 1.0, 1.0)


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
    monkeypatch.setattr("rarn_edge.stats.ratio._BLOCK_ELEMENTS", 40)
    assert latency_ratio(samples, reference, resamples=501) == whole


def test_one_launch_is_what_its_rounds_say() -> None:
    ours, theirs = [1.0, 1.1, 1.2, 1.05], [1.0, 1.0, 1.1, 1.0]
    assert ratio_over_launches([(ours, theirs)], seed=1) == latency_ratio(ours, theirs, seed=1)


def test_interval_over_launches_is_students() -> None:
    """Ratios e^-0.02 .. e^0.02 without noise in the rounds: mean 0, t(4) * s / sqrt(5) = 2.776 * 0.0158 / 2.236."""
    logs = [-0.02, -0.01, 0.0, 0.01, 0.02]
    ratio = ratio_over_launches([([math.exp(log)] * 4, [1.0] * 4) for log in logs])
    assert ratio.value == pytest.approx(1.0)
    assert (math.log(ratio.low), math.log(ratio.high)) == pytest.approx((-0.02, 0.02), abs=4e-4)


def test_launches_that_agree_by_chance_do_not_hide_the_noise_of_rounds() -> None:
    noisy = [1.0, 2.0, 3.0, 4.0]
    alone = latency_ratio(noisy * 5, [2.0] * 20)
    ratio = ratio_over_launches([(noisy, [2.0] * 4)] * 5)
    assert (ratio.low, ratio.high) == (alone.low, alone.high)


def test_a_launch_that_was_cut_short_does_not_weigh_as_much() -> None:
    whole = [([1.0 + 0.001 * start] * 20, [1.0] * 20) for start in range(4)]
    ratio = ratio_over_launches([*whole, ([1.6, 1.6], [1.0, 1.0])])
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.0015, 0.999, 1.004), abs=6e-4)


def test_a_model_against_itself_is_told_apart_about_once_in_twenty() -> None:
    """Processes that differ by 1 % from launch to launch, 0.5 % noise in a round: the rounds alone say 'different' too often."""
    generator = np.random.default_rng(0)
    told, told_by_rounds = 0, 0
    for _ in range(200):
        starts = []
        for _ in range(5):
            own = generator.normal(1, 0.01, 2)
            ours, theirs = (scale * generator.normal(1, 0.005, 20) for scale in own)
            starts.append((ours.tolist(), theirs.tolist()))
        over = ratio_over_launches(starts)
        rounds = latency_ratio([s for ours, _ in starts for s in ours], [s for _, theirs in starts for s in theirs])
        told += not over.low <= 1 <= over.high
        told_by_rounds += not rounds.low <= 1 <= rounds.high
    assert told <= 14
    assert told_by_rounds >= 60


def test_welchs_interval() -> None:
    """Logs 0.98 to 1.02 and 0: 2.776 * sqrt(s1^2 / 5), four degrees of freedom, for the other run has no spread."""
    ours = [[math.exp(log)] * 4 for log in (0.98, 0.99, 1.0, 1.01, 1.02)]
    ratio = unpaired_ratio_over_launches(ours, [[1.0] * 4] * 5)
    assert math.log(ratio.value) == pytest.approx(1.0)
    assert (math.log(ratio.low), math.log(ratio.high)) == pytest.approx((0.98, 1.02), abs=4e-4)
    constant = unpaired_ratio_over_launches([[2.0] * 4] * 3, [[1.0] * 4] * 3)
    assert (constant.value, constant.low, constant.high) == pytest.approx((2.0, 2.0, 2.0))


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0])])
def test_unpaired_samples_are_a_programming_error(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match="paired samples"):
        latency_ratio(ours, theirs)
