"""An audit as terminal text: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rarn_edge.stats.sqnr import MAX_SQNR_DB

if TYPE_CHECKING:
    from rarn_edge.audit.run import Audit


def audit_lines(audit: Audit) -> list[str]:
    """What runs where, why not in INT8, and what saturation does."""
    share = "none" if audit.int8_share is None else f"{audit.int8_share:.1%} of their multiply-adds"
    lines = [
        f"{audit.file}: {audit.precision}" + (f" for {audit.target}" if audit.target else ""),
        f"host                 {audit.host}",
        f"INT8 convolutions    {audit.int8_convolutions} of {audit.convolutions}, {share}",
    ]
    kept = ", ".join(f"{count} {operator}" for operator, count in audit.conversions.items()) or "none"
    lines.append(f"conversions left     {kept} ({audit.conversion_time_share:.1%} of the time)")
    lines.append(f"float islands        {len(audit.islands) or 'none'}")
    for island in audit.islands:
        operators = list(dict.fromkeys(island.operators))
        shown = ", ".join(operators[:5]) + (", ..." if len(operators) > 5 else "")
        lines.append(
            f"  {len(island.nodes)} nodes ({shown}) at {island.nodes[0]}: {island.reason} ({island.time_share:.1%} of the time)"
        )
    check = audit.saturation
    lines.append(
        f"saturation           {check.saturation_flips} of {check.images} decisions flipped; against the float simulation:"
        f" {_db(check.fused_db)} as it runs, {_db(check.unsaturated_db)} unsaturated, {check.simulation_flips} flips"
    )
    return lines


def _db(value: float) -> str:
    return "equal" if value >= MAX_SQNR_DB else f"{value:.1f} dB"
