"""INT8 results as terminal tables: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from rarn_edge.stats.sqnr import MAX_SQNR_DB

if TYPE_CHECKING:
    from rarn_edge.pipeline.calibrate import MethodRow


def methods_table(rows: list[MethodRow], faces: str) -> Table:
    """One line a calibration method."""
    table = Table(title=f"Calibration methods on {faces}")
    table.add_column("method")
    for column in ("accuracy", "same decision as float32", "signal to noise"):
        table.add_column(column, justify="right")
    for row in rows:
        accuracy = "-" if row.accuracy is None else f"{row.accuracy:.2%}"
        noise = "-" if row.signal_db >= MAX_SQNR_DB else f"{row.signal_db:.1f} dB"
        table.add_row(row.name, accuracy, f"{row.agreement:.2%}", noise)
    return table
