"""Two benchmark results side by side, as a terminal table and as lines about their machines."""

from rich import box
from rich.markup import escape
from rich.table import Table

from rarn_edge.bench.compare import Comparison
from rarn_edge.report.bench_table import milliseconds

_COLORS = {"slower": "red", "faster": "green", "same": "dim"}


def compare_table(comparison: Comparison) -> Table:
    """One line per row that both results have."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("model", overflow="fold")
    for heading in ("batch", "threads", "before\nms", "after\nms", "after/before\n95 %", "memory", "size"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict")
    for row in comparison.rows:
        table.add_row(
            escape(row.label),
            str(row.batch),
            str(row.threads),
            milliseconds(row.before_s),
            milliseconds(row.after_s),
            f"{row.ratio.value:.2f}\n{row.ratio.low:.2f}-{row.ratio.high:.2f}",
            "-" if row.peak_rss_ratio is None else f"{row.peak_rss_ratio:.2f}",
            f"{row.size_ratio:.2f}",
            f"[{_COLORS[row.verdict]}]{row.verdict}[/]",
        )
    return table


def compare_lines(comparison: Comparison) -> list[str]:
    """What both results have in common and what not, before any ratio is believed."""
    lines = []
    if comparison.machine_differences:
        lines.append(f"different machines: {'; '.join(comparison.machine_differences)}")
    else:
        lines.append("same machine, by every fact that both results state")
    if comparison.software_differences:
        lines.append(f"different software: {'; '.join(comparison.software_differences)}")
    if comparison.yardstick_ratio is not None:
        lines.append(
            f"a fixed piece of work took {comparison.yardstick_ratio:.2f} times as long in the second run: "
            "that much of a difference is the machine's, not the models'"
        )
    for what, names in (("first", comparison.only_before), ("second", comparison.only_after)):
        if names:
            lines.append(f"only in the {what}: {', '.join(names)}")
    return lines
