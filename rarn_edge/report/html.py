"""One self-contained HTML page of a benchmark, or of a whole pipeline run: no network, no script, every plot also a table.

Plots are drawn by matplotlib as SVG with text as text, and coloured by the page's own style sheet, so that one picture serves
light and dark; the page is put together by Jinja2, which escapes whatever a file name contains.
"""

from collections.abc import Sequence
from typing import Any

from rarn_edge.bench.environment import Environment
from rarn_edge.bench.result import BenchReport
from rarn_edge.errors import require_extras
from rarn_edge.parity.steps import Step
from rarn_edge.report.bench_extras import PlainTable, tables
from rarn_edge.report.bench_table import bench_warnings, failure_lines, figures, marked, milliseconds
from rarn_edge.report.drawing import Plot
from rarn_edge.report.parity import allowed, figure, step_title
from rarn_edge.report.plots import plots

MAX_BYTES = 2_000_000


def require_html() -> None:
    """Raise now, rather than after the work, when matplotlib or Jinja2 is missing.

    Raises:
        InputError: which, and the extra that brings it.
    """
    require_extras("report")


def bench_page(
    report: BenchReport, steps: Sequence[Step] = (), faces: str = "", extra: Sequence[PlainTable] = ()
) -> str:
    """The page; `steps` are a pipeline's parity, `extra` further tables such as an audit."""
    require_html()
    from jinja2 import Environment as Templates
    from jinja2 import PackageLoader, select_autoescape

    templates = Templates(
        loader=PackageLoader("rarn_edge.report", "."),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("page.html.j2").render(
        title=report.title,
        parity_verdict=_parity_verdict(steps),
        verdict=_verdict(report),
        parity_passed=all(step.passed for step in steps),
        main=main_table(report),
        note=_note(report),
        warnings=bench_warnings(report),
        failures=failure_lines(report),
        plots=plots(report),
        parity=_parity(steps),
        faces=faces,
        extra=[*extra, *tables(report)],
        facts=_facts(report),
    )


def main_table(report: BenchReport) -> PlainTable:
    """All models, all figures that are read first."""
    has_accuracy = any(row.accuracy for row in report.rows)
    columns = [
        "model",
        "batch",
        "threads",
        "median ms",
        "p90 ms",
        "CPU ms",
        "images/s",
        "vs reference",
        "peak MB",
        "file MB",
    ]
    columns += ["parameters", "mult-adds", *(("accuracy",) if has_accuracy else ())]
    rows = []
    for row in report.rows:
        ratio = row.latency_ratio
        if ratio is None:
            versus = "-"
        else:
            own = row.label == report.reference_label
            versus = "reference" if own else f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        cells = [
            marked(row, row.label),
            str(row.batch),
            str(row.threads),
            milliseconds(row.latency_median_s),
            "-" if row.latency_p90_s is None else milliseconds(row.latency_p90_s),
            "-" if row.cpu_median_s is None else milliseconds(row.cpu_median_s),
            f"{row.throughput_images_per_s:,.0f}",
            versus,
            *figures(row, has_accuracy),
        ]
        rows.append(tuple(cells))
    return PlainTable("All figures", tuple(columns), tuple(rows))


def _parity_verdict(steps: Sequence[Step]) -> str:
    if not steps:
        return ""
    failed = sum(not step.passed for step in steps)
    return f"{failed} of {len(steps)} parity steps FAILED." if failed else f"All {len(steps)} parity steps pass."


def _verdict(report: BenchReport) -> str:
    """What a reader should take away, in a sentence or two."""
    parts = []
    group = [row for row in report.rows if (row.batch, row.threads) == (report.rows[0].batch, report.rows[0].threads)]
    compared = [row for row in group if row.latency_ratio is not None]
    fastest = min(
        compared or group, key=lambda row: row.latency_ratio.value if row.latency_ratio else row.latency_median_s
    )
    parts.append(
        f"At batch {fastest.batch} with {fastest.threads} thread{'s' if fastest.threads > 1 else ''}, {fastest.label} is the "
        f"fastest: {milliseconds(fastest.latency_median_s)} ms per call, {fastest.throughput_images_per_s:,.0f} images/s."
    )
    if fastest.latency_ratio is not None and fastest.label != report.reference_label:
        ratio = fastest.latency_ratio
        parts.append(
            f"That is {ratio.value:.2f} times the latency of {report.reference_label} "
            f"(95 %: {ratio.low:.2f} to {ratio.high:.2f})."
        )
    return " ".join(parts)


def _note(report: BenchReport) -> str:
    counts = sorted(len(row.samples_s) for row in report.rows)
    calls = str(counts[0]) if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    overhead = (
        "" if report.overhead_s is None else f" Each sample contains {report.overhead_s * 1e6:.2f} µs of the harness."
    )
    return (
        f"Each model ran in a process of its own, started {report.starts} times, in turns shuffled anew in every round, {calls} "
        f"timed calls each, one untimed call before each timed one. vs reference: median latency over that of "
        f"{report.reference_label}, mean over the starts, with its 95 % interval; below 1 is faster. "
        f"Memory is above a process that only imports.{overhead}"
    )


def _parity(steps: Sequence[Step]) -> PlainTable:
    rows = []
    for step in steps:
        for check in step.checks:
            verdict = "pass" if check.passed else "FAIL"
            measured = figure(check.measured, check)
            rows.append((step_title(step), check.figure, measured, allowed(check), verdict))
    return PlainTable("Parity", ("step", "figure", "measured", "allowed", "verdict"), tuple(rows))


def _facts(report: BenchReport) -> list[tuple[str, str]]:
    where: Environment = report.environment
    memory = None if where.memory_bytes is None else f"{where.memory_bytes / 1e9:.1f} GB"
    cpu = where.cpu if where.cpu_model is None else f"{where.cpu} ({where.cpu_model})"
    facts: dict[str, Any] = {
        "Processor": cpu,
        "INT8 kind": where.int8_target,
        "Cores this process may use": where.cores_available,
        "Memory": memory,
        "GPU": where.gpu,
        "System": where.os,
        "Clock governor": where.governor,
        "Provider": report.provider,
        "ONNX Runtime": where.onnxruntime,
        "Python": where.python,
        "rarn-edge": where.rarn_edge,
        "Measured": where.time_utc,
    }
    return [(key, str(value)) for key, value in facts.items() if value is not None]


__all__ = ["MAX_BYTES", "Plot", "bench_page", "main_table", "require_html"]
