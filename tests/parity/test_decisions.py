"""Flips, their matrix, the rows of the classes, and the paired figures, by hand."""

import math

import numpy as np
import pytest

from rarn_edge.parity.decisions import Decisions, compare_decisions, mcnemar_p, paired_interval

BEFORE = np.array([[2, 1, 0], [0, 3, 2.5], [0, 1, 4], [0, 5, 1]], dtype=np.float32)  # decides 0 1 2 1
AFTER = np.array([[2, 1, 0], [0, 2, 2.5], [0, 5, 4], [0, 5, 1]], dtype=np.float32)  # decides 0 2 1 1
NAMES = ("a.png", "b.png", "c.png", "d.png")
CLASSES = ("angry", "disgust", "fear")


def decisions(labels: list[int] | None) -> Decisions:
    return compare_decisions(BEFORE, AFTER, None if labels is None else np.array(labels), NAMES, CLASSES)


def test_flips_and_their_matrix() -> None:
    found = decisions([0, 1, 1, 1])
    assert [(f.position, f.name, f.before, f.after, f.margin, f.label) for f in found.flips] == [
        (1, "b.png", 1, 2, 0.5, 1),
        (2, "c.png", 2, 1, 3.0, 1),
    ]
    assert found.matrix == ((0, 0, 0), (0, 0, 1), (0, 1, 0))
    assert [(w.name, w.max_abs_logit) for w in found.worst] == [("c.png", 4.0), ("b.png", 1.0)]


def test_rows_by_label_and_by_decision() -> None:
    rows = decisions([0, 1, 1, 1]).classes
    assert [(r.name, r.faces, r.flips, r.right_before, r.right_after) for r in rows] == [
        ("angry", 1, 0, 1, 1),
        ("disgust", 3, 2, 2, 2),
        ("fear", 0, 0, 0, 0),
    ]
    rows = decisions(None).classes
    assert [(r.name, r.faces, r.flips, r.right_before) for r in rows] == [
        ("angry", 1, 0, None),
        ("disgust", 2, 1, None),
        ("fear", 1, 1, None),
    ]


def test_paired_figures_need_labels() -> None:
    with_labels, without = decisions([0, 1, 1, 1]), decisions(None)
    assert (with_labels.mcnemar_p, with_labels.difference) == (1.0, 0.0)  # one lost, one gained
    assert (without.mcnemar_p, without.difference, without.difference_low) == (None, None, None)


@pytest.mark.parametrize(
    ("lost", "gained", "p"), [(0, 0, 1.0), (5, 0, 2 / 32), (10, 2, 2 * (1 + 12 + 66) / 4096), (3, 3, 1.0)]
)
def test_mcnemar_exact(lost: int, gained: int, p: float) -> None:
    assert mcnemar_p(lost, gained) == pytest.approx(p)
    assert mcnemar_p(gained, lost) == pytest.approx(p)


def test_mcnemar_of_many() -> None:
    assert mcnemar_p(1000, 1000) == 1.0
    assert 0 < mcnemar_p(1500, 1000) < 1e-20


def test_interval_covers_its_nominal_share() -> None:
    """Of 400 drawn comparisons with 3 % lost and 2 % gained, about 95 % of the intervals hold the true -1 point."""
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        gained, lost, _ = rng.multinomial(500, [0.02, 0.03, 0.95])
        low, high = paired_interval(int(lost), int(gained), 500)
        hits += low <= -0.01 <= high
    assert 0.92 <= hits / 400 <= 0.98


def test_interval_of_equal_answers_is_not_a_point() -> None:
    low, high = paired_interval(0, 0, 100)
    assert low == -high
    assert 0 < high < 0.03
    assert math.isclose(sum(paired_interval(3, 3, 100)), 0, abs_tol=1e-12)


def test_round_trip() -> None:
    found = decisions([0, 1, 1, 1])
    assert Decisions.from_dict(found.to_dict()) == found
