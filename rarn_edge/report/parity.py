"""A parity report as terminal tables: pure functions from steps to what is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from rarn_edge.parity.steps import Check, Figure, Step

if TYPE_CHECKING:  # it needs onnx, which a device has not
    from rarn_edge.parity.explain import NodeRow

SHOWN_NODES = 8
COLUMNS = ("max diff", "mean diff", "SNR dB", "cosine", "top-1", "flips")


def parity_table(steps: Sequence[Step], faces: str) -> Table:
    """One line per step: what changed from one form to the next, and whether it may."""
    table = Table(title=f"Parity on {faces}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("step", overflow="fold")
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for inputs in dict.fromkeys(step.measured.inputs for step in steps):
        if inputs != "faces":
            table.add_section()
            table.add_row("[bold]adversarial inputs[/bold]")
        for step in steps:
            if step.measured.inputs == inputs:
                table.add_row(escape(step_name(step)), *step_figures(step), _verdict(step.passed))
    return table


def limits_table(steps: Sequence[Step]) -> Table:
    """One line per limit: the worst that any step of its kind measured, which is the limit that would pass."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("limit", "figure"):
        table.add_column(column, no_wrap=True)
    for column in ("would pass", "allowed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for limit, name, would, may, passed in limit_rows(steps):
        table.add_row(limit, escape(name), would, may, _verdict(passed))
    return table


def nodes_table(rows: Sequence[NodeRow], title: str) -> Table:
    """The first nodes out of tolerance, each with its likely cause."""
    table = Table(title=escape(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("node", "shape"):
        table.add_column(column, overflow="fold")
    for column in ("own SNR dB", "arrived"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("values before", "likely cause"):
        table.add_column(column, overflow="fold")
    for row in [row for row in rows if row.cause][:SHOWN_NODES]:
        figures = (f"{row.own_snr_db:.1f}", f"{row.arrived_snr_db:.1f}", f"{row.low:.3g} to {row.high:.3g}")
        shape = "x".join(str(side) for side in row.shape)
        table.add_row(escape(f"{row.node} ({row.operator}) -> {row.tensor}"), shape, *figures, escape(row.cause or ""))
    return table


def allowed(check: Check) -> str:
    """The tolerance with its direction."""
    return ("<= " if check.at_most else ">= ") + figure(check.allowed, check)


def figure(value: float, check: Check) -> str:
    """A measured or allowed value in the unit of its figure."""
    if check.figure is Figure.FINITE:
        return "yes" if value == 1.0 else "NO"
    if check.figure is Figure.AGREEMENT:
        return f"{value:.2%}"
    if check.figure is Figure.SQNR:
        return f"{value:.1f} dB"
    if check.figure is Figure.ACCURACY_LOST:
        return f"{value * 100:+.2f} points"
    return f"{value:.2g}"


def limit_rows(steps: Sequence[Step]) -> list[tuple[str, str, str, str, bool]]:
    """(faces.int8, same decision, 98.52%, >= 98.50%, passed): the worst of each limit."""
    worst: dict[tuple[str, str], tuple[float, tuple[str, str, str, str, bool]]] = {}
    for step in steps:
        place = f"{step.measured.inputs}.{step.measured.kind}"
        for check in step.checks:
            badness = check.measured if check.at_most else -check.measured
            badness = float("inf") if badness != badness else badness  # NaN is the worst there is
            key = (place, check.figure)
            if key not in worst or badness > worst[key][0]:
                row = (place, check.figure, figure(check.measured, check), allowed(check), check.passed)
                worst[key] = (badness, row)
    return [row for _, row in worst.values() if row[1] != Figure.FINITE or not row[4]]


def step_name(step: Step) -> str:
    """`torch -> rarn-s`, in few letters."""
    return f"{step.measured.before} -> {step.measured.after}".replace(".onnx", "")


def step_title(step: Step) -> str:
    """The step and what it was shown, for a page."""
    return f"{step.measured.before} → {step.measured.after}" + (
        " (adversarial)" if step.measured.inputs == "adversarial" else ""
    )


def step_figures(step: Step) -> tuple[str, ...]:
    """The measured figures in the order of the table's columns."""
    found = step.measured
    flips = str(len(found.decisions.flips))
    snr = "equal" if found.max_abs_logit == 0 else f"{found.snr_db:.1f}"
    return (
        f"{found.max_abs_logit:.1e}" if found.max_abs_logit else "0",
        f"{found.mean_abs_logit:.1e}" if found.mean_abs_logit else "0",
        snr,
        f"{found.cosine:.4f}",
        f"{found.agreement:.2%}",
        flips,
    )


def _verdict(passed: bool) -> str:
    return "[green]pass[/green]" if passed else "[bold red]FAIL[/bold red]"
