"""Compare one form of a model with the next on the same faces.

Run first, compare later: a `Form` holds the logits, so that judging again with other tolerances needs no model.
"""

from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.artifact import Precision
from rarn_edge.errors import InputError
from rarn_edge.parity.tolerances import FLOAT, INT8, FloatTolerance, Int8Tolerance


@dataclass(frozen=True)
class Form:
    """One form of a model and its answers: logits [N, K] on the common faces."""

    name: str
    precision: Precision
    logits: NDArray[np.float32]


@dataclass(frozen=True)
class Check:
    """One judged figure of a hop."""

    figure: str
    measured: float
    allowed: float
    at_most: bool  # else at least

    @property
    def passed(self) -> bool:
        """False for NaN, whichever way the comparison goes."""
        return self.measured <= self.allowed if self.at_most else self.measured >= self.allowed


@dataclass(frozen=True)
class Hop:
    """The comparison of two forms: judged checks, and figures that inform."""

    before: str
    after: str
    images: int
    checks: tuple[Check, ...]
    flipped: tuple[int, ...]  # positions of the faces whose decision changed
    max_abs_logit: float
    accuracy_before: float | None  # None: the faces have no labels that mean anything
    accuracy_after: float | None

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        return {**asdict(self), "checks": checks, "passed": self.passed}


def compare(
    before: Form,
    after: Form,
    labels: NDArray[np.int64] | None,
    float_tolerance: FloatTolerance = FLOAT,
    int8_tolerance: Int8Tolerance = INT8,
) -> Hop:
    """Judge one hop; `labels` [N] are given where accuracy means something.

    Raises:
        InputError: the forms did not answer the same faces or have other classes.
    """
    if before.logits.shape != after.logits.shape or len(before.logits) == 0:
        raise InputError(
            f"'{before.name}' answered {list(before.logits.shape)} and '{after.name}' {list(after.logits.shape)};"
            " a comparison needs the same faces and classes"
        )
    decisions_before, decisions_after = before.logits.argmax(1), after.logits.argmax(1)
    flipped = np.flatnonzero(decisions_before != decisions_after)
    agreement = 1 - len(flipped) / len(decisions_before)
    worst = float(np.abs(before.logits - after.logits).max())
    accuracy_before = None if labels is None else float((decisions_before == labels).mean())
    accuracy_after = None if labels is None else float((decisions_after == labels).mean())
    if before.precision == after.precision == "float32":
        checks = [
            Check("max |logit difference|", worst, float_tolerance.max_abs_logit, at_most=True),
            Check("same decision", agreement, float_tolerance.min_agreement, at_most=False),
        ]
    else:
        checks = [Check("same decision", agreement, int8_tolerance.min_agreement, at_most=False)]
        if accuracy_before is not None and accuracy_after is not None:
            lost = int((decisions_before == labels).sum()) - int((decisions_after == labels).sum())
            drop = lost / len(decisions_before)  # of counts: the difference of two shares would be off by a rounding
            checks.append(Check("accuracy lost", drop, int8_tolerance.max_accuracy_drop, at_most=True))
    finite = bool(np.isfinite(before.logits).all() and np.isfinite(after.logits).all())
    checks.insert(0, Check("finite answers", float(finite), 1.0, at_most=False))
    return Hop(
        before.name,
        after.name,
        len(decisions_before),
        tuple(checks),
        tuple(flipped.tolist()),
        worst,
        accuracy_before,
        accuracy_after,
    )


def compare_chain(forms: list[Form], labels: NDArray[np.int64] | None) -> list[Hop]:
    """Each form against the one before it."""
    return [compare(before, after, labels) for before, after in pairwise(forms)]
