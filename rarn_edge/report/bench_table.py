"""A benchmark as a terminal table that fits 80 columns. Pure: the caller prints."""

from rich import box
from rich.markup import escape
from rich.table import Table

from rarn_edge.bench.result import NOT_MEASURED, BenchReport, BenchRow

_UNKNOWN = "-"
_NUMBERS = ("batch", "median\nms", "p90\nms", "images\n/s", "vs ref\n95 %", "peak\nMB", "file\nMB")


def bench_table(report: BenchReport) -> Table:
    """Two lines per model and batch size; the caption states reference, provider, threads, rounds and machine."""
    several_threads = len({row.threads for row in report.rows}) > 1
    table = Table(box=box.SIMPLE_HEAD, padding=0)  # the box itself leaves one space between columns
    table.caption, table.caption_justify, table.caption_style = bench_note(report), "left", "dim"
    table.add_column("model", overflow="fold")
    for heading in _NUMBERS:
        table.add_column(heading, justify="right", no_wrap=True)
    for index, row in enumerate(report.rows):
        following = report.rows[index + 1] if index + 1 < len(report.rows) else row
        last_of_group = (following.batch, following.threads) != (row.batch, row.threads)
        table.add_row(*_cells(row, row.label == report.reference_label, several_threads), end_section=last_of_group)
    return table


def bench_note(report: BenchReport) -> str:
    """What the numbers are relative to, and where they were measured."""
    where = report.environment
    counts = sorted(len(row.samples_s) for row in report.rows)
    rounds = "-".join(str(count) for count in sorted({counts[0], counts[-1]}))
    several = report.starts > 1
    starts, mean = (f" in {report.starts} fresh starts", ", mean over starts") if several else ("", "")
    threads = ", ".join(str(count) for count in dict.fromkeys(row.threads for row in report.rows))
    mixed = " MIXED: part of it ran on another provider." if any(row.nodes_elsewhere for row in report.rows) else ""
    return escape(
        f"vs ref: median latency over that of {report.reference_label}{mean}, below 1 is faster. "
        f"{report.provider}, {threads} thread{'s' if threads != '1' else ''}, {rounds} interleaved rounds{starts}; "
        f"{where.cpu} ({where.int8_target}), {where.os}, ONNX Runtime {where.onnxruntime}. "
        f"Memory is above an import-only process.{mixed}"
    )


def bench_warnings(report: BenchReport) -> list[str]:
    """What to doubt: about the machine first, then each row's warnings once, as a line that names its rows."""
    about: dict[str, list[str]] = {}
    for row in report.rows:
        texts = list(row.warnings)
        if row.peak_rss_missing is not None and row.peak_rss_missing != NOT_MEASURED:
            texts.append(f"no memory figures: {row.peak_rss_missing}")
        for text in texts:
            about.setdefault(text, []).append(f"{row.label} at batch {row.batch}")
    lines = list(report.warnings)
    for text, names in about.items():
        everywhere = len(names) == len(report.rows) and len(names) > 1
        lines.append(f"{'all rows' if everywhere else ', '.join(dict.fromkeys(names))}: {text}")
    return lines


def failure_lines(report: BenchReport) -> list[str]:
    """One line per model that could not be measured."""
    lines = []
    for failure in report.failures:
        where = "" if failure.batch is None else f" at batch {failure.batch}"
        lines.append(f"{failure.label}{where} was not measured ({failure.stage}): {failure.reason}")
    return lines


def _cells(row: BenchRow, is_reference: bool, name_threads: bool) -> list[str]:
    ratio = row.latency_ratio
    name = f"{row.label} ({row.threads} thread{'s' if row.threads > 1 else ''})" if name_threads else row.label
    if ratio is None:
        versus = _UNKNOWN
    else:
        versus = "reference" if is_reference else f"{_ratio(ratio.value)}\n{_ratio(ratio.low)}-{_ratio(ratio.high)}"
    return [
        "\n".join(filter(None, (escape(name), _facts(row)))),
        str(row.batch),
        milliseconds(row.latency_median_s),
        _UNKNOWN if row.latency_p90_s is None else milliseconds(row.latency_p90_s),
        f"{row.throughput_images_per_s:,.0f}",
        versus,
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
    if row.nodes_elsewhere:
        parts.append(f"MIXED: {row.nodes_elsewhere} of {row.nodes} nodes elsewhere")
    return ", ".join(parts)


def figures(row: BenchRow, scored: bool) -> list[str]:
    """What follows the ratio in the wide tables: peak MB, file MB, parameters, multiply-adds and, if `scored`, accuracy."""
    cells = [
        _UNKNOWN if row.peak_rss_bytes is None else f"{row.peak_rss_bytes / 1e6:.1f}",
        f"{row.file_size_bytes / 1e6:.2f}",
        _UNKNOWN if row.parameters is None else f"{row.parameters / 1e6:.2f} M",
        _UNKNOWN if row.multiply_adds is None else f"{row.multiply_adds / 1e6:.1f} M",
    ]
    if scored:
        cells.append(_UNKNOWN if row.accuracy is None else f"{row.accuracy.value:.2%}")
    return cells


def marked(row: BenchRow, name: str) -> str:
    """`name`, with what did not run on the requested provider."""
    return f"{name} (MIXED: {row.nodes_elsewhere} of {row.nodes} nodes elsewhere)" if row.nodes_elsewhere else name


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def milliseconds(seconds: float) -> str:
    """At least three significant digits: 0.0831, 0.585, 1.25, 48.2, 1,240."""
    value = seconds * 1e3
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:,.{digits}f}"
