"""Flips, their matrix, the rows of the classes, and the paired figures, by hand."""

import json
from dataclasses import asdict

import numpy as np

from rarn_edge.decode import decode
from rarn_edge.parity.decisions import Decisions, decision_changes

BEFORE = np.array([[2, 1, 0], [0, 3, 2.5], [0, 1, 4], [0, 5, 1]], dtype=np.float32)  # decides 0 1 2 1
AFTER = np.array([[2, 1, 0], [0, 2, 2.5], [0, 5, 4], [0, 5, 1]], dtype=np.float32)  # decides 0 2 1 1
NAMES = ("a.png", "b.png", "c.png", "d.png")
CLASSES = ("angry", "disgust", "fear")


def decisions(labels: list[int] | None) -> Decisions:
    return decision_changes(BEFORE, AFTER, None if labels is None else np.array(labels), NAMES, CLASSES)


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


def test_round_trip() -> None:
    found = decisions([0, 1, 1, 1])
    assert decode(Decisions, json.loads(json.dumps(asdict(found)))) == found
