"""The catalog of models as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rarn_edge.report.table import UNKNOWN, Table, table, text_column
from rarn_edge.report.units import millions

if TYPE_CHECKING:  # for its types alone: `models` must not load the runtime
    from collections.abc import Sequence

    from rarn_edge.models.catalog import CatalogEntry
    from rarn_edge.models.find import InstalledNetwork


def models_table(
    entries: Sequence[CatalogEntry], shipped: dict[str, str], installed: Sequence[InstalledNetwork] = ()
) -> Table:
    """One line a model; `shipped` gives the measured accuracy of models whose weights are in the package.

    Networks of installed packages stand below; their input and size are known when their code is loaded.
    """
    columns = (
        "name",
        text_column("role"),
        "input",
        "parameters",
        "mult-adds",
        text_column("shipped weights and accuracy"),
    )
    rows = [
        (
            entry.name,
            entry.role,
            f"{entry.side_px}x{entry.side_px}",
            millions(entry.parameters, 2),
            millions(entry.multiply_adds, 1),
            shipped.get(entry.name, UNKNOWN),
        )
        for entry in entries
    ]
    others = [(entry.name, entry.role, UNKNOWN, UNKNOWN, UNKNOWN, entry.source) for entry in installed]
    return table("Models (gray input)", columns, [*rows, *others])
