"""A pipeline's findings as Markdown, for a pull request, a job summary or a reader without the tool."""

from rarn_edge.bench.result import BenchReport
from rarn_edge.parity.steps import Step
from rarn_edge.report.bench_table import bench_note, bench_warnings, failure_lines, figures, marked
from rarn_edge.report.decisions import decisions_markdown, telling_steps
from rarn_edge.report.parity import COLUMNS, limit_rows, step_figures, step_title


def report_markdown(model: str, steps: list[Step], faces: str, bench: BenchReport) -> str:
    """The whole report of one pipeline run."""
    verdict = "all steps pass" if all(step.passed for step in steps) else "A HOP FAILED"
    parts = [
        f"# {model}: {verdict}",
        f"## Parity on {faces}",
        parity_markdown(steps),
        "## Benchmark",
        bench_markdown(bench),
    ]
    return "\n\n".join(parts) + "\n"


def parity_markdown(steps: list[Step]) -> str:
    """The parity report, one row a step, then each limit with the worst that any step measured."""
    rows = [f"| step | {' | '.join(COLUMNS)} | verdict |", "|---|" + "--:|" * len(COLUMNS) + "---|"]
    rows += [f"| {step_title(step)} | {' | '.join(step_figures(step))} | {_verdict(step.passed)} |" for step in steps]
    rows += ["", "| limit | figure | would pass | allowed | verdict |", "|---|---|--:|--:|---|"]
    for limit, figure, would, may, passed in limit_rows(steps):
        rows.append(f"| {limit} | {figure.replace('|', '&#124;')} | {would} | {may} | {_verdict(passed)} |")
    return "\n".join(rows)


def parity_report_markdown(steps: list[Step], faces: str, classes: tuple[str, ...]) -> str:
    """A whole parity run, for a job summary."""
    verdict = "every step passes" if all(step.passed for step in steps) else "A HOP FAILED"
    parts = [f"## Parity on {faces}: {verdict}", parity_markdown(steps)]
    parts += [decisions_markdown(step, classes) for step in telling_steps(steps)]
    return "\n\n".join(parts) + "\n"


def _verdict(passed: bool) -> str:
    return "pass" if passed else "**FAIL**"


def bench_markdown(report: BenchReport) -> str:
    """One row per model and batch size, then how it was measured and what to doubt."""
    scored = any(row.accuracy for row in report.rows)
    swept = len({row.threads for row in report.rows}) > 1
    columns = [
        "model",
        "batch",
        "median ms",
        "p90 ms",
        "CPU ms",
        "images/s",
        "vs reference (95 %)",
        "peak MB",
        "file MB",
        "parameters",
    ]
    columns += ["mult-adds", *(("accuracy",) if scored else ())]
    rows = [f"| {' | '.join(columns)} |", "|---|" + "--:|" * (len(columns) - 1)]
    for row in report.rows:
        ratio = row.latency_ratio
        if ratio is None:
            versus = "-"
        else:
            own = row.label == report.reference_label
            versus = "1" if own else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"
        name = f"{row.label}, {row.threads} threads" if swept else row.label
        cells = [
            marked(row, name),
            str(row.batch),
            f"{row.latency_median_s * 1e3:.3f}",
            "-" if row.latency_p90_s is None else f"{row.latency_p90_s * 1e3:.3f}",
            "-" if row.cpu_median_s is None else f"{row.cpu_median_s * 1e3:.3f}",
            f"{row.throughput_images_per_s:,.0f}",
            versus,
            *figures(row, scored),
        ]
        rows.append(f"| {' | '.join(cells)} |")
    notes = [
        bench_note(report).replace("\\[", "["),
        *(f"- {line}" for line in (*failure_lines(report), *bench_warnings(report))),
    ]
    scores = next((row.accuracy for row in report.rows if row.accuracy is not None), None)
    if scores is not None:
        notes.insert(1, f"- Accuracy on {scores.faces}; a dash: not trained.")
    return "\n".join(rows) + "\n\n" + "\n".join(notes)
