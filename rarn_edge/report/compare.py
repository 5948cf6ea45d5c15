"""Two benchmark results side by side, as a table and as lines about their machines."""

from rarn_edge.bench.compare import ComparedRow, Comparison
from rarn_edge.report.bench import ratio_text
from rarn_edge.report.table import UNKNOWN, Table, table, text_column
from rarn_edge.report.units import count, milliseconds


def compare_table(comparison: Comparison) -> Table:
    """One line per row that both results have."""
    columns = ("model", "batch", "threads", "before\nms", "after\nms", "after/before\n95 %", "memory", "size")
    rows = [
        (
            row.label,
            str(row.batch),
            str(row.threads),
            milliseconds(row.before_s),
            milliseconds(row.after_s),
            ratio_text(row.ratio, "\n"),
            UNKNOWN if row.peak_rss_ratio is None else f"{row.peak_rss_ratio:.2f}",
            f"{row.size_ratio:.2f}",
            row.verdict,
        )
        for row in comparison.rows
    ]
    return table("", (*columns, text_column("verdict")), rows)


def compare_lines(comparison: Comparison) -> list[str]:
    """What both results have in common and what not, before any ratio is believed."""
    lines = []
    if comparison.machine_differences:
        lines.append(f"different machines: {'; '.join(comparison.machine_differences)}")
    else:
        lines.append("same machine, by every fact that both results state")
    if comparison.software_differences:
        lines.append(f"different software: {'; '.join(comparison.software_differences)}")
    if comparison.workload_ratio is not None:
        lines.append(
            f"a fixed piece of work took {comparison.workload_ratio:.2f} times as long in the second run: "
            "that much of a difference is the machine's, not the models'"
        )
    for what, names in (("first", comparison.only_before), ("second", comparison.only_after)):
        if names:
            lines.append(f"only in the {what}: {', '.join(names)}")
    return lines


def slower_line(row: ComparedRow) -> str:
    """`rarn-s at batch 1: 1.50 times (1.45 to 1.55)`."""
    ratio = row.ratio
    threads = f" with {count(row.threads, 'thread')}" if row.threads > 1 else ""
    return f"{row.label} at batch {row.batch}{threads}: {ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
