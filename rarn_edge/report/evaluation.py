"""An evaluation as tables: scores by class, a paired comparison, what is known beyond accuracy, calibration methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rarn_edge.report.table import UNKNOWN, Row, Table, facts, table
from rarn_edge.report.units import points
from rarn_edge.stats.sqnr import MAX_SQNR_DB

if TYPE_CHECKING:  # for its types alone: a device has no onnx
    from rarn_edge.evaluation.judge import Judgement
    from rarn_edge.evaluation.votes import VoteFigures
    from rarn_edge.pipeline.calibrate import MethodRow
    from rarn_edge.stats.classification import Evaluation
    from rarn_edge.stats.paired import Paired


def evaluation_table(evaluation: Evaluation, title: str) -> Table:
    """Precision, recall and F1 of each class, and the totals."""
    last = len(evaluation.classes) - 1
    rows = [
        Row(
            (s.name, f"{s.precision:.3f}", f"{s.recall:.3f}", f"{s.f1:.3f}", str(s.support)), ends_section=index == last
        )
        for index, s in enumerate(evaluation.classes)
    ]
    interval = f"[{evaluation.accuracy_low:.2%}, {evaluation.accuracy_high:.2%}]"
    rows.append(Row(("macro-F1", "", "", f"{evaluation.macro_f1:.3f}", "")))
    rows.append(Row(("accuracy", f"{evaluation.accuracy:.2%}", interval, "", str(evaluation.images))))
    return table(title, ("class", "precision", "recall", "F1", "faces"), rows)


def paired_table(paired: Paired, model: str, other: str) -> Table:
    """Two models on the same faces."""
    interval = f"[{points(paired.difference_low)}, {points(paired.difference_high)}]"
    rows = [
        ("accuracy difference, 95 %", f"{points(paired.accuracy_difference)} points {interval}"),
        (f"only {model} right", f"{paired.only_other_right} of {paired.faces}"),
        (f"only {other} right", f"{paired.only_reference_right} of {paired.faces}"),
        ("McNemar's exact test", f"p = {paired.p_value:.2g}"),
    ]
    return facts(f"{model} beside {other}", rows)


def judgement_table(judgement: Judgement) -> Table:
    """Confidence, copies, roll and pixels in a few lines."""
    confidence, copies = judgement.confidence, judgement.without_copies
    scaled = f"{confidence.error_scaled:.2%} at T = {confidence.fitted_temperature:.2f} (cross-fitted)"
    rows = [("calibration error", f"{confidence.error:.2%} at T = {confidence.temperature:.2f}; {scaled}")]
    if copies is not None:
        interval = f"[{copies.accuracy_low:.2%}, {copies.accuracy_high:.2%}]"
        rows.append((f"without {copies.copies} copies of training faces", f"{copies.accuracy:.2%} {interval}"))
    upright = next((point.accuracy for point in judgement.roll if point.roll_deg == 0), None)
    for angle in sorted({abs(point.roll_deg) for point in judgement.roll} - {0}):
        sides = [point.accuracy for point in judgement.roll if abs(point.roll_deg) == angle]
        lost = "" if upright is None else f" (worst {points(min(sides) - upright)} points)"
        found = " and ".join(f"{accuracy:.2%}" for accuracy in sides)
        rows.append((f"accuracy at -{angle} and +{angle} degrees", found + lost))
    pixels = judgement.pixels
    trained = "unknown" if pixels.train_mean is None else f"{pixels.train_mean:.1f} and {pixels.train_std:.1f}"
    rows.append(("pixel mean and deviation", f"{pixels.mean:.1f} and {pixels.std:.1f}; of training: {trained}"))
    return facts("Beyond accuracy", rows)


def votes_table(votes: VoteFigures) -> Table:
    """A model's probabilities beside the people who voted, and one person beside the others."""
    rows = [
        ("cross-entropy", f"{votes.cross_entropy:.3f} (least possible {votes.entropy:.3f})"),
        ("total variation", f"{votes.total_variation:.3f}"),
        ("vote share, off by", f"{votes.share_error:.1%}"),
        ("one person", f"{votes.person_accuracy:.1%} of {votes.person_votes:,} votes name the majority of the others"),
    ]
    return facts(f"Beside the votes for {votes.faces:,} faces", rows)


def methods_table(rows: list[MethodRow], faces: str) -> Table:
    """One line a calibration method."""
    columns = ("method", "accuracy", "same decision as float32", "signal to noise")
    cells = [
        (
            row.name,
            UNKNOWN if row.accuracy is None else f"{row.accuracy:.2%}",
            f"{row.agreement:.2%}",
            UNKNOWN if row.signal_db >= MAX_SQNR_DB else f"{row.signal_db:.1f} dB",
        )
        for row in rows
    ]
    return table(f"Calibration methods on {faces}", columns, cells)
