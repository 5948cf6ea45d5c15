"""Results as terminal tables: pure functions from data to a rich table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:  # for its types alone: `models` must not load the runtime
    from rarn_edge.metrics import Evaluation
    from rarn_edge.models.catalog import CatalogEntry
    from rarn_edge.parity.hops import Check, Hop


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


def parity_table(hops: list[Hop], faces: str) -> Table:
    """One line per check: which hop, what was measured, what is allowed."""
    table = Table(title=f"Parity on {faces}")
    for column in ("hop", "figure"):
        table.add_column(column)
    for column in ("measured", "allowed"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for hop in hops:
        for index, check in enumerate(hop.checks):
            verdict = "[green]pass[/green]" if check.passed else "[bold red]FAIL[/bold red]"
            name = f"{hop.before} -> {hop.after}" if index == 0 else ""
            table.add_row(name, check.figure, figure(check.measured, check), allowed(check), verdict)
        table.add_section()
    return table


def allowed(check: Check) -> str:
    """The tolerance with its direction."""
    return ("<= " if check.at_most else ">= ") + figure(check.allowed, check)


def figure(value: float, check: Check) -> str:
    """A measured or allowed value in the unit of its figure."""
    if check.figure == "finite answers":
        return "yes" if value == 1.0 else "NO"
    if check.figure == "same decision":
        return f"{value:.2%}"
    if check.figure == "accuracy lost":
        return f"{value * 100:+.2f} points"
    return f"{value:.2g}"


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
