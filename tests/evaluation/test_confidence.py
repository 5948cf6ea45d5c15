"""Calibration error and temperature: known answers, and a temperature that mends what was spoilt by one."""

import numpy as np
import pytest

from rarn_edge.contract.spec import MAX_TEMPERATURE, MIN_TEMPERATURE
from rarn_edge.evaluation.confidence import (
    calibration_error,
    cross_fitted_scaling,
    fit_class_scaling,
    fit_temperature,
    judge_confidence,
    reliability,
)
from rarn_edge.stats.classification import softmax


def honest(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits [count, 7] whose softmax is the true distribution of the labels [count]."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (count, 7)).astype(np.float32)
    draw = rng.random((count, 1))
    labels = (softmax(logits).cumsum(axis=1) < draw).sum(axis=1).clip(0, 6)
    return logits, labels.astype(np.int64)


def test_the_error_of_a_known_case() -> None:
    """Four faces at confidence 0.9, three right; two at 0.6, none right."""
    probabilities = np.array([[0.9, 0.1]] * 4 + [[0.4, 0.6]] * 2, dtype=np.float32)
    labels = np.array([0, 0, 0, 1, 0, 0])
    bins = reliability(probabilities, labels, bins=10)
    assert calibration_error(bins) == pytest.approx((4 * abs(0.75 - 0.9) + 2 * 0.6) / 6, abs=1e-6)
    assert sum(entry.faces for entry in bins) == 6


@pytest.mark.parametrize("spoilt_by", [0.25, 1.0, 4.0])
def test_temperature_is_found(spoilt_by: float) -> None:
    logits, labels = honest(20_000, seed=0)
    assert fit_temperature(logits * np.float32(spoilt_by), labels) == pytest.approx(spoilt_by, rel=0.05)


def test_right_answers_alone_fit_the_smallest_that_a_contract_takes() -> None:
    labels = np.arange(6) % 3
    logits = np.eye(3, dtype=np.float32)[labels]
    assert fit_temperature(logits, labels) == MIN_TEMPERATURE
    assert fit_temperature(-logits, labels) == MAX_TEMPERATURE


def test_scaling_mends_overconfidence_and_reports_both() -> None:
    logits, labels = honest(8_000, seed=1)
    found = judge_confidence(logits * np.float32(3), labels, temperature=1.0)
    assert found.error > 0.1
    assert found.error_scaled < 0.03
    assert found.fitted_temperature == pytest.approx(3, rel=0.1)
    assert found.bins != found.bins_scaled


def test_the_models_own_temperature_counts() -> None:
    logits, labels = honest(8_000, seed=2)
    assert judge_confidence(logits * np.float32(3), labels, temperature=3.0).error < 0.03


def test_the_scaled_error_is_not_its_own_fit() -> None:
    """On pure noise a fitted temperature must not look useful: the halves disagree."""
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(0, 1, (40, 7)).astype(np.float32), rng.integers(0, 7, 40)
    found = judge_confidence(logits, labels, 1.0)
    own = calibration_error(reliability(softmax(logits, found.fitted_temperature), labels))
    assert found.error_scaled != pytest.approx(own, abs=1e-9)


def test_always_right_does_not_overflow() -> None:
    labels = np.arange(7).repeat(4)
    temperature = fit_temperature((np.eye(7, dtype=np.float32) * 50)[labels], labels)
    assert temperature == pytest.approx(0.01)


def test_the_scaling_of_each_class_is_found() -> None:
    logits, labels = honest(20_000, seed=4)
    factors, offsets = np.array([0.5, 1, 2, 1, 1, 1, 4]), np.array([1.0, 0, 0, -1, 0, 0, 0])
    spoilt = ((logits - offsets) / factors).astype(np.float32)
    found = fit_class_scaling(spoilt, labels)
    np.testing.assert_allclose(found.factors, factors, rtol=0.1)
    np.testing.assert_allclose(found.offsets - found.offsets.mean(), offsets - offsets.mean(), atol=0.1)
    own, others = (
        calibration_error(reliability(softmax(scaled), labels))
        for scaled in (found(spoilt), cross_fitted_scaling(spoilt, labels))
    )
    assert max(own, others) < 0.5 * judge_confidence(spoilt, labels, 1.0).error_scaled  # of one temperature


def test_answers_that_are_all_right_have_a_finite_scaling() -> None:
    labels = np.arange(6) % 3
    found = fit_class_scaling(np.eye(4, dtype=np.float32)[labels], labels)  # one class without a face
    assert np.isfinite([found.factors, found.offsets]).all()


def test_a_cross_fitted_scaling_is_not_its_own_fit() -> None:
    """On pure noise, what is fitted looks useful on its own faces and not on others."""
    rng = np.random.default_rng(5)
    logits, labels = rng.normal(0, 1, (60, 7)).astype(np.float32), rng.integers(0, 7, 60)
    own = softmax(fit_class_scaling(logits, labels)(logits))[np.arange(60), labels]
    others = softmax(cross_fitted_scaling(logits, labels))[np.arange(60), labels]
    assert np.log(own).mean() > -np.log(7) > np.log(others).mean()
