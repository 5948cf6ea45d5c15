"""A judgement as files: JSON for programs, CSV for spreadsheets, PNG for eyes. No face is ever drawn."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rarn_edge.boundary.documents import to_json
from rarn_edge.errors import require_extra
from rarn_edge.evaluation.judge import Judgement
from rarn_edge.evaluation.roll import RollPoint
from rarn_edge.files import atomic, make_folder, write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_PLOTS = ("per_class", "confusion", "roll", "confidence", "labels", "intensity")
REPORT_FILES = ("report.json", *(f"{name}.{end}" for name in _PLOTS for end in ("csv", "png")))
"""What is written into the folder of a report."""


def write_judgement(judgement: Judgement, folder: Path) -> tuple[Path, ...]:
    """Write every file into `folder` and return their paths.

    Raises:
        InputError: the folder cannot be written, or matplotlib is not installed.
    """
    figure_module = require_extra("matplotlib.figure", "train")
    make_folder(folder)
    evaluation = judgement.evaluation
    names = [score.name for score in evaluation.classes]
    write_text(folder / "report.json", to_json(judgement.to_dict(), indent=1) + "\n")
    _write_csv(folder / "per_class.csv", [asdict(score) for score in evaluation.classes])
    counts = ({"true": name, **dict(zip(names, row, strict=True))} for name, row in _confusion_rows(judgement))
    _write_csv(folder / "confusion.csv", counts)
    _write_csv(
        folder / "roll.csv", ({"model": m, **asdict(point)} for m, curve in _rolls(judgement) for point in curve)
    )
    bins = {"as_is": judgement.confidence.bins, "scaled": judgement.confidence.bins_scaled}
    _write_csv(folder / "confidence.csv", ({"form": k, **asdict(entry)} for k, v in bins.items() for entry in v))
    _write_csv(folder / "labels.csv", ({"faces": entry.name, **entry.labels} for entry in judgement.data))
    shades = ({"value": v, **{e.name: e.intensities[v] for e in judgement.data}} for v in range(256))
    _write_csv(folder / "intensity.csv", shades)
    plots = {
        "per_class": _per_class,
        "confusion": _confusion,
        "roll": _roll,
        "confidence": _confidence,
        "labels": _labels,
        "intensity": _intensity,
    }
    for name, draw in plots.items():
        figure = figure_module.Figure(
            figsize=(6.4, 4.8), layout="constrained"
        )  # no pyplot: no global state, no display
        draw(figure, judgement)
        with atomic(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    return tuple(folder / name for name in REPORT_FILES)


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def _confusion_rows(judgement: Judgement) -> list[tuple[str, Sequence[int]]]:
    evaluation = judgement.evaluation
    return [(score.name, row) for score, row in zip(evaluation.classes, evaluation.confusion, strict=True)]


def _rolls(judgement: Judgement) -> list[tuple[str, tuple[RollPoint, ...]]]:
    return [(judgement.model, judgement.roll), *((rival.model, rival.roll) for rival in judgement.against)]


def _per_class(figure: "Figure", judgement: Judgement) -> None:
    """The paper's Figure 8: precision, recall and F1 of each class."""
    axes = figure.subplots()
    scores = judgement.evaluation.classes
    place = np.arange(len(scores))
    for offset, name in zip((-0.27, 0.0, 0.27), ("precision", "recall", "f1"), strict=True):
        axes.bar(place + offset, [getattr(score, name) for score in scores], 0.25, label=name)
    axes.set_xticks(place, [f"{score.name}\n{score.support}" for score in scores])
    axes.set(ylim=(0, 1), title=f"{judgement.model}: per class, with the number of faces")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(ncols=3, loc="upper center")


def _confusion(figure: "Figure", judgement: Judgement) -> None:
    axes = figure.subplots()
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


def _roll(figure: "Figure", judgement: Judgement) -> None:
    axes = figure.subplots()
    degrees = [point.roll_deg for point in judgement.roll]
    for model, curve in _rolls(judgement):
        axes.plot(degrees, [point.accuracy for point in curve], marker="o", label=model)
        lows, highs = ([getattr(p, f"accuracy_{end}") for p in curve] for end in ("low", "high"))
        axes.fill_between(degrees, lows, highs, alpha=0.2)
    axes.set(xlabel="roll, degrees", ylabel="accuracy", title="Accuracy against roll, 95 % interval", xticks=degrees)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _labels(figure: "Figure", judgement: Judgement) -> None:
    """The paper's Figure 6: how often each class occurs, as a share, because the sets differ in size."""
    axes = figure.subplots()
    width = 0.8 / len(judgement.data)
    for index, entry in enumerate(judgement.data):
        total = max(sum(entry.labels.values()), 1)
        place = np.arange(len(entry.labels)) + index * width
        axes.bar(
            place, [count / total for count in entry.labels.values()], width, label=f"{entry.name}, {total:,} faces"
        )
    axes.set_xticks(np.arange(len(entry.labels)) + width * (len(judgement.data) - 1) / 2, list(entry.labels))
    axes.set(ylabel="share of the faces", title="Labels")
    axes.grid(axis="y", alpha=0.3)
    axes.legend()


def _intensity(figure: "Figure", judgement: Judgement) -> None:
    """The paper's Figure 5 without its sample picture: how often each pixel value occurs."""
    axes = figure.subplots()
    for entry in judgement.data:
        counts = np.array(entry.intensities)
        axes.step(range(256), counts / counts.sum(), where="mid", label=entry.name)
    axes.set(xlabel="pixel value", ylabel="share of the pixels", title="Intensity", xlim=(0, 255))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()


def _confidence(figure: "Figure", judgement: Judgement) -> None:
    confidence = judgement.confidence
    forms = (
        (f"as it is (T = {confidence.temperature:.2f}), error {confidence.error:.1%}", confidence.bins),
        (
            f"scaled (T = {confidence.fitted_temperature:.2f}), error {confidence.error_scaled:.1%}",
            confidence.bins_scaled,
        ),
    )
    axes: Axes = figure.subplots()
    axes.plot((0, 1), (0, 1), color="grey", linestyle="--", label="confidence = accuracy")
    for label, bins in forms:
        filled = [entry for entry in bins if entry.faces]
        axes.plot([b.confidence for b in filled], [b.accuracy for b in filled], marker="o", label=label)
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=f"{judgement.model}: confidence")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left", fontsize=8)
