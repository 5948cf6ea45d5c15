"""Figures of merit against figures worked out by hand."""

import json

import numpy as np
import pytest

from rarn_edge.stats.classification import Evaluation, evaluate_logits, softmax, wilson_interval
from rarn_edge.stats.sqnr import sqnr_db

NAMES = ("a", "b", "c", "d")


def score(labels: list[int], predicted: list[int]) -> Evaluation:
    logits = np.eye(4, dtype=np.float32)[predicted]
    return evaluate_logits(logits, np.array(labels, dtype=np.int64), NAMES)


def test_by_hand() -> None:
    #          true: a a a b b c  (d never occurs and is predicted once)
    found = score([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 3, 1])
    assert found.confusion == ((2, 1, 0, 0), (0, 1, 0, 1), (0, 1, 0, 0), (0, 0, 0, 0))
    assert found.images == 6
    assert found.accuracy == pytest.approx(3 / 6)
    a, b, c, d = found.classes
    assert [s.name for s in found.classes] == list(NAMES)
    assert [s.support for s in found.classes] == [3, 2, 1, 0]
    assert (a.precision, a.recall, a.f1) == pytest.approx((1.0, 2 / 3, 0.8))
    assert (b.precision, b.recall, b.f1) == pytest.approx((1 / 3, 1 / 2, 0.4))
    assert (c.precision, c.recall, c.f1) == (0, 0, 0)
    assert (d.precision, d.recall, d.f1) == (0, 0, 0)
    assert found.macro_f1 == pytest.approx((0.8 + 0.4 + 0) / 3)  # d does not occur and does not count


def test_all_right() -> None:
    found = score([0, 1, 2, 2], [0, 1, 2, 2])
    assert (found.accuracy, found.macro_f1) == (1.0, 1.0)
    assert found.accuracy_low < 1.0 == found.accuracy_high


def test_accuracy_carries_its_interval() -> None:
    found = score([0] * 10, [0] * 8 + [1] * 2)
    assert (found.accuracy_low, found.accuracy_high) == wilson_interval(8, 10)
    assert json.loads(json.dumps(found.to_dict()))["accuracy"] == 0.8


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (2392, 3589, 0.6509, 0.6817)],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson_interval(successes, trials) == pytest.approx((low, high), abs=1e-4)


def test_softmax_is_stable_and_cools() -> None:
    logits = np.array([[1000.0, 1000.0], [0.0, np.log(3.0)]], dtype=np.float32)
    np.testing.assert_allclose(softmax(logits), [[0.5, 0.5], [0.25, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(softmax(logits, 0.5)[1], [0.1, 0.9], rtol=1e-6)
    assert softmax(logits).dtype == np.float32


@pytest.mark.parametrize(("before", "after"), [(1.0, np.nan), (1.0, np.inf), (np.inf, 1.0), (1e-15, 1e5)])
def test_the_least_sqnr(before: float, after: float) -> None:
    assert sqnr_db(np.array([before, 0.0]), np.array([after, 0.0])) == -200
