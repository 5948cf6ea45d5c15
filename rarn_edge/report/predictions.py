"""Predictions as text: one line, one CSV row or one JSON object a face, so that a stream of any length needs no memory."""

from typing import Any

from rarn_edge.device.faces import box_text
from rarn_edge.device.predict import Answered, FaceAnswer


def json_objects(answered: Answered) -> list[dict[str, Any]]:
    """One object a face; a picture without faces, or without pixels, is one with `label` null."""
    picture = answered.picture
    place = {"source": picture.source, "frame": picture.frame, "time_s": picture.time_s, "error": picture.error}
    if answered.faces:
        return [{**place, "face": index, **face.to_dict()} for index, face in enumerate(answered.faces)]
    return [] if _skipped(answered) else [{**place, "face": None, "label": None}]


def csv_header(classes: tuple[str, ...]) -> list[str]:
    """The columns of `csv_rows`."""
    place = ["source", "frame", "time_s", "face", "track", "x_px", "y_px", "width_px", "height_px", "box_from"]
    return [*place, "label", "confidence", "abstained", *(f"p_{name}" for name in classes), "error"]


def csv_rows(answered: Answered, classes: tuple[str, ...]) -> list[list[object]]:
    """As `json_objects`, in the order of `csv_header`."""
    picture = answered.picture
    place: list[object] = [picture.source, picture.frame, _seconds(picture.time_s)]
    if not answered.faces:
        empty: list[object] = [""] * (10 + len(classes))
        return [] if _skipped(answered) else [[*place, *empty, picture.error]]
    return [[*place, index, *_csv_face(face), ""] for index, face in enumerate(answered.faces)]


def _csv_face(face: FaceAnswer) -> list[object]:
    box, prediction = face.face.box, face.prediction
    values: list[object] = [face.track, *(f"{v:g}" for v in (box.x_px, box.y_px, box.width_px, box.height_px))]
    answer = [prediction.label, f"{prediction.confidence:.6f}", int(prediction.abstained)]
    return [*values, face.origin, *answer, *(f"{chance:.6f}" for chance in prediction.probabilities)]


TABLE_HEADER = f"{'label':<10} {'conf.':>6}  {'second':<26}{'where':<30} source"


def table_lines(answered: Answered) -> list[str]:
    """One line a face, made to be read in a terminal."""
    picture = answered.picture
    moment = "" if picture.time_s is None else f" frame {picture.frame} ({picture.time_s:.2f} s)"
    if not answered.faces:
        nothing = "-" if picture.error is None else "failed"
        found = "no face found" if picture.error is None else ""
        return [] if _skipped(answered) else [f"{nothing:<10} {'':>6}  {'':<26}{found:<30} {picture.source}"]
    lines = []
    for answer in answered.faces:
        prediction = answer.prediction
        others = [
            pair
            for pair in zip(prediction.probabilities, prediction.classes, strict=True)
            if pair[1] != prediction.label
        ]
        chance, name = max(others, key=lambda pair: pair[0])
        second = f"{name} {chance:.0%}"
        label = f"{prediction.label}?" if prediction.abstained else prediction.label
        where = "whole image" if answer.origin == "crop" else box_text(answer.face.box)
        number = f" #{answer.track}" if answer.track is not None else ""
        confidence = f"{prediction.confidence:.0%}"
        lines.append(f"{label:<10} {confidence:>6}  {second:<26}{where + number:<30} {picture.source}{moment}")
    return lines


def _skipped(answered: Answered) -> bool:
    """Nothing to say: a frame of a video without a face, or one that was not looked at."""
    return answered.picture.frame is not None and answered.picture.error is None


def _seconds(time_s: float | None) -> str:
    return "" if time_s is None else f"{time_s:.3f}"
