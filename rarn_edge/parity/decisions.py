"""What a step does to decisions, face by face: which flipped, from what to what, and whether that can be chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarn_edge.stats.paired import compare_decisions

WORST_FACES = 5


@dataclass(frozen=True)
class Flip:
    """One face whose decision changed; `margin` is the lead of the first class over the second before, in logits."""

    position: int
    name: str
    before: int  # class
    after: int
    margin: float
    label: int | None


@dataclass(frozen=True)
class ClassRow:
    """One class: its faces are those labelled so, or those decided so before where there are no labels."""

    name: str
    faces: int
    flips: int
    right_before: int | None
    right_after: int | None


@dataclass(frozen=True)
class WorstFace:
    """A face whose logits moved most."""

    position: int
    name: str
    max_abs_logit: float


@dataclass(frozen=True)
class Decisions:
    """Flips, their matrix [before][after], one row a class, and the paired comparison of the two accuracies."""

    flips: tuple[Flip, ...]
    matrix: tuple[tuple[int, ...], ...]
    classes: tuple[ClassRow, ...]
    worst: tuple[WorstFace, ...]
    mcnemar_p: float | None  # None: no labels
    difference: float | None  # accuracy after minus before
    difference_low: float | None  # its 95 % interval
    difference_high: float | None


def decision_changes(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    names: tuple[str, ...],
    classes: tuple[str, ...],
) -> Decisions:
    """Two forms' logits [N, K] on the same N faces, with their names and K class names."""
    first, second = before.argmax(1), after.argmax(1)
    top = np.sort(before, axis=1)
    margins = top[:, -1] - top[:, -2]  # [N]
    matrix = np.zeros((len(classes), len(classes)), dtype=np.int64)
    moved = np.flatnonzero(first != second).tolist()
    np.add.at(matrix, (first[moved], second[moved]), 1)
    flips = tuple(
        Flip(
            position=i,
            name=names[i],
            before=int(first[i]),
            after=int(second[i]),
            margin=float(margins[i]),
            label=None if labels is None else int(labels[i]),
        )
        for i in moved
    )
    rows = []
    for index, name in enumerate(classes):
        mine = (first if labels is None else labels) == index
        right = [None if labels is None else int((decided[mine] == index).sum()) for decided in (first, second)]
        rows.append(ClassRow(name, int(mine.sum()), int((first[mine] != second[mine]).sum()), *right))
    distance = np.abs(before - after).max(axis=1)  # [N]
    order = np.argsort(-distance, kind="stable")[:WORST_FACES].tolist()
    worst = tuple(WorstFace(i, names[i], float(distance[i])) for i in order if distance[i] > 0)
    p = difference = low = high = None
    if labels is not None:
        paired = compare_decisions(first == labels, second == labels)
        p, difference = paired.p_value, paired.accuracy_difference
        low, high = paired.difference_low, paired.difference_high
    matrix_rows = tuple(tuple(row) for row in matrix.tolist())
    return Decisions(flips, matrix_rows, tuple(rows), worst, p, difference, low, high)
