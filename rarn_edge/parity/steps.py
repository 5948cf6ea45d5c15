"""Compare one form of a model with the next on the same inputs: measure, then judge.

Run first, measure, judge later: a `Form` holds the answers, a `Measurement` the figures, and judging them by other
tolerances needs neither the model nor the faces.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Precision
from rarn_edge.decode import decode
from rarn_edge.errors import InputError
from rarn_edge.parity.decisions import Decisions, decision_changes
from rarn_edge.parity.inputs import Shown
from rarn_edge.parity.tolerances import TOLERANCES, Inputs, Kind, Tolerance, Tolerances
from rarn_edge.stats.sqnr import sqnr_db


class Execution(Enum):
    """How the answers of a form came about."""

    TORCH = "torch"
    WRITTEN = "written"  # the graph of a file node by node, without fusion: INT8 computed in float
    RUN = "run"  # as the provider runs it, fused and optimised
    VARIED = "varied"  # the same at another batch size or thread count
    RECORDED = "recorded"  # from a parity bundle


@dataclass(frozen=True)
class Origin:
    """Who answered: which file (None: torch, or a bundle), and how it was run."""

    execution: Execution
    file: Path | None = None


class Figure(StrEnum):
    """What a check is about."""

    FINITE = "finite answers"
    MAX_ABS_LOGIT = "max |logit difference|"
    SQNR = "SQNR"
    AGREEMENT = "top-1 agreement"
    ACCURACY_LOST = "accuracy lost"


@dataclass(frozen=True)
class Form:
    """One form of a model and its answers: logits [N, K] on the common inputs."""

    name: str
    precision: Precision
    logits: NDArray[np.float32]
    origin: Origin | None = None


@dataclass(frozen=True)
class Check:
    """One judged figure of a step."""

    figure: Figure
    measured: float
    allowed: float
    at_most: bool  # else at least

    @property
    def passed(self) -> bool:
        """False for NaN, whichever way the comparison goes."""
        return self.measured <= self.allowed if self.at_most else self.measured >= self.allowed


@dataclass(frozen=True)
class Measurement:
    """Every figure of one step; NaN where an answer is no number."""

    before: str
    after: str
    kind: Kind
    inputs: Inputs
    images: int
    finite: bool
    max_abs_logit: float
    mean_abs_logit: float
    snr_db: float  # power of the answers before over that of the difference
    cosine: float  # the lowest of all inputs
    agreement: float
    accuracy_before: float | None  # None: the faces have no labels that mean anything
    accuracy_after: float | None
    lost: int  # right decisions before minus right decisions after; 0 without labels
    decisions: Decisions


@dataclass(frozen=True)
class Step:
    """A measurement and its judgement, from one form to the next; `before` and `after` are None for one read from a file."""

    measured: Measurement
    checks: tuple[Check, ...]
    before: Origin | None = None
    after: Origin | None = None

    @property
    def flipped(self) -> tuple[int, ...]:
        """Positions of the faces whose decision changed."""
        return tuple(flip.position for flip in self.measured.decisions.flips)

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        checks = [{**asdict(check), "passed": check.passed} for check in self.checks]
        return {**asdict(self.measured), "flipped": list(self.flipped), "checks": checks, "passed": self.passed}


def kind_of(before: Form, after: Form) -> Kind:
    """What a step between two precisions is, when nothing more is known."""
    if after.precision == "float32" and before.precision == "float32":
        return "float"
    return "int8" if before.precision != after.precision else "fuse"


def measure(
    before: Form,
    after: Form,
    labels: NDArray[np.int64] | None = None,
    *,
    kind: Kind | None = None,
    inputs: Inputs = "faces",
    names: tuple[str, ...] | None = None,
    classes: tuple[str, ...] | None = None,
) -> Measurement:
    """Every figure of the step; `labels` [N] are given where accuracy means something.

    Raises:
        InputError: the forms did not answer the same inputs or have other classes.
    """
    a, b = before.logits, after.logits
    if a.shape != b.shape or len(a) == 0:
        raise InputError(
            f"'{before.name}' answered {list(a.shape)} and '{after.name}' {list(b.shape)};"
            " a comparison needs the same faces and classes"
        )
    first, second = a.argmax(1), b.argmax(1)
    right_before = None if labels is None else int((first == labels).sum())
    right_after = None if labels is None else int((second == labels).sum())
    finite = bool(np.isfinite(a).all() and np.isfinite(b).all())
    difference = np.abs(a - b) if finite else np.full(1, np.nan)
    return Measurement(
        before=before.name,
        after=after.name,
        kind=kind or kind_of(before, after),
        inputs=inputs,
        images=len(a),
        finite=finite,
        max_abs_logit=float(difference.max()),
        mean_abs_logit=float(difference.mean()),
        snr_db=sqnr_db(a, b) if finite else math.nan,
        cosine=_lowest_cosine(a, b) if finite else math.nan,
        agreement=float((first == second).mean()),
        accuracy_before=None if right_before is None else right_before / len(a),
        accuracy_after=None if right_after is None else right_after / len(a),
        lost=0 if right_before is None or right_after is None else right_before - right_after,
        decisions=decision_changes(
            np.nan_to_num(a),
            np.nan_to_num(b),
            labels,
            names or tuple(f"#{i}" for i in range(len(a))),
            classes or tuple(f"class {i}" for i in range(a.shape[1])),
        ),
    )


def judge(
    measured: Measurement, tolerance: Tolerance, before: Origin | None = None, after: Origin | None = None
) -> Step:
    """Hold a measurement against its limits.

    Shares are judged as counts rounded up, so that the limit means the same for 40 faces as for 4,000: a limit of 98.5 %
    allows one flip in 40.
    """
    checks = [Check(Figure.FINITE, float(measured.finite), 1.0, at_most=False)]
    if tolerance.max_abs_logit is not None:
        checks.append(Check(Figure.MAX_ABS_LOGIT, measured.max_abs_logit, tolerance.max_abs_logit, at_most=True))
    if tolerance.min_snr_db is not None:
        checks.append(Check(Figure.SQNR, measured.snr_db, tolerance.min_snr_db, at_most=False))
    if tolerance.min_agreement is not None:
        flips = _count(1 - tolerance.min_agreement, measured.images)
        # divided as `agreement` is: 1 - flips / images can be above it by a rounding
        allowed = (measured.images - flips) / measured.images
        checks.append(Check(Figure.AGREEMENT, measured.agreement, allowed, at_most=False))
    if tolerance.max_accuracy_drop is not None and measured.accuracy_before is not None:
        lost = _count(tolerance.max_accuracy_drop, measured.images)
        # of counts: the difference of two shares would be off by a rounding
        drop = measured.lost / measured.images
        checks.append(Check(Figure.ACCURACY_LOST, drop, lost / measured.images, at_most=True))
    return Step(measured, tuple(checks), before, after)


def compare(
    before: Form,
    after: Form,
    labels: NDArray[np.int64] | None = None,
    *,
    kind: Kind | None = None,
    inputs: Inputs = "faces",
    names: tuple[str, ...] | None = None,
    classes: tuple[str, ...] | None = None,
    tolerances: Tolerances = TOLERANCES,
) -> Step:
    """Measure and judge one step; see `measure`."""
    measured = measure(before, after, labels, kind=kind, inputs=inputs, names=names, classes=classes)
    return judge(measured, tolerances[measured.inputs][measured.kind], before.origin, after.origin)


def compare_shown(
    before: Form, after: Form, kind: Kind, shown: Shown, classes: tuple[str, ...], tolerances: Tolerances
) -> list[Step]:
    """The step on faces and, where both forms answered them, on the adversarial images.

    `after` may have answered the first faces alone: the step is then of those.
    """
    found = []
    for inputs in shown.parts:
        if inputs == "adversarial" and len(after.logits) < len(shown.images):
            continue
        part = slice(shown.part(inputs).start, min(shown.part(inputs).stop, len(after.logits)))
        first, second = (Form(f.name, f.precision, f.logits[part], f.origin) for f in (before, after))
        labels = None if inputs == "adversarial" or shown.labels is None else shown.labels[part]
        found.append(
            compare(
                first, second, labels,
                kind=kind, inputs=inputs, names=shown.names[part], classes=classes, tolerances=tolerances,
            )
        )  # fmt: skip
    return found


def would_pass(step: Step) -> Tolerance:
    """The tightest limits that this step meets, in two figures."""
    found = step.measured
    return Tolerance(
        max_abs_logit=_round_up(found.max_abs_logit),
        min_snr_db=math.floor(found.snr_db) if math.isfinite(found.snr_db) else None,
        min_agreement=math.floor(found.agreement * 1e4) / 1e4,
        max_accuracy_drop=None if found.accuracy_before is None else _round_up(max(0, found.lost) / found.images),
    )


def measurement_from_dict(data: object, source: str) -> Measurement:
    """Read the figures that `Step.to_dict` wrote, whatever their judgement was then; `source` names the file.

    Raises:
        InputError: not such a dictionary.
    """
    try:
        if not isinstance(data, Mapping):
            raise InputError("a step is an object")
        known = {field.name for field in fields(Measurement)}
        values = {name: value for name, value in data.items() if name in known}
        for name in ("max_abs_logit", "mean_abs_logit", "snr_db", "cosine"):  # JSON has no NaN
            if name in values and values[name] is None:
                values[name] = math.nan
        measured = decode(Measurement, values)
        if measured.images < 1:
            raise InputError(f"images: {measured.images}")
        _check_places(measured.decisions)
    except InputError as error:
        raise InputError(f"{source}: not what `rarn-edge parity --json` prints ({error})") from error
    return measured


def _check_places(decisions: Decisions) -> None:
    """Raises InputError if a flip names a class that there is no row of, or the matrix has another size."""
    count = len(decisions.classes)
    named = [place for flip in decisions.flips for place in (flip.before, flip.after, flip.label) if place is not None]
    sides = {len(decisions.matrix), *map(len, decisions.matrix)}
    if sides != {count} or not all(0 <= place < count for place in named):
        raise InputError(f"decisions: their flips and matrix are of other classes than the {count} listed")


def _lowest_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    a64, b64 = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a64, axis=1) * np.linalg.norm(b64, axis=1)
    cosines = np.divide((a64 * b64).sum(1), norms, out=np.ones(len(a)), where=norms > 0)
    return float(min(1.0, cosines.min()))


def _count(share: float, images: int) -> int:
    """`share` of `images`, rounded up but for a rounding of the product itself."""
    return math.ceil(round(share * images, 6))


def _round_up(value: float) -> float | None:
    """To two significant figures, never below the value; None for no number."""
    if not math.isfinite(value):
        return None
    if value == 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step - 1e-9) * step:.2g}")
