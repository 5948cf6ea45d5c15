"""Paired comparison: exact p-values against sums of binomial terms, intervals that behave at the edges."""

from dataclasses import astuple
from math import comb

import numpy as np
import pytest

from rarn_edge.stats.paired import compare_decisions, mcnemar_exact, mean_difference


@pytest.mark.parametrize(("lost", "gained"), [(0, 1), (1, 0), (2, 8), (10, 10), (5, 25), (40, 60)])
def test_mcnemar_is_the_binomial_tail(lost: int, gained: int) -> None:
    trials = lost + gained
    tail = sum(comb(trials, k) for k in range(min(lost, gained) + 1)) / 2**trials
    assert mcnemar_exact(lost, gained) == pytest.approx(min(1.0, 2 * tail))


def test_mcnemar_knows_its_extremes() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(900, 1100) == pytest.approx(8.5e-6, rel=0.1)
    assert mcnemar_exact(0, 2000) < 1e-300 or mcnemar_exact(0, 2000) == 0.0


def test_counts_and_direction() -> None:
    reference = np.array([True, True, False, False, True])
    other = np.array([True, False, True, True, True])
    found = compare_decisions(reference, other)
    assert (found.only_reference_right, found.only_other_right) == (1, 2)
    assert found.accuracy_difference == pytest.approx(0.2)
    assert found.difference_low < 0.2 < found.difference_high


def test_equal_models_differ_by_nothing() -> None:
    right = np.random.default_rng(0).random(3589) < 0.67
    found = compare_decisions(right, right)
    assert (found.accuracy_difference, found.p_value) == (0.0, 1.0)
    assert -0.002 < found.difference_low < 0 < found.difference_high < 0.002


def test_the_interval_covers() -> None:
    """The true difference lies inside in about 95 % of 400 seeded draws."""
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        draw = rng.random(1000)
        reference, other = draw > 0.30, (draw > 0.33) | (draw < 0.01)  # loses 3 %, gains 1 %
        found = compare_decisions(reference, other)
        inside += found.difference_low <= -0.02 <= found.difference_high
    assert 0.92 <= inside / 400 <= 0.99


def test_mean_difference_of_shares_agrees_with_decisions() -> None:
    rng = np.random.default_rng(1)
    reference, other = (rng.random(3589) < rate for rate in (0.60, 0.66))
    decided = compare_decisions(reference, other)
    found = mean_difference(reference.astype(np.float64), other.astype(np.float64))
    expected = (decided.accuracy_difference, decided.difference_low, decided.difference_high)
    assert astuple(found) == pytest.approx(expected, abs=1e-3)
    half = mean_difference(np.zeros(4), np.array([0.5, 0.5, 1.0, 0.0]))
    assert half.value == 0.5
    assert half.value - half.low == pytest.approx(half.high - half.value)
