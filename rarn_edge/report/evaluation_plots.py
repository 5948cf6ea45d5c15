"""What a model answers, drawn for a page: one face as a user sees it, the confusion matrix, the roll curve, its confidence."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

from rarn_edge.boundary.names import html_text
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.device.annotate import draw
from rarn_edge.device.boxes import Box, Face
from rarn_edge.device.classifier import Prediction
from rarn_edge.device.predict import FaceAnswer
from rarn_edge.evaluation.confidence import Confidence
from rarn_edge.evaluation.roll import Predict, RollPoint
from rarn_edge.report.drawing import ACCENT, INK, MARKERS, PAPER, QUIET, SECOND, Drawing, Plot
from rarn_edge.report.table import table
from rarn_edge.stats.classification import Evaluation, softmax

_SHOWN_FACE = 3  # of the drawn ones, which take the classes in turn: a happy one
_DEEPEST = 0.5  # of the accent colour: figures stay readable on it, in light and dark
_NAMED_CELLS = 12  # classes beyond which a cell is too small for a figure
_FEW_FACES = 10  # of a point that would show chance
Curves = Sequence[tuple[str, Sequence[RollPoint]]]
"""The roll curve of each model by its name."""


def face_plot(name: str, spec: ModelSpec, predict: Predict) -> Plot:
    """A drawn face as `predict --annotate` shows it, with the probability of every class."""
    faces = drawn_for(spec.preprocess, _SHOWN_FACE + 1, seed=0)
    pixels = faces.pixels[-1]  # [H, W] or [H, W, 3] in red, green, blue
    logits = predict(faces.images[_SHOWN_FACE:])
    chances = softmax(logits, spec.temperature)[0].tolist()
    best = int(np.argmax(chances))
    answer = Prediction(
        spec.classes[best], chances[best], False, spec.classes, tuple(chances), tuple(logits[0].tolist()), 0.0
    )
    whole = Face(Box(0, 0, pixels.shape[1], pixels.shape[0]))
    seen = draw(
        np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels, [FaceAnswer(whole, "crop", answer)]
    )
    png = base64.b64encode(cv2.imencode(".png", seen)[1].tobytes()).decode()
    meant = faces.classes[int(faces.labels[-1])]
    summary = (
        f"{name} says {answer.label}, {answer.confidence:.0%}, to a face drawn as {meant}. It shows what an answer looks like,"
        " not how good the model is: that was learnt from photographs."
    )
    order = sorted(range(len(chances)), key=lambda index: -chances[index])
    figures = table("Probabilities", ("class", "probability"), [(spec.classes[i], f"{chances[i]:.1%}") for i in order])
    image = f'<img src="data:image/png;base64,{png}" alt="{html_text(summary)}" width="384">'
    return Plot("What an answer looks like", summary, image, figures)


def confusion_plot(name: str, evaluation: Evaluation) -> Plot:
    """Which class is taken for which: the share of each row, deeper where it is larger."""
    names = [score.name for score in evaluation.classes]
    counts = np.array(evaluation.confusion)  # [true, decided]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawing = Drawing(4.1)
    axes = drawing.axes
    axes.grid(visible=False)
    for (row, column), share in np.ndenumerate(shares):
        axes.add_patch(_cell(column, row, float(share)))
        if len(names) <= _NAMED_CELLS and round(share * 100):
            axes.text(column, row, f"{share:.0%}", ha="center", va="center", color=INK, fontsize=7.5)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), xlabel="decided", ylabel="true")
    axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0)
    errors = counts * (1 - np.eye(len(names), dtype=counts.dtype))
    true, decided = np.unravel_index(int(errors.argmax()), errors.shape)
    most = f" Most often {names[true]} is taken for {names[decided]}: {errors[true, decided]:,} faces."
    summary = (
        f"{name}: {evaluation.accuracy:.1%} of {evaluation.images:,} decisions are right (95 %: {evaluation.accuracy_low:.1%} to"
        f" {evaluation.accuracy_high:.1%}).{most if errors.any() else ''} Shares of each row."
    )
    rows = [(label, *map(str, row)) for label, row in zip(names, counts.tolist(), strict=True)]
    return drawing.plot(
        "Which expression is taken for which", summary, table("Faces", ("true / decided", *names), rows)
    )


def _cell(column: int, row: int, share: float):  # type: ignore[no-untyped-def]  # matplotlib has no types here
    from matplotlib.patches import Rectangle

    place = (column - 0.48, row - 0.48)
    return Rectangle(place, 0.96, 0.96, facecolor=ACCENT, alpha=_DEEPEST * share, edgecolor="none")


def roll_plot(curves: Curves, faces: str) -> Plot:
    """What turning a face costs: accuracy at each angle, with its interval; the first curve is the judged model's."""
    drawing = Drawing(3.3)
    axes = drawing.axes
    degrees = [point.roll_deg for point in curves[0][1]]
    for index, (name, curve) in enumerate(curves):
        color = ACCENT if index == 0 else SECOND
        lows, highs = ([100 * getattr(point, f"accuracy_{end}") for point in curve] for end in ("low", "high"))
        axes.fill_between(degrees, lows, highs, color=color, alpha=0.18, linewidth=0)
        shown = [100 * point.accuracy for point in curve]
        axes.plot(
            degrees, shown, color=color, marker=MARKERS[index % len(MARKERS)], markersize=4, linewidth=1.2, label=name
        )
    axes.set(xlabel="roll, degrees", ylabel="accuracy, %", xticks=degrees[:: max(1, len(degrees) // 6)])
    axes.set_ylim(bottom=0)
    if len(curves) > 1:
        axes.legend(fontsize=8, frameon=False)
    name, curve = curves[0]
    upright = next((point.accuracy for point in curve if point.roll_deg == 0), curve[0].accuracy)
    near = [point.accuracy for point in curve if abs(point.roll_deg) == 30]
    tilted = f", {min(near):.1%} at 30 degrees on its worse side" if near else ""
    summary = f"{name} is right on {upright:.1%} of upright faces{tilted}. On {faces}; bands are 95 % intervals."
    columns = ("degrees", *(each for each, _ in curves))
    rows = [(f"{angle:+d}", *(f"{curve[i].accuracy:.1%}" for _, curve in curves)) for i, angle in enumerate(degrees)]
    return drawing.plot("What a turned head costs", summary, table("Accuracy against roll", columns, rows))


def confidence_plot(name: str, confidence: Confidence) -> Plot:
    """How often it is right where it says how sure it is."""
    drawing = Drawing(3.3)
    axes = drawing.axes
    axes.plot((0, 100), (0, 100), color=QUIET, linestyle="--", linewidth=1)
    filled = [each for each in confidence.bins if each.faces]
    drawn = [each for each in filled if each.faces >= _FEW_FACES]
    xs, ys = [100 * each.confidence for each in drawn], [100 * each.accuracy for each in drawn]
    axes.plot(xs, ys, color=ACCENT, marker="o", markersize=5, linewidth=1.2, markeredgecolor=PAPER)
    axes.set(xlabel="confidence, %", ylabel="right, %", xlim=(0, 100), ylim=(0, 100))
    summary = (
        f"{name} is off by {confidence.error:.1%} on average (calibration error, temperature {confidence.temperature:.2f})."
        f" On the dashed line, confidence is accuracy; points of fewer than {_FEW_FACES} faces are left out."
    )
    rows = [(f"{each.confidence:.1%}", f"{each.accuracy:.1%}", f"{each.faces:,}") for each in filled]
    columns = ("mean confidence", "right", "faces")
    return drawing.plot("Whether its confidence can be believed", summary, table("Confidence", columns, rows))
