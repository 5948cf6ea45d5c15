"""A benchmark as a terminal table that fits 80 columns. Pure: the caller prints."""

from rich import box
from rich.markup import escape
from rich.table import Table

from rarn_edge.bench.result import NOT_MEASURED, BenchReport, BenchRow

_UNKNOWN = "-"
_NUMBERS = ("batch", "median\nms", "p90\nms", "images\n/s", "vs ref\n95 %", "peak\nMB", "file\nMB")


def bench_table(report: BenchReport) -> Table:
    """Two lines per model and batch size; the caption states reference, provider, threads, rounds and machine."""
    table = Table(box=box.SIMPLE_HEAD, padding=0)  # the box itself leaves one space between columns
    table.caption, table.caption_justify, table.caption_style = bench_note(report), "left", "dim"
    table.add_column("model", overflow="fold")
    for heading in _NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    for index, row in enumerate(report.rows):
        last_of_batch = index + 1 < len(report.rows) and report.rows[index + 1].batch != row.batch
        table.add_row(*_cells(row, row.label == report.reference_label), end_section=last_of_batch)
    return table


def bench_note(report: BenchReport) -> str:
    """What the numbers are relative to, and where they were measured."""
    where = report.environment
    counts = sorted({len(row.samples_s) for row in report.rows})
    rounds = "-".join(str(count) for count in sorted({counts[0], counts[-1]}))
    return escape(
        f"vs ref: median latency over that of {report.reference_label}, below 1 is faster. "
        f"{report.provider}, {where.threads} thread{'s' if where.threads != 1 else ''}, {rounds} interleaved rounds; "
        f"{where.cpu} ({where.int8_target}), {where.os}, ONNX Runtime {where.onnxruntime}. "
        "Memory is above an import-only process."
    )


def bench_warnings(report: BenchReport) -> list[str]:
    """Each warning once, as a line that names the rows it is about; why a memory figure is missing is one of them."""
    about: dict[str, list[str]] = {}
    for row in report.rows:
        texts = list(row.warnings)
        if row.peak_rss_missing is not None and row.peak_rss_missing != NOT_MEASURED:
            texts.append(f"no peak memory: {row.peak_rss_missing}")
        for text in texts:
            about.setdefault(text, []).append(f"{row.label} at batch {row.batch}")
    lines = []
    for text, names in about.items():
        everywhere = len(names) == len(report.rows) and len(names) > 1
        lines.append(f"{'all rows' if everywhere else ', '.join(names)}: {text}")
    return lines


def _cells(row: BenchRow, is_reference: bool) -> list[str]:
    ratio = row.latency_ratio
    return [
        "\n".join(filter(None, (escape(row.label), _facts(row)))),
        str(row.batch),
        _milliseconds(row.latency_median_s),
        _UNKNOWN if row.latency_p90_s is None else _milliseconds(row.latency_p90_s),
        f"{row.throughput_images_per_s:,.0f}",
        "reference" if is_reference else f"{_ratio(ratio.value)}\n{_ratio(ratio.low)}-{_ratio(ratio.high)}",
        _UNKNOWN if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:.1f}",
        f"{row.file_size_bytes / 1e6:.2f}",
    ]


def _facts(row: BenchRow) -> str:
    """What the file's metadata states, as the second line under its name; empty for a foreign file."""
    parts = []
    if row.parameters is not None:
        parts.append(f"{row.parameters / 1e6:.2f} M")
    if row.multiply_adds is not None:
        parts.append(f"{row.multiply_adds / 1e6:,.0f} MMAC")
    if row.precision is not None:
        parts.append(row.precision)
    return ", ".join(parts)


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _milliseconds(seconds: float) -> str:
    """At least three significant digits: 0.0831, 0.585, 1.25, 48.2, 1,240."""
    value = seconds * 1e3
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"
