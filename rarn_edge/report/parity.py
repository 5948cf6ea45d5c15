"""A parity report as tables and Markdown: one row a step with its decisive figure, and every figure on demand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rarn_edge.boundary.names import markdown
from rarn_edge.parity.decisions import ClassRow
from rarn_edge.parity.report import ParityReport
from rarn_edge.parity.steps import Check, Figure, Step
from rarn_edge.report.table import UNKNOWN, Column, Row, Table, table, text_column, verdict
from rarn_edge.report.units import points

if TYPE_CHECKING:  # it needs onnx, which a device has not
    from rarn_edge.parity.explain import NodeRow

SHOWN_NODES = 8
_MOST_DIGITS = 6
SHOWN_FLIPS = 12

_SHORT = {Figure.MAX_ABS_LOGIT: "max diff", Figure.FINITE: "finite", Figure.AGREEMENT: "agreement"}


def parity_tables(report: ParityReport) -> list[Table]:
    """The steps with their decisive figures, then everything else, folded: all figures, all limits, flipped decisions."""
    steps = report.steps
    flips = [each for step in telling_steps(steps) for each in _flips(step, report.classes)]
    return [steps_table(steps, report.faces), _figures_table(steps), _limits_table(steps), *flips]


def steps_table(steps: Sequence[Step], faces: str) -> Table:
    """One line a step: the figure that decides, against its limit."""

    def row(step: Step) -> tuple[str, ...]:
        check = decisive(step)
        figure = _SHORT.get(check.figure, check.figure)
        return step_name(step), figure, *check_texts(check), verdict(step.passed)

    columns = ("step", text_column("decides"), "measured", "allowed", text_column(""))
    return table(f"Parity on {faces}", columns, _sections(steps, row, len(columns)))


def decisive(step: Step) -> Check:
    """The check that uses most of its limit; a failed one before any that passed."""
    return max(step.checks, key=lambda check: (not check.passed, _use(check)))


def _use(check: Check) -> float:
    """How much of its limit a check uses: 1 is all of it."""
    measured, limit = check.measured, check.allowed
    if check.figure is Figure.FINITE:
        return -1.0 if check.passed else math.inf  # says nothing as long as it passes
    if math.isnan(measured):
        return 0.0
    if check.figure is Figure.SQNR:
        return 10 ** ((limit - measured) / 20)  # noise over the noise allowed
    if not check.at_most:  # a share of faces, and so is what is missing of it
        measured, limit = 1 - measured, 1 - limit
    if measured <= 0:
        return 0.0
    return measured / limit if limit > 0 else math.inf


def _figures_table(steps: Sequence[Step]) -> Table:
    """All figures of each step."""
    columns = ("step", "max diff", "mean diff", "SNR dB", "cosine", "top-1", "flips", text_column(""))
    rows = _sections(steps, lambda step: (step_name(step), *_figures(step), verdict(step.passed)), len(columns))
    return table("All figures", columns, rows, folded=True)


def _limits_table(steps: Sequence[Step]) -> Table:
    """One line a limit: the worst that any step of its kind measured, which is the limit that would pass."""
    columns = ("limit", text_column("figure"), "would pass", "allowed", text_column(""))
    worst: dict[tuple[str, str], tuple[float, Check]] = {}
    for step in steps:
        for check in step.checks:
            badness = check.measured if check.at_most else -check.measured
            badness = math.inf if math.isnan(badness) else badness
            key = (f"{step.measured.inputs}.{step.measured.kind}", check.figure)
            if key not in worst or badness > worst[key][0]:
                worst[key] = (badness, check)
    rows = [
        (limit, figure, *check_texts(check), verdict(check.passed))
        for (limit, figure), (_, check) in worst.items()
        if figure != Figure.FINITE or not check.passed
    ]
    return table("All limits, each with the worst that was measured", columns, rows, folded=True)


def _sections(steps: Sequence[Step], row: Callable[[Step], tuple[str, ...]], columns: int) -> Iterable[Row]:
    """The rows of the steps on faces, then those on adversarial inputs."""
    for inputs in dict.fromkeys(step.measured.inputs for step in steps):
        if inputs != "faces":
            yield Row(("adversarial inputs", *[""] * (columns - 1)))
        own = [step for step in steps if step.measured.inputs == inputs]
        for step in own:
            yield Row(row(step), ends_section=step is own[-1])


def nodes_table(rows: Sequence[NodeRow], title: str) -> Table:
    """The first nodes out of tolerance, each with its likely cause."""
    shape, values, cause = map(text_column, ("shape", "values before", "likely cause"))
    columns = ("node", shape, "own SNR dB", "arrived", values, cause)
    cells = [
        (
            f"{row.node} ({row.operator}) -> {row.tensor}",
            "x".join(str(side) for side in row.shape),
            f"{row.own_snr_db:.1f}",
            f"{row.arrived_snr_db:.1f}",
            f"{row.low:.3g} to {row.high:.3g}",
            row.cause or "",
        )
        for row in [row for row in rows if row.cause][:SHOWN_NODES]
    ]
    return table(title, columns, cells)


def parity_markdown(report: ParityReport) -> str:
    """A whole parity run, for a job summary."""
    steps, *details = parity_tables(report)
    result = "every step passes" if report.passed else "A STEP FAILED"
    lines = [line for step in telling_steps(report.steps) for line in (paired_line(step), worst_line(step)) if line]
    lines = list(map(markdown, lines))
    parts = [f"## Parity on {markdown(report.faces)}: {result}", replace(steps, title="").to_markdown()]
    return "\n\n".join([*parts, *(each.to_markdown() for each in details), *lines]) + "\n"


def parity_result(report: ParityReport) -> str:
    """One sentence."""
    failed, steps = sum(not step.passed for step in report.steps), len(report.steps)
    return f"{failed} of {steps} parity steps FAILED." if failed else f"All {steps} parity steps pass."


def telling_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps whose decisions are worth a table: on faces, with a flip, and not a part of a longer step."""
    whole = [step for step in steps if step.measured.kind in ("int8", "float") and step.measured.inputs == "faces"]
    return [step for step in whole if step.flipped]


