"""Compare one form of a model with the next on the same inputs: measure, then judge.

Run first, measure, judge later: a `Form` holds the answers, a `Measurement` the figures, and judging them by other
tolerances needs neither the model nor the faces.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Precision
from rarn_edge.errors import InputError
from rarn_edge.parity.decisions import Decisions, compare_decisions
from rarn_edge.parity.tolerances import TOLERANCES, Inputs, Kind, Tolerance, Tolerances

MAX_SNR_DB = 200.0  # of equal answers; float32 itself ends near 150


@dataclass(frozen=True)
class Form:
    """One form of a model and its answers: logits [N, K] on the common inputs."""

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
class Measurement:
    """Every figure of one hop; NaN where an answer is no number."""

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
class Hop:
    """A measurement and its judgement."""

    measured: Measurement
    checks: tuple[Check, ...]

    @property
    def before(self) -> str:
        return self.measured.before

    @property
    def after(self) -> str:
        return self.measured.after

    @property
    def images(self) -> int:
        return self.measured.images

    @property
    def max_abs_logit(self) -> float:
        return self.measured.max_abs_logit

    @property
    def accuracy_before(self) -> float | None:
        return self.measured.accuracy_before

    @property
    def accuracy_after(self) -> float | None:
        return self.measured.accuracy_after

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
    """What a hop between two precisions is, when nothing more is known."""
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
    """Every figure of the hop; `labels` [N] are given where accuracy means something.

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
        snr_db=signal_to_noise_db(a, b) if finite else math.nan,
        cosine=_lowest_cosine(a, b) if finite else math.nan,
        agreement=float((first == second).mean()),
        accuracy_before=None if right_before is None else right_before / len(a),
        accuracy_after=None if right_after is None else right_after / len(a),
        lost=0 if right_before is None or right_after is None else right_before - right_after,
        decisions=compare_decisions(
            np.nan_to_num(a),
            np.nan_to_num(b),
            labels,
            names or tuple(f"#{i}" for i in range(len(a))),
            classes or tuple(f"class {i}" for i in range(a.shape[1])),
        ),
    )


def judge(measured: Measurement, tolerance: Tolerance) -> Hop:
    """Hold a measurement against its limits.

    Shares are judged as counts rounded up, so that the limit means the same for 40 faces as for 4,000: a limit of 98.5 %
    allows one flip in 40.
    """
    checks = [Check("finite answers", float(measured.finite), 1.0, at_most=False)]
    if tolerance.max_abs_logit is not None:
        checks.append(Check("max |logit difference|", measured.max_abs_logit, tolerance.max_abs_logit, at_most=True))
    if tolerance.min_snr_db is not None:
        checks.append(Check("signal to noise", measured.snr_db, tolerance.min_snr_db, at_most=False))
    if tolerance.min_agreement is not None:
        flips = _count(1 - tolerance.min_agreement, measured.images)
        checks.append(Check("same decision", measured.agreement, 1 - flips / measured.images, at_most=False))
    if tolerance.max_accuracy_drop is not None and measured.accuracy_before is not None:
        lost = _count(tolerance.max_accuracy_drop, measured.images)
        # of counts: the difference of two shares would be off by a rounding
        drop = measured.lost / measured.images
        checks.append(Check("accuracy lost", drop, lost / measured.images, at_most=True))
    return Hop(measured, tuple(checks))


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
) -> Hop:
    """Measure and judge one hop; see `measure`."""
    measured = measure(before, after, labels, kind=kind, inputs=inputs, names=names, classes=classes)
    return judge(measured, tolerances[measured.inputs][measured.kind])


def would_pass(hop: Hop) -> Tolerance:
    """The tightest limits that this hop meets, in two figures."""
    found = hop.measured
    return Tolerance(
        max_abs_logit=_round_up(found.max_abs_logit),
        min_snr_db=math.floor(found.snr_db) if math.isfinite(found.snr_db) else None,
        min_agreement=math.floor(found.agreement * 1e4) / 1e4,
        max_accuracy_drop=None if found.accuracy_before is None else _round_up(max(0, found.lost) / found.images),
    )


def measurement_from_dict(data: Mapping[str, Any], source: str) -> Measurement:
    """Read the figures that `Hop.to_dict` wrote, whatever their judgement was then; `source` names the file.

    Raises:
        InputError: not such a dictionary.
    """
    try:
        known = {field.name for field in fields(Measurement)}
        values = {name: value for name, value in data.items() if name in known}
        for name in ("max_abs_logit", "mean_abs_logit", "snr_db", "cosine"):  # JSON has no NaN
            values[name] = math.nan if values[name] is None else float(values[name])
        values["decisions"] = Decisions.from_dict(values["decisions"])
        measured = Measurement(**values)
        if measured.kind not in get_args(Kind) or measured.inputs not in get_args(Inputs) or measured.images < 1:
            raise ValueError(f"kind {measured.kind!r} on {measured.images} {measured.inputs!r}")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{source}: not what `rarn-edge parity --json` prints ({error!r})") from error
    return measured


def signal_to_noise_db(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Power of `before` over that of the difference; `MAX_SNR_DB` at most."""
    signal = float(np.square(before, dtype=np.float64).sum())
    noise = float(np.square(before.astype(np.float64) - after).sum())
    if noise == 0:
        return MAX_SNR_DB
    return min(MAX_SNR_DB, 10 * math.log10(signal / noise)) if signal > 0 else -MAX_SNR_DB


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
