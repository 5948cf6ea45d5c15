"""A benchmark's main table, how it was measured, what to doubt, and its result as Markdown and JSON text."""

import json

from rarn_edge.bench.result import NOT_MEASURED, BenchReport, BenchRow
from rarn_edge.boundary.names import markdown
from rarn_edge.data.faces import listed
from rarn_edge.report.bench_extras import extra_tables
from rarn_edge.report.table import UNKNOWN, Column, Row, Table, table
from rarn_edge.report.units import count, megabytes, millions, milliseconds, percent
from rarn_edge.stats.interval import Interval

__all__ = [
    "bench_json",
    "bench_markdown",
    "bench_note",
    "bench_table",
    "bench_warnings",
    "extra_tables",
    "failure_lines",
]


def bench_table(report: BenchReport) -> Table:
    """One row per model, batch size and thread count; the note states reference, provider, threads, rounds and machine."""
    scored = any(row.accuracy for row in report.rows)
    several_threads = len({row.threads for row in report.rows}) > 1
    columns: list[str | Column] = ["model", "batch", "median\nms", "p90\nms", Column("CPU\nms", is_wide=True)]
    columns += ["images\nper s", "vs ref\n95 %", "peak\nMB", "file\nMB"]
    columns += [Column(name, is_wide=True) for name in ("parameters", "mult-adds", *(("accuracy",) if scored else ()))]
    groups = [(row.batch, row.threads) for row in report.rows]
    rows = []
    for index, row in enumerate(report.rows):
        name = f"{row.label} ({count(row.threads, 'thread')})" if several_threads else row.label
        mixed = f"MIXED: {row.nodes_elsewhere} of {row.nodes} nodes elsewhere" if row.nodes_elsewhere else ""
        cells = [
            "\n".join(filter(None, (name, mixed))),
            str(row.batch),
            *(milliseconds(value) for value in (row.latency_median_s, row.latency_p90_s, row.cpu_median_s)),
            f"{row.throughput_images_per_s:,.0f}",
            _versus(row, report.reference_label),
            megabytes(row.peak_rss_bytes),
            megabytes(row.file_size_bytes, 2),
            millions(row.parameters, 2),
            millions(row.multiply_adds, 1),
        ]
        if scored:
            cells.append(UNKNOWN if row.accuracy is None else percent(row.accuracy.value, 2))
        ends_section = groups[index] != groups[min(index + 1, len(groups) - 1)]
        rows.append(Row(tuple(cells), _facts(row), ends_section))
    return table("", columns, rows, bench_note(report))


def bench_note(report: BenchReport) -> str:
    """What the numbers are relative to, and where they were measured."""
    where = report.environment
    counts = sorted(len(row.samples_s) for row in report.rows)
    rounds = "-".join(str(number) for number in sorted({counts[0], counts[-1]}))
    several = report.launches > 1
    launches, mean = (f" in {report.launches} process launches", ", mean over launches") if several else ("", "")
    threads = list(dict.fromkeys(row.threads for row in report.rows))
    named = f"{', '.join(map(str, threads))} thread{'' if threads == [1] else 's'}"
    mixed = " MIXED: part of it ran on another provider." if any(row.nodes_elsewhere for row in report.rows) else ""
    return (
        f"vs ref: median latency over that of {report.reference_label}{mean}, below 1 is faster. "
        f"{report.provider}, {named}, {rounds} interleaved rounds{launches}; "
        f"{where.cpu} ({where.int8_target}), {where.os}, ONNX Runtime {where.onnxruntime}. "
        f"Memory is above an import-only process.{mixed}"
    )


def bench_warnings(report: BenchReport) -> list[str]:
    """What to doubt: about the machine first, then each row's warnings once, as a short line that names its rows."""
    about: dict[str, list[str]] = {}
    batches, threads = ({getattr(row, name) for row in report.rows} for name in ("batch", "threads"))
    for row in report.rows:
        texts = list(row.warnings)
        if row.peak_rss_missing is not None and row.peak_rss_missing != NOT_MEASURED:
            texts.append(f"no memory figures: {row.peak_rss_missing}")
        for text in texts:
            at_batch = f" at batch {row.batch}" if len(batches) > 1 else ""
            with_threads = f" with {count(row.threads, 'thread')}" if len(threads) > 1 else ""
            about.setdefault(text, []).append(f"{row.label}{at_batch}{with_threads}")
    lines = list(report.warnings)
    for text, names in about.items():
        everywhere = len(names) == len(report.rows) and len(names) > 1
        lines.append(f"{'all rows' if everywhere else listed(list(dict.fromkeys(names)), 1)}: {text}")
    return lines


def failure_lines(report: BenchReport) -> list[str]:
    """One line per model that could not be measured."""
    lines = []
    threads = {row.threads for row in report.rows} | {failure.threads for failure in report.failures}
    for failure in report.failures:
        where = "" if failure.batch is None else f" at batch {failure.batch}"
        if failure.threads is not None and len(threads - {None}) > 1:
            where += f" with {count(failure.threads, 'thread')}"
        lines.append(f"{failure.label}{where} was not measured ({failure.stage}): {failure.reason}")
    return lines


def bench_markdown(report: BenchReport) -> str:
    """The main table, how it was measured and what to doubt."""
    scores = next((row.accuracy for row in report.rows if row.accuracy is not None), None)
    notes = [] if scores is None else [f"Accuracy on {scores.faces}; a dash: not trained."]
    notes += [*failure_lines(report), *bench_warnings(report)]
    return "\n".join((bench_table(report).to_markdown(), *(f"- {markdown(line)}" for line in notes)))


def bench_json(report: BenchReport) -> str:
    """JSON with every raw sample, one line per row, profile, and so on: a recorded result is read in reviews too."""
    parts = []
    for key, value in report.to_dict().items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines = ",\n".join("  " + json.dumps(each, allow_nan=False) for each in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n ]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"


def _versus(row: BenchRow, reference: str) -> str:
    ratio = row.latency_ratio
    if ratio is None:
        return UNKNOWN
    return "reference" if row.label == reference else ratio_text(ratio, "\n")


def ratio_text(ratio: Interval, between: str) -> str:
    """`0.85` and `0.80-0.90`."""
    value, low, high = (f"{each:.2f}" if each < 10 else f"{each:.1f}" for each in (ratio.value, ratio.low, ratio.high))
    return f"{value}{between}{low}-{high}"


def _facts(row: BenchRow) -> str:
    """What the file's metadata states; empty for a foreign file."""
    parts = [
        None if row.parameters is None else millions(row.parameters, 2),
        None if row.multiply_adds is None else f"{row.multiply_adds / 1e6:,.0f} MMAC",
        row.precision,
    ]
    return ", ".join(part for part in parts if part is not None)
