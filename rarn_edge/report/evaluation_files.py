"""A judgement as files: JSON for programs, CSV for spreadsheets, a page and PNG for eyes. No face is ever drawn."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from rarn_edge.boundary.documents import to_json
from rarn_edge.boundary.names import csv_row, plain_plot_text
from rarn_edge.evaluation.judge import Judgement
from rarn_edge.evaluation.roll import RollPoint
from rarn_edge.report.drawing import Plot
from rarn_edge.report.page import evaluation_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_PLOTS = ("per_class", "confusion", "roll", "confidence", "labels", "intensity")
REPORT_FILES = ("report.json", "index.html", *(f"{name}.{end}" for name in _PLOTS for end in ("csv", "png")))
"""What is written into the folder of a report."""


def judgement_files(judgement: Judgement, face: Plot | None = None) -> dict[str, bytes]:
    """The content of every file by its name; the caller writes them into a folder of its own. `face` is for the page.

    Raises:
        InputError: matplotlib or Jinja2 is not installed.
    """
    page = evaluation_page(judgement, face)
    evaluation = judgement.evaluation
    names = [score.name for score in evaluation.classes]
    confusion: list[list[Any]] = [["true", *names], *([name, *row] for name, row in _confusion_rows(judgement))]
    labels: list[list[Any]] = [
        ["faces", *names],
        *([e.name, *(e.labels.get(name, 0) for name in names)] for e in judgement.data),
    ]
    bins = {"as_is": judgement.confidence.bins, "scaled": judgement.confidence.bins_scaled}
    rows: dict[str, list[list[Any]]] = {
        "per_class": _keyed(asdict(score) for score in evaluation.classes),
        "confusion": confusion,
        "roll": _keyed({"model": m, **asdict(point)} for m, curve in _rolls(judgement) for point in curve),
        "confidence": _keyed({"form": k, **asdict(entry)} for k, v in bins.items() for entry in v),
        "labels": labels,
        "intensity": _keyed({"value": v, **{e.name: e.intensities[v] for e in judgement.data}} for v in range(256)),
    }
    plots = {
        "per_class": _per_class,
        "confusion": _confusion,
        "roll": _roll,
        "confidence": _confidence,
        "labels": _labels,
        "intensity": _intensity,
    }
    files = {"index.html": page.encode(), "report.json": (to_json(judgement.to_dict(), indent=1) + "\n").encode()}
    for name, draw in plots.items():
        with plain_plot_text():
            files |= {f"{name}.csv": _csv(rows[name]), f"{name}.png": _drawn(draw, judgement)}
    return files


def _drawn(draw: "Callable[[Axes, Judgement], None]", judgement: Judgement) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")  # no pyplot: no global state, no display
    axes = figure.subplots()
    draw(axes, judgement)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
        axes.grid(axis="y", alpha=0.3)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=120)
    return png.getvalue()


def _keyed(rows: Iterable[dict[str, Any]]) -> list[list[Any]]:
    """A header and the values below it."""
    rows = list(rows)
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def _csv(rows: list[list[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(map(csv_row, rows))
    return text.getvalue().encode()


def _confusion_rows(judgement: Judgement) -> list[tuple[str, Sequence[int]]]:
    evaluation = judgement.evaluation
    return [(score.name, row) for score, row in zip(evaluation.classes, evaluation.confusion, strict=True)]


def _rolls(judgement: Judgement) -> list[tuple[str, tuple[RollPoint, ...]]]:
    return [(judgement.model, judgement.roll), *((rival.model, rival.roll) for rival in judgement.against)]


def _per_class(axes: "Axes", judgement: Judgement) -> None:
    """The paper's Figure 8: precision, recall and F1 of each class."""
    scores = judgement.evaluation.classes
    place = np.arange(len(scores))
    for offset, name in zip((-0.27, 0.0, 0.27), ("precision", "recall", "f1"), strict=True):
        axes.bar(place + offset, [getattr(score, name) for score in scores], 0.25, label=name)
    axes.set_xticks(place, [f"{score.name}\n{score.support}" for score in scores])
    axes.set(ylim=(0, 1.15), title=f"{judgement.model}: per class, with the number of faces")


def _confusion(axes: "Axes", judgement: Judgement) -> None:
    names = [name for name, _ in _confusion_rows(judgement)]
    counts = np.array(judgement.evaluation.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(
            column, row, f"{share:.0%}\n{counts[row, column]}", ha="center", va="center", color=colour, fontsize=7
        )
    axes.set_xticks(range(len(names)), names, rotation=45)
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="decided", ylabel="true", title=f"{judgement.model}: confusion, share of each row")


def _roll(axes: "Axes", judgement: Judgement) -> None:
    degrees = [point.roll_deg for point in judgement.roll]
    for model, curve in _rolls(judgement):
        axes.plot(degrees, [point.accuracy for point in curve], marker="o", label=model)
        lows, highs = ([getattr(p, f"accuracy_{end}") for p in curve] for end in ("low", "high"))
        axes.fill_between(degrees, lows, highs, alpha=0.2)
    axes.set(xlabel="roll, degrees", ylabel="accuracy", title="Accuracy against roll, 95 % interval", xticks=degrees)
    axes.set_ylim(bottom=0)


def _labels(axes: "Axes", judgement: Judgement) -> None:
    """The paper's Figure 6: how often each class occurs, as a share, because the sets differ in size."""
    width = 0.8 / len(judgement.data)
    for index, entry in enumerate(judgement.data):
        total = max(sum(entry.labels.values()), 1)
        place = np.arange(len(entry.labels)) + index * width
        axes.bar(
            place, [count / total for count in entry.labels.values()], width, label=f"{entry.name}, {total:,} faces"
        )
    axes.set_xticks(np.arange(len(entry.labels)) + width * (len(judgement.data) - 1) / 2, list(entry.labels))
    axes.set(ylabel="share of the faces", title="Labels")


def _intensity(axes: "Axes", judgement: Judgement) -> None:
    """The paper's Figure 5 without its sample picture: how often each pixel value occurs."""
    for entry in judgement.data:
        counts = np.array(entry.intensities)
        axes.step(range(256), counts / counts.sum(), where="mid", label=entry.name)
    axes.set(xlabel="pixel value", ylabel="share of the pixels", title="Intensity", xlim=(0, 255))
    axes.set_ylim(bottom=0)


def _confidence(axes: "Axes", judgement: Judgement) -> None:
    confidence = judgement.confidence
    forms = (
        (f"as it is (T = {confidence.temperature:.2f}), error {confidence.error:.1%}", confidence.bins),
        (
            f"scaled (T = {confidence.fitted_temperature:.2f}), error {confidence.error_scaled:.1%}",
            confidence.bins_scaled,
        ),
    )
    axes.plot((0, 1), (0, 1), color="grey", linestyle="--", label="confidence = accuracy")
    for label, bins in forms:
        filled = [entry for entry in bins if entry.faces]
        axes.plot([b.confidence for b in filled], [b.accuracy for b in filled], marker="o", label=label)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"{judgement.model}: confidence")
