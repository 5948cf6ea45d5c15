"""Results as terminal tables: pure functions from data to a rich table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:  # for its types alone: `models` must not load the runtime
    from rarn_edge.evaluation.judge import Judgement
    from rarn_edge.models.catalog import CatalogEntry
    from rarn_edge.stats.classification import Evaluation
    from rarn_edge.stats.paired import Paired


def models_table(entries: list[CatalogEntry], shipped: dict[str, str]) -> Table:
    """The catalog; `shipped` gives the measured accuracy of models whose weights are in the package."""
    table = Table(title="Models (7 classes, gray input)")
    table.add_column("name", no_wrap=True)
    table.add_column("role", no_wrap=True)
    for column in ("input", "parameters", "multiply-adds"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("shipped weights and accuracy")
    for entry in entries:
        size = f"{entry.side_px}x{entry.side_px}"
        counts = (f"{entry.parameters / 1e6:.2f} M", f"{entry.multiply_adds / 1e6:.1f} M")
        table.add_row(entry.name, entry.role, size, *counts, shipped.get(entry.name, "-"))
    return table


def evaluation_table(evaluation: Evaluation, title: str) -> Table:
    """Precision, recall and F1 of each class, and the totals."""
    table = Table(title=title)
    table.add_column("class")
    for column in ("precision", "recall", "F1", "faces"):
        table.add_column(column, justify="right")
    for score in evaluation.classes:
        row = (f"{score.precision:.3f}", f"{score.recall:.3f}", f"{score.f1:.3f}", str(score.support))
        table.add_row(score.name, *row)
    table.add_section()
    interval = f"[{evaluation.accuracy_low:.2%}, {evaluation.accuracy_high:.2%}]"
    table.add_row("macro-F1", "", "", f"{evaluation.macro_f1:.3f}", "")
    table.add_row("accuracy", f"{evaluation.accuracy:.2%}", interval, "", str(evaluation.images))
    return table


def paired_table(paired: Paired, model: str, other: str) -> Table:
    """Two models on the same faces."""
    table = Table(title=f"{model} beside {other}", show_header=False)
    interval = f"[{paired.difference_low * 100:+.2f}, {paired.difference_high * 100:+.2f}]"
    table.add_row("accuracy difference, 95 %", f"{paired.accuracy_difference * 100:+.2f} points {interval}")
    table.add_row(f"only {model} right", f"{paired.only_other_right} of {paired.faces}")
    table.add_row(f"only {other} right", f"{paired.only_reference_right} of {paired.faces}")
    table.add_row("McNemar's exact test", f"p = {paired.p_value:.2g}")
    return table


def judgement_table(judgement: Judgement) -> Table:
    """Confidence, copies, roll and pixels in a few lines."""
    table = Table(title="Beyond accuracy", show_header=False)
    confidence, copies = judgement.confidence, judgement.without_copies
    scaled = f"{confidence.error_scaled:.2%} at T = {confidence.fitted_temperature:.2f} (cross-fitted)"
    table.add_row("calibration error", f"{confidence.error:.2%} at T = {confidence.temperature:.2f}; {scaled}")
    if copies is not None:
        interval = f"[{copies.accuracy_low:.2%}, {copies.accuracy_high:.2%}]"
        table.add_row(f"without {copies.copies} copies of training faces", f"{copies.accuracy:.2%} {interval}")
    upright = next((point.accuracy for point in judgement.roll if point.roll_deg == 0), None)
    for angle in sorted({abs(point.roll_deg) for point in judgement.roll} - {0}):
        sides = [f"{point.accuracy:.2%}" for point in judgement.roll if abs(point.roll_deg) == angle]
        worst = min(point.accuracy for point in judgement.roll if abs(point.roll_deg) == angle)
        lost = "" if upright is None else f" (worst {(worst - upright) * 100:+.2f} points)"
        table.add_row(f"accuracy at -{angle} and +{angle} degrees", " and ".join(sides) + lost)
    pixels = judgement.pixels
    trained = "unknown" if pixels.train_mean is None else f"{pixels.train_mean:.1f} and {pixels.train_std:.1f}"
    table.add_row("pixel mean and deviation", f"{pixels.mean:.1f} and {pixels.std:.1f}; of training: {trained}")
    return table
