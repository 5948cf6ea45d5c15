"""The table that `score` writes: its columns, a row for each image or each face, and both as Parquet or CSV."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.names import csv_row
from rarn_edge.device.boxes import Face
from rarn_edge.errors import require_extra

Kind = Literal["text", "count", "pixels", "chance"]
Cell = str | int | float | None


@dataclass(frozen=True)
class Row:
    """One image, or one face of a photograph."""

    image: str
    error: str | None = None  # why the image has no answer
    notice: str | None = None  # what was left out of it
    faces: int | None = None  # found in the photograph; None: not searched
    face: int | None = None  # the number of this one, from 0; None: the photograph has none
    found: Face | None = None


@dataclass(frozen=True)
class Part:
    """The rows of one unit, and [rows, classes] probabilities, NaN in a row without an answer."""

    rows: Sequence[Row]
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Which columns there are: with `photos`, those that say where in its photograph a face is."""

    classes: tuple[str, ...]
    photos: bool = False

    @property
    def columns(self) -> dict[str, Kind]:
        """Name and kind of each column, in order."""
        place: dict[str, Kind] = {}
        if self.photos:
            place = {
                "faces": "count", "face": "count", "x_px": "pixels", "y_px": "pixels", "width_px": "pixels",
                "height_px": "pixels", "roll_deg": "pixels", "detector_score": "pixels",
            }  # fmt: skip
        chances: dict[str, Kind] = {f"p_{name}": "chance" for name in self.classes}
        texts: dict[str, Kind] = {"error": "text", "notice": "text"}
        return {"image": "text", **place, "label": "text", "confidence": "chance", **chances, **texts}

    def cells(self, part: Part) -> dict[str, Sequence[Any]]:
        """The cells of each column, None where there is nothing to say."""
        best = np.nan_to_num(part.probabilities, nan=-1.0).argmax(axis=1)
        answered: list[bool] = np.isfinite(part.probabilities[:, 0]).tolist()
        confidence = part.probabilities[np.arange(len(best)), best]
        labels = [self.classes[top] if known else None for top, known in zip(best, answered, strict=True)]
        cells: dict[str, Sequence[Any]] = {
            "image": [row.image for row in part.rows],
            "label": labels,
            "confidence": _or_none(confidence),
            "error": [row.error for row in part.rows],
            "notice": [row.notice for row in part.rows],
            **{f"p_{name}": _or_none(part.probabilities[:, index]) for index, name in enumerate(self.classes)},
        }
        if self.photos:
            cells |= {"faces": [row.faces for row in part.rows], "face": [row.face for row in part.rows]}
            cells |= {name: [_place(row.found)[name] for row in part.rows] for name in _place(None)}
        return cells

    def schema(self) -> Any:
        """As pyarrow's."""
        pyarrow = require_extra("pyarrow", "score")
        number = pyarrow.float32()
        kinds = {"text": pyarrow.string(), "count": pyarrow.int32(), "pixels": number, "chance": number}
        return pyarrow.schema([(name, kinds[kind]) for name, kind in self.columns.items()])

    def write_parquet(self, path: Path, part: Part) -> None:
        """The rows as a file of their own."""
        pyarrow = require_extra("pyarrow", "score")
        parquet = require_extra("pyarrow.parquet", "score")
        cells = self.cells(part)
        table = pyarrow.table([cells[name] for name in self.columns], schema=self.schema())
        parquet.write_table(table, path, compression="zstd")

    def write_csv(self, path: Path, part: Part) -> None:
        """The rows, without a header."""
        cells = self.cells(part)
        texts = [[_text(cell, kind) for cell in cells[name]] for name, kind in self.columns.items()]
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerows(csv_row(row) for row in zip(*texts, strict=True))


def _or_none(values: NDArray[np.float32]) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


def _place(face: Face | None) -> dict[str, float | None]:
    """Where a face is, by column."""
    if face is None:
        return dict.fromkeys(("x_px", "y_px", "width_px", "height_px", "roll_deg", "detector_score"))
    box = face.box
    sides = {"x_px": box.x_px, "y_px": box.y_px, "width_px": box.width_px, "height_px": box.height_px}
    return {**sides, "roll_deg": face.roll_deg, "detector_score": face.score}


def _text(cell: Cell, kind: Kind) -> Cell:
    if cell is None or kind in ("text", "count"):
        return cell
    return f"{cell:.6f}" if kind == "chance" else f"{cell:g}"
