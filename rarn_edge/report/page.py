"""One self-contained HTML page of a benchmark, a whole run or an evaluation: no network, no script, every plot also a table.

Plots are drawn by matplotlib as SVG with text as text, and coloured by the page's own style sheet, so that one picture serves
light and dark; the page is put together by Jinja2, which escapes whatever a file name contains.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rarn_edge.bench.result import BenchReport
from rarn_edge.boundary.names import markdown, plain_plot_text
from rarn_edge.errors import require_extras
from rarn_edge.evaluation.judge import Judgement
from rarn_edge.host.environment import package_version
from rarn_edge.parity.report import ParityReport
from rarn_edge.report.bench import bench_markdown, bench_table, bench_warnings, extra_tables, failure_lines
from rarn_edge.report.drawing import Plot
from rarn_edge.report.evaluation import evaluation_table, judgement_table, paired_table, votes_table
from rarn_edge.report.evaluation_plots import confidence_plot, confusion_plot, roll_plot
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
    return f"# {markdown(model)}\n\n{parity_markdown(parity)}\n## Benchmark\n\n{bench_markdown(report)}\n"


def bench_page(report: BenchReport, parity: ParityReport | None = None, answers: Sequence[Plot] = ()) -> str:
    """The page of a benchmark, or with `parity` of a pipeline run; `answers` are pictures of what a model says.

    Raises:
        InputError: matplotlib or Jinja2 is not installed.
    """
    require_html()
    with plain_plot_text():
        drawn = plots(report)
    harness = (
        "" if report.overhead_s is None else f" Each sample contains {report.overhead_s * 1e6:.2f} µs of the harness."
    )
    return _page(
        title=report.title,
        checked="" if parity is None else parity_result(parity),
        passed=parity is None or parity.passed,
        result=_result(report),
        failures=failure_lines(report),
        warnings=bench_warnings(report),
        plots=[*answers[:1], *drawn, *answers[1:]],
        main=bench_table(report),
        note=f"{_HOW_TIMED}{harness}",
        sections=(
            ("Parity", [] if parity is None else parity_tables(parity)),
            ("In depth", extra_tables(report)),
        ),
        about="Machine",
        facts=_facts(report),
    )


def evaluation_page(judgement: Judgement, face: Plot | None = None) -> str:
    """The page of an evaluation: what the model says of a face, where it is wrong, what a turned head costs, its confidence.

    Raises:
        InputError: matplotlib or Jinja2 is not installed.
    """
    require_html()
    evaluation, name = judgement.evaluation, judgement.model
    curves = [(name, judgement.roll), *((rival.model, rival.roll) for rival in judgement.against)]
    with plain_plot_text():
        drawn = [
            confusion_plot(name, evaluation),
            roll_plot(curves, judgement.faces),
            confidence_plot(name, judgement.confidence),
        ]
    facts = {"Model": name, "Faces": judgement.faces, "rarn-edge": package_version("rarn-edge")}
    return _page(
        title=f"{name}: evaluation",
        checked="",
        passed=True,
        result=(
            f"{evaluation.accuracy:.2%} of {evaluation.images:,} decisions are right (95 %: {evaluation.accuracy_low:.2%} to"
            f" {evaluation.accuracy_high:.2%}); macro-F1 {evaluation.macro_f1:.3f}."
        ),
        failures=(),
        warnings=[text for text in (judgement.pixels.warning,) if text is not None],
        plots=[*([] if face is None else [face]), *drawn],
        main=evaluation_table(evaluation, ""),
        note="",
        sections=(
            ("Beyond accuracy", [replace(judgement_table(judgement), title="")]),
            ("Beside people", [] if judgement.votes is None else [votes_table(judgement.votes)]),
            ("Beside other models", [paired_table(rival.paired, name, rival.model) for rival in judgement.against]),
        ),
        about="Of what",
        facts=[(each, value) for each, value in facts.items() if value],
    )


_HOW_TIMED = "Each model ran in a process of its own, in rounds shuffled anew, one untimed call before each timed one."


def _page(**parts: Any) -> str:
    from jinja2 import Environment as Templates
    from jinja2 import PackageLoader, StrictUndefined, select_autoescape

    templates = Templates(
        loader=PackageLoader("rarn_edge.report", "."),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return templates.get_template("page.html.j2").render(**parts)


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
