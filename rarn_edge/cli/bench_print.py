"""Print a benchmark: the table, then one for each further thing that was measured."""

from typing import TYPE_CHECKING

from rich.console import Console

from rarn_edge.report.bench_extras import extra_tables
from rarn_edge.report.bench_table import bench_table

if TYPE_CHECKING:
    from rarn_edge.bench.result import BenchReport


def print_bench(report: "BenchReport", console: Console) -> None:
    """Everything a terminal shows of a report."""
    console.print(bench_table(report))
    for table in extra_tables(report):
        console.print(table)
