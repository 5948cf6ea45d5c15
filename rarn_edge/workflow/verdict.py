"""Whether a quantized file is worth shipping, in one line: speed from interleaved runs, accuracy from the same faces.

Either alone misleads: an INT8 file can be slower than the float32 one it came from, and a half point of accuracy can be chance.
"""

import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rarn_edge.bench.runner import time_files
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.graph_scan import scan_graph
from rarn_edge.errors import InputError
from rarn_edge.evaluation.sanity import doubts, explained_agreement, unit_mean
from rarn_edge.parity.outputs import check_same_model, file_form
from rarn_edge.parity.tolerances import TOLERANCES
from rarn_edge.runtime.peaks import LITTLE_GAIN, measure_products
from rarn_edge.stats.classification import wilson_interval
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.paired import Paired, compare_decisions
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, warn
from rarn_edge.workflow.inputs import ComparisonFaces, comparison_faces, tell_origin

Decision = Literal["ship", "keep", "undecided"]

LEAST_ROUNDS = 20
ALLOWED_DROP = 0.003  # of all faces: what the point estimate may lose
MIN_AGREEMENT = TOLERANCES["faces"]["int8"].min_agreement or 0.985
BROKEN_AGREEMENT = 0.9  # where labels tell the accuracy: two equally good files that differ more are not one model


@dataclass(frozen=True)
class Verdict:
    """The candidate beside the float32 file; `speed` is reference time over candidate time, above 1 is faster."""

    decision: Decision
    candidate: str  # its precision
    speed: Interval
    accuracy: Paired | None  # None: no labelled faces
    agreement: float
    advice: str
    warnings: tuple[str, ...] = ()  # what to doubt about the times

    def line(self) -> str:
        """`int8 is 1.84x [1.80, 1.88] as fast, accuracy -0.08 [-0.31, +0.15] points: ship it`."""
        speed = f"{self.candidate} is {self.speed.value:.2f}x [{self.speed.low:.2f}, {self.speed.high:.2f}] as fast"
        if self.accuracy is None:
            quality = f"top-1 agreement {self.agreement:.2%} (no labels)"
        else:
            difference, low, high = (
                100 * value
                for value in (
                    self.accuracy.accuracy_difference,
                    self.accuracy.difference_low,
                    self.accuracy.difference_high,
                )
            )
            quality = (
                f"accuracy {difference:+.2f} [{low:+.2f}, {high:+.2f}] points, top-1 agreement {self.agreement:.2%}"
            )
        return f"{speed}, {quality}: {self.advice}"

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "line": self.line()}


@dataclass(frozen=True)
class VerdictResult:
    """The verdict, on which model and which faces, and with how many threads."""

    verdict: Verdict
    model: str
    faces: str
    threads: int

    def to_dict(self) -> dict[str, Any]:
        return {"faces": self.faces, "threads": self.threads, **self.verdict.to_dict()}


@dataclass(frozen=True)
class Evidence:
    """What was measured of a candidate beside its float32 file, on the same faces.

    latency_ratio: Candidate over reference.
    accuracy: Paired, candidate minus reference; None without labels.
    agreement: Share of the faces on which both decide alike.
    faces: How many; None counts the agreement as exact.
    explained: The agreement that two unrelated models of their accuracies would have.
    finite: The candidate's answers are finite numbers.
    doubt: Why the float32 answers cannot be right.
    narrow_channels: Output channels of the median convolution. This and `integer_gain` (this CPU's 8-bit multiply-adds a
        second over its float32 ones) explain a slower file.
    """

    latency_ratio: Interval
    accuracy: Paired | None
    agreement: float
    faces: int | None = None
    explained: float = 0.0
    finite: bool = True
    doubt: str | None = None
    narrow_channels: int | None = None
    integer_gain: float | None = None

    @property
    def decides_otherwise(self) -> bool:
        """Decisions differ more than chance and rounding explain: without labels below the agreement that parity asks of INT8,
        with labels far below it, or below what unrelated models would have."""
        least = MIN_AGREEMENT if self.accuracy is None else max(BROKEN_AGREEMENT, self.explained)
        if self.faces is None:
            return self.agreement < least
        return wilson_interval(round(self.agreement * self.faces), self.faces)[1] < least

    @property
    def why_slower(self) -> str:
        if self.integer_gain is not None and self.integer_gain < LITTLE_GAIN:
            return f" (it multiplies bytes only {self.integer_gain:.2f}x as fast as floats)"
        if self.narrow_channels is None:
            return ""
        return f" (its convolutions have {self.narrow_channels} channels in the median)"


