"""One self-contained HTML page of a benchmark, or of a whole pipeline run: no network, no script, every plot also a table.

Plots are drawn by matplotlib as SVG with text as text, and coloured by the page's own style sheet, so that one picture serves
light and dark; the page is put together by Jinja2, which escapes whatever a file name contains.
"""

from rarn_edge.bench.result import BenchReport
from rarn_edge.boundary.names import plain_plot_text
from rarn_edge.errors import require_extras
from rarn_edge.parity.report import ParityReport
from rarn_edge.report.bench import bench_markdown, bench_table, bench_warnings, extra_tables, failure_lines
from rarn_edge.report.parity import parity_markdown, parity_result, parity_tables
from rarn_edge.report.plots import plots
from rarn_edge.report.units import count, gigabytes, milliseconds

MAX_BYTES = 2_000_000


def require_html() -> None:
    """Raise now, rather than after the work, when matplotlib or Jinja2 is missing.

    Raises:
        InputError: which, and the extra that brings it.
    """
    require_extras("report")


def run_markdown(model: str, parity: ParityReport, report: BenchReport) -> str:
    """A whole pipeline run as Markdown."""
    return f"# {model}\n\n{parity_markdown(parity)}\n## Benchmark\n\n{bench_markdown(report)}\n"


def bench_page(report: BenchReport, parity: ParityReport | None = None) -> str:
    """The page of a benchmark, or with `parity` of a pipeline run.

    Raises:
        InputError: matplotlib or Jinja2 is not installed.
    """
    require_html()
    from jinja2 import Environment as Templates
    from jinja2 import PackageLoader, select_autoescape

    templates = Templates(
        loader=PackageLoader("rarn_edge.report", "."),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    with plain_plot_text():
        drawn = plots(report)
    return templates.get_template("page.html.j2").render(
        title=report.title,
        result=_result(report),
        parity_result="" if parity is None else parity_result(parity),
        parity_passed=parity is None or parity.passed,
        parity=() if parity is None else parity_tables(parity),
        main=bench_table(report),
        overhead_us=None if report.overhead_s is None else f"{report.overhead_s * 1e6:.2f}",
        warnings=bench_warnings(report),
        failures=failure_lines(report),
        plots=drawn,
        extra=extra_tables(report),
        facts=_facts(report),
    )


def _result(report: BenchReport) -> str:
    """What a reader should take away, in a sentence or two."""
    group = [row for row in report.rows if (row.batch, row.threads) == (report.rows[0].batch, report.rows[0].threads)]
    compared = [row for row in group if row.latency_ratio is not None]
    fastest = min(
        compared or group, key=lambda row: row.latency_ratio.value if row.latency_ratio else row.latency_median_s
    )
    text = (
        f"At batch {fastest.batch} with {count(fastest.threads, 'thread')}, {fastest.label} is the fastest: "
        f"{milliseconds(fastest.latency_median_s)} ms per call, {fastest.throughput_images_per_s:,.0f} images/s."
    )
    ratio = fastest.latency_ratio
    if ratio is None or fastest.label == report.reference_label:
        return text
    interval = f"(95 %: {ratio.low:.2f} to {ratio.high:.2f})"
    return f"{text} That is {ratio.value:.2f} times the latency of {report.reference_label} {interval}."


def _facts(report: BenchReport) -> list[tuple[str, str]]:
    where = report.environment
    facts = {
        "Processor": where.cpu if where.cpu_model is None else f"{where.cpu} ({where.cpu_model})",
        "INT8 kind": where.int8_target,
        "Cores this process may use": where.cores_available,
        "Memory": None if where.memory_bytes is None else gigabytes(where.memory_bytes),
        "GPU": where.gpu,
        "System": where.os,
        "Clock governor": where.governor,
        "Provider": report.provider,
        "ONNX Runtime": where.onnxruntime,
        "Python": where.python,
        "rarn-edge": where.rarn_edge,
        "Measured": where.time_utc,
    }
    return [(name, str(value)) for name, value in facts.items() if value is not None]
