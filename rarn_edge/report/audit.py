"""An audit as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rarn_edge.report.table import Table, facts
from rarn_edge.stats.sqnr import MAX_SQNR_DB

if TYPE_CHECKING:
    from rarn_edge.audit.run import Audit


def audit_table(audit: Audit) -> Table:
    """What runs where, why not in INT8, and what saturation does."""
    share = "no multiply-adds" if audit.int8_share is None else f"{audit.int8_share:.1%} of all multiply-adds"
    kept = ", ".join(f"{count} {operator}" for operator, count in audit.conversions.items()) or "none"
    rows = [
        (
            "file",
            f"{audit.file}: {audit.made_elsewhere or audit.precision}"
            + (f" for {audit.target}" if audit.target else ""),
        ),
        ("host", audit.host),
        ("INT8 convolutions", f"{audit.int8_convolutions} of {audit.convolutions}; in INT8: {share}"),
        ("conversions left", f"{kept} ({audit.conversion_time_share:.1%} of the time)"),
        ("float islands", str(len(audit.islands) or ("none" if audit.quantized else "nothing is quantized"))),
    ]
    for island in audit.islands:
        operators = list(dict.fromkeys(island.operators))
        shown = ", ".join(operators[:5]) + (", ..." if len(operators) > 5 else "")
        where = f"{len(island.nodes)} nodes ({shown}) at {island.nodes[0]}"
        rows.append(("", f"{where}: {island.reason} ({island.time_share:.1%} of the time)"))
    check = audit.saturation
    unsaturated = "" if check.unsaturated_db is None else f" {_db(check.unsaturated_db)} unsaturated,"
    against = f"{_db(check.fused_db)} as it runs,{unsaturated} {check.simulation_flips} decide otherwise"
    flips = (
        "not known, for ONNX Runtime cannot open this file with 32-bit sums"
        if check.saturation_flips is None
        else f"changes {check.saturation_flips} of {check.images} decisions"
    )
    if audit.int8_share:
        rows.append(("saturation", f"{flips}; against the float simulation: {against}"))
    return facts("", rows)


def _db(value: float) -> str:
    return "equal" if value >= MAX_SQNR_DB else f"{value:.1f} dB"
