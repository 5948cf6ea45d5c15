"""The parity ledger as terminal tables: pure functions from hops to what is printed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from rarn_edge.parity.hops import Hop
from rarn_edge.report.tables import allowed, figure

if TYPE_CHECKING:  # it needs onnx, which a device has not
    from rarn_edge.parity.explain import NodeRow

SHOWN_NODES = 8
COLUMNS = ("max diff", "mean diff", "SNR dB", "cosine", "top-1", "flips")


def ledger_table(hops: Sequence[Hop], faces: str) -> Table:
    """One line per hop: what changed from one form to the next, and whether it may."""
    table = Table(title=f"Parity on {faces}", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("hop", overflow="fold")
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for inputs in dict.fromkeys(hop.measured.inputs for hop in hops):
        if inputs != "faces":
            table.add_section()
            table.add_row("[bold]adversarial inputs[/bold]")
        for hop in hops:
            if hop.measured.inputs == inputs:
                table.add_row(escape(hop_name(hop)), *hop_figures(hop), _verdict(hop.passed))
    return table


def limits_table(hops: Sequence[Hop]) -> Table:
    """One line per limit: the worst that any hop of its kind measured, which is the limit that would pass."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("limit", "figure"):
        table.add_column(column, no_wrap=True)
    for column in ("would pass", "allowed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for limit, name, would, may, passed in limit_rows(hops):
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


def limit_rows(hops: Sequence[Hop]) -> list[tuple[str, str, str, str, bool]]:
    """(faces.int8, same decision, 98.52%, >= 98.50%, passed): the worst of each limit."""
    worst: dict[tuple[str, str], tuple[float, tuple[str, str, str, str, bool]]] = {}
    for hop in hops:
        place = f"{hop.measured.inputs}.{hop.measured.kind}"
        for check in hop.checks:
            badness = check.measured if check.at_most else -check.measured
            badness = float("inf") if badness != badness else badness  # NaN is the worst there is
            key = (place, check.figure)
            if key not in worst or badness > worst[key][0]:
                row = (place, check.figure, figure(check.measured, check), allowed(check), check.passed)
                worst[key] = (badness, row)
    return [row for _, row in worst.values() if row[1] != "finite answers" or not row[4]]


def hop_name(hop: Hop) -> str:
    """`torch -> rarn-s`, in few letters."""
    return f"{hop.before} -> {hop.after}".replace(".onnx", "")


def hop_title(hop: Hop) -> str:
    """The hop and what it was shown, for a page."""
    return f"{hop.before} → {hop.after}" + (" (adversarial)" if hop.measured.inputs == "adversarial" else "")


def hop_figures(hop: Hop) -> tuple[str, ...]:
    """The measured figures in the order of the table's columns."""
    found = hop.measured
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