def judge(candidate: str, found: Evidence, allowed_drop: float = ALLOWED_DROP) -> Verdict:
    """Decide on a candidate of that precision.

    Slower: keep float32. More than `allowed_drop` lost: keep it too, and say how to get it back. As fast within the interval:
    undecided. Answers that are not finite, or other decisions, are kept from shipping whatever the speed; so is a model whose
    float32 answers cannot be right.
    """
    ratio = found.latency_ratio
    speed = Interval(1 / ratio.value, 1 / ratio.high, 1 / ratio.low)
    lost = 0.0 if found.accuracy is None else -found.accuracy.accuracy_difference
    decision: Decision = "keep"
    if not found.finite:
        advice = f"keep float32, answers of {candidate} are not finite numbers: the file is broken"
    elif found.doubt is not None:
        advice = f"do not ship either file yet: {found.doubt}"
    elif found.decides_otherwise:
        share = f"{1 - found.agreement:.2%}"
        advice = f"keep float32, it decides otherwise on {share} of the faces; see rarn-edge parity --explain"
    elif speed.high < 1:
        advice = f"keep float32, {candidate} is slower on this CPU{found.why_slower}"
    elif lost > allowed_drop + 1e-9:
        points = f"{100 * allowed_drop:g}"
        advice = f"it loses more than {points} points; try --max-drop {points} or --compare-methods"
    elif speed.low <= 1:
        decision = "undecided"
        advice = "no speed-up is proven; ship it for its size, or measure on an idle machine"
    else:
        decision = "ship"
        confirmed = found.accuracy is not None
        advice = "ship it" if confirmed else "ship it, once labelled faces (--data) confirm the accuracy"
    return Verdict(decision, candidate, speed, found.accuracy, found.agreement, advice)


def verdict(
    reference: AnyPath,
    candidate: AnyPath,
    *,
    data: AnyPath | None = None,
    split: str | None = None,
    votes: AnyPath | None = None,
    threads: int | None = None,
    rounds: int = 200,
    on_notice: OnNotice = warn,
) -> VerdictResult:
    """Whether a quantized file is worth shipping on this machine: measured in turns with the file it came from.

    Args:
        reference: The float32 file.
        candidate: The quantized one.
        data: Labelled faces for the accuracy (default: synthetic ones, which tell agreement alone).
        split: Of `data` (default: the held-out one).
        votes: People's votes for `data` (FER+): their majority is then the label.
        threads: Of both (default: 1).
        rounds: Timed calls of each, batch 1.
        on_notice: Told what a caller should know.

    Raises:
        InputError: files of different models or in the other order, one that does not run, or unusable faces.

    Example:
        >>> import rarn_edge
        >>> rarn_edge.verdict("rarn-n.onnx", "rarn-n.int8.onnx").verdict.decision  # doctest: +SKIP
        'ship'
    """
    if rounds < LEAST_ROUNDS:
        raise InputError(f"rounds is at least {LEAST_ROUNDS}, found {rounds}: fewer tell nothing of the doubt")
    before, after = Artifact.load(Path(reference)), Artifact.load(Path(candidate))
    for artifact in (before, after):
        tell_origin(artifact, on_notice)
    check_same_model([before, after])
    if before.contract.precision.startswith("int8"):
        raise InputError(
            f"{before.path}: is {before.contract.precision}, and the first file is the float32 one:"
            f" rarn-edge verdict FLOAT.onnx {before.path.name}"
        )
    shown = comparison_faces(data, split, before.spec, votes=votes, on_notice=on_notice)
    threads = 1 if threads is None else threads
    return VerdictResult(measure(before, after, shown, threads, rounds), after.spec.name, shown.description, threads)


def measure(
    reference: Artifact,
    candidate: Artifact,
    shown: ComparisonFaces,
    threads: int = 1,
    rounds: int = 200,
    launches: int = 5,
) -> Verdict:
    """Run both files on the same faces, and then in turns with batch 1, on the CPU, in processes launched so often.

    Raises:
        InputError: one of them does not run, or answers of the float32 file are no numbers.
    """
    faces, labels, _ = shown
    spec = reference.spec
    before, after = (file_form(artifact, faces, threads=threads).logits for artifact in (reference, candidate))
    if not np.isfinite(before).all():
        raise InputError(f"{reference.path}: its answers are not finite numbers, so there is nothing to compare with")
    decisions = before.argmax(1), after.argmax(1)
    paired = None if labels is None else compare_decisions(decisions[0] == labels, decisions[1] == labels)
    doubted: tuple[str, ...] = ()
    explained = 0.0
    if labels is not None:
        doubted = doubts(before, labels, spec)
        accuracies = tuple(float((decided == labels).mean()) for decided in decisions)
        explained = explained_agreement((accuracies[0], accuracies[1]), len(spec.classes))
    elif (text := unit_mean(spec.preprocess)) is not None:
        doubted = (text,)
    times = time_files((reference.path, candidate.path), threads, rounds, launches)
    _, (_, ratio) = times.files
    slower = ratio.low > 1  # only then is there something to explain
    in_int8 = candidate.contract.precision == "int8"
    evidence = Evidence(
        ratio,
        paired,
        float((decisions[0] == decisions[1]).mean()),
        faces=len(faces),
        explained=explained,
        finite=bool(np.isfinite(after).all()),
        doubt=next(iter(doubted), None),
        narrow_channels=median_channels(reference.path) if slower else None,
        integer_gain=measure_products(threads).integer_gain if slower and in_int8 else None,
    )
    return replace(judge(candidate.contract.precision, evidence), warnings=times.warnings)


def median_channels(float32: Path) -> int | None:
    """Output channels of a file's median convolution; None: it has none."""
    scan = scan_graph(float32)
    kernels = [scan.constants.get(node.inputs[1]) for node in scan.nodes if node.operator == "Conv"]
    widths = [kernel.shape[0] for kernel in kernels if kernel is not None and kernel.shape]  # [out, in, h, w] each
    return int(statistics.median(widths)) if widths else None
