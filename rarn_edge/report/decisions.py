"""What a step did to decisions, as terminal tables and as Markdown: pure functions."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from rarn_edge.parity.decisions import ClassRow
from rarn_edge.parity.steps import Step

SHOWN_FLIPS = 12


def telling_steps(steps: Sequence[Step]) -> list[Step]:
    """The steps whose decisions are worth a table: on faces, with a flip, and not a part of a longer step."""
    whole = [step for step in steps if step.measured.kind in ("int8", "float") and step.measured.inputs == "faces"]
    return [step for step in whole if step.flipped]


def decision_tables(step: Step, classes: Sequence[str]) -> list[Table]:
    """One row a class with its flips by target class, and the flipped faces with the clearest decisions before."""
    title = f"{len(step.flipped)} of {step.measured.images:,} decisions flipped: {step.measured.before} -> {step.measured.after}"
    table = Table(title=escape(title), box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("class")
    for column in ("faces", "flips", "right before", "after"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("flips of decisions for it, to", overflow="fold")
    for row, targets in zip(step.measured.decisions.classes, _targets(step, classes), strict=True):
        table.add_row(row.name, str(row.faces), str(row.flips), *_right(row), targets)
    faces = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("flipped face", "before", "after", "label"):
        faces.add_column(column, overflow="fold")
    faces.add_column("margin before", justify="right", no_wrap=True)
    for cells in flip_rows(step, classes):
        faces.add_row(*(escape(cell) for cell in cells))
    return [table, faces]


def paired_line(step: Step) -> str | None:
    """The accuracy difference with its interval and McNemar's test, where there are labels."""
    found = step.measured.decisions
    if found.difference is None or found.difference_low is None or found.difference_high is None:
        return None
    interval = f"[{found.difference_low * 100:+.2f}, {found.difference_high * 100:+.2f}]"
    return (
        f"accuracy {step.measured.accuracy_before:.2%} -> {step.measured.accuracy_after:.2%}:"
        f" {found.difference * 100:+.2f} points,"
        f" 95 % {interval}, McNemar p = {found.mcnemar_p:.2g}"
    )


def worst_line(step: Step) -> str:
    """The faces whose logits moved most."""
    worst = step.measured.decisions.worst
    return "logits moved most: " + ", ".join(
        f"{face.name} (#{face.position}, {face.max_abs_logit:.2g})" for face in worst
    )


def flip_rows(step: Step, classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Face, decision before and after, label and margin of the flips that were clearest before."""
    flips = sorted(step.measured.decisions.flips, key=lambda flip: -flip.margin)[:SHOWN_FLIPS]
    return [
        (
            f"{flip.name} (#{flip.position})",
            classes[flip.before],
            classes[flip.after],
            "-" if flip.label is None else classes[flip.label],
            f"{flip.margin:.3f}",
        )
        for flip in flips
    ]


def decisions_markdown(step: Step, classes: Sequence[str]) -> str:
    """The same as Markdown."""
    lines = [
        f"{len(step.flipped)} of {step.measured.images:,} decisions flipped: {step.measured.before} → {step.measured.after}",
        "",
        "| class | faces | flips | right before | after | flips of decisions for it, to |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row, targets in zip(step.measured.decisions.classes, _targets(step, classes), strict=True):
        lines.append(f"| {row.name} | {row.faces} | {row.flips} | {' | '.join(_right(row))} | {targets} |")
    lines += ["", "| flipped face | before | after | label | margin before |", "|---|---|---|---|--:|"]
    lines += [f"| {' | '.join(cells)} |" for cells in flip_rows(step, classes)]
    lines += ["", *(line for line in (paired_line(step), worst_line(step)) if line)]
    return "\n".join(lines)


def _right(row: ClassRow) -> tuple[str, str]:
    """Right decisions before and after, as counts of the class's faces."""
    if row.right_before is None or row.right_after is None:
        return "-", "-"
    return str(row.right_before), str(row.right_after)


def _targets(step: Step, classes: Sequence[str]) -> list[str]:
    """`3 sad, 1 fear`: one row of the flip matrix."""
    texts = []
    for row in step.measured.decisions.matrix:
        moved = sorted(((n, name) for n, name in zip(row, classes, strict=True) if n), reverse=True)
        texts.append(", ".join(f"{n} {name}" for n, name in moved) or "-")
    return texts