def _flips(step: Step, classes: Sequence[str]) -> list[Table]:
    """One row a class with its flips by target class, and the flipped faces with the clearest decisions before."""
    title = f"{len(step.flipped)} of {step.measured.images:,} decisions flipped: {step_name(step)}"
    found = step.measured.decisions
    columns = ("class", "faces", "flips", "right before", "after", text_column("flips of decisions for it, to"))
    by_class = [
        (row.name, str(row.faces), str(row.flips), *_right(row), _targets(moved, classes))
        for row, moved in zip(found.classes, found.matrix, strict=True)
    ]
    clearest = sorted(found.flips, key=lambda flip: -flip.margin)[:SHOWN_FLIPS]
    by_face = [
        (
            f"{flip.name} (#{flip.position})",
            classes[flip.before],
            classes[flip.after],
            UNKNOWN if flip.label is None else classes[flip.label],
            f"{flip.margin:.3f}",
        )
        for flip in clearest
    ]
    faces = (*map(text_column, ("flipped face", "before", "after", "label")), Column("margin before"))
    return [
        table(title, columns, by_class, folded=True),
        table(f"Flipped faces with the clearest decisions: {step_name(step)}", faces, by_face, folded=True),
    ]


def paired_line(step: Step) -> str | None:
    """The accuracy difference with its interval and McNemar's test, where there are labels."""
    found = step.measured.decisions
    if found.difference is None or found.difference_low is None or found.difference_high is None:
        return None
    interval = f"[{points(found.difference_low)}, {points(found.difference_high)}]"
    return (
        f"accuracy {step.measured.accuracy_before:.2%} -> {step.measured.accuracy_after:.2%}: {points(found.difference)} points,"
        f" 95 % {interval}, McNemar p = {found.mcnemar_p:.2g}"
    )


def worst_line(step: Step) -> str:
    """The faces whose logits moved most."""
    worst = step.measured.decisions.worst
    return "logits moved most: " + ", ".join(
        f"{face.name} (#{face.position}, {face.max_abs_logit:.2g})" for face in worst
    )


def step_name(step: Step) -> str:
    """`torch -> rarn-s`; a file that both sides share is named once."""
    before, after = (name.replace(".onnx", "") for name in (step.measured.before, step.measured.after))
    (shared, _, how_before), (file, _, how_after) = before.partition(" "), after.partition(" ")
    return f"{before} -> {how_after if how_before and how_after and shared == file else after}"


def check_texts(check: Check) -> tuple[str, str]:
    """What was measured, and the tolerance with its direction; of a failed check with as many digits as tell the two apart."""
    for digits in range(_MOST_DIGITS):
        measured, limit = (_figure_text(value, check, digits) for value in (check.measured, check.allowed))
        if check.passed or measured != limit:
            break
    return measured, ("<= " if check.at_most else ">= ") + limit


def _figure_text(value: float, check: Check, digits: int = 0) -> str:
    """A measured or allowed value in the unit of its figure, with so many digits more than usual."""
    if check.figure is Figure.FINITE:
        return "yes" if value == 1.0 else "NO"
    if check.figure is Figure.AGREEMENT:
        return f"{value:.{2 + digits}%}"
    if check.figure is Figure.SQNR:
        return f"{value:.{1 + digits}f} dB"
    if check.figure is Figure.ACCURACY_LOST:
        return f"{100 * value:+.{2 + digits}f} points"
    return f"{value:.{2 + digits}g}"


def _figures(step: Step) -> tuple[str, ...]:
    found = step.measured
    return (
        f"{found.max_abs_logit:.1e}" if found.max_abs_logit else "0",
        f"{found.mean_abs_logit:.1e}" if found.mean_abs_logit else "0",
        "equal" if found.max_abs_logit == 0 else f"{found.snr_db:.1f}",
        f"{found.cosine:.4f}",
        f"{found.agreement:.2%}",
        str(len(found.decisions.flips)),
    )


def _right(row: ClassRow) -> tuple[str, str]:
    """Right decisions before and after, as counts of the class's faces."""
    if row.right_before is None or row.right_after is None:
        return UNKNOWN, UNKNOWN
    return str(row.right_before), str(row.right_after)


def _targets(moved: Sequence[int], classes: Sequence[str]) -> str:
    """`3 sad, 1 fear`: one row of the flip matrix."""
    found = sorted(((n, name) for n, name in zip(moved, classes, strict=True) if n), reverse=True)
    return ", ".join(f"{n} {name}" for n, name in found) or UNKNOWN
