"""FER-2013 as the challenge published it: one CSV row a face, 2,304 numbers in text.

`fer2013.csv`, `icml_face_data.csv` (other column order, blanks in the header), `train.csv` (no Usage), `test.csv` (no
labels). All number the classes angry, disgust, fear, happy, sad, surprise, neutral.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.faces import CSV_CLASSES, UNLABELLED, Faces, Split
from rarn_edge.errors import InputError

SIDE_PX = 48
_LABEL_OF_NUMBER = {str(number): CLASSES.index(name) for number, name in enumerate(CSV_CLASSES)}


def columns_of(path: Path) -> tuple[str, ...]:
    """The names in a CSV's header, in lower case."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        return tuple(name.strip().lower() for name in next(csv.reader(file), []))


def read_csv(path: Path) -> Faces:
    """Read any of the four CSV files; images are [N, 48, 48].

    Raises:
        InputError: no `pixels` column, no rows, or a row with a wrong pixel count, value, label or usage (row named).
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    splits: list[str] = []
    names: list[str] = []
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        columns = {name.strip().lower(): index for index, name in enumerate(next(rows, []))}
        if "pixels" not in columns:
            raise InputError(
                f"{path}: no column 'pixels' in the header ({', '.join(columns)[:80] or 'the file is empty'});"
                " expected emotion,pixels,Usage as in fer2013.csv, or file,label[,split]"
            )
        for row in rows:
            if not row:
                continue
            place = f"{path}, line {rows.line_num}"
            if len(row) != len(columns):
                raise InputError(f"{place}: {len(row)} columns, but the header has {len(columns)}")
            images.append(_pixels(row[columns["pixels"]], place))
            labels.append(_label(row[columns["emotion"]], place) if "emotion" in columns else UNLABELLED)
            splits.append(_split(row[columns["usage"]], place) if "usage" in columns else Split.UNSPLIT.value)
            names.append(f"{path.name}:{rows.line_num}")
    if not images:
        raise InputError(f"{path}: a header but no rows")
    return Faces(
        np.stack(images),
        np.array(labels, dtype=np.int64),
        np.array(splits),
        tuple(names),
        str(path),
    )


def _pixels(text: str, place: str) -> NDArray[np.uint8]:
    """[48, 48] uint8 from 2,304 numbers in text, parsed in C: several times faster than one int() a pixel."""
    text = text.strip()
    if text.encode("utf-8", "replace").translate(None, b"0123456789 "):  # anything left over is neither
        bad = next(word for word in text.split(" ") if word and not (word.isascii() and word.isdigit()))
        raise InputError(f"{place}: pixel value {bad[:20]!r} is not a whole number 0..255")
    values = np.fromstring(text, dtype=np.int64, sep=" ") if text else np.empty(0, dtype=np.int64)
    if len(values) != SIDE_PX * SIDE_PX:
        raise InputError(f"{place}: {len(values):,} pixels, expected {SIDE_PX * SIDE_PX:,} ({SIDE_PX}x{SIDE_PX})")
    if values.max() > 255:
        raise InputError(f"{place}: pixel value {values.max()} is not a whole number 0..255")
    return values.astype(np.uint8).reshape(SIDE_PX, SIDE_PX)


def _label(text: str, place: str) -> int:
    label = _LABEL_OF_NUMBER.get(text.strip())
    if label is None:
        numbered = ", ".join(f"{number} {name}" for number, name in enumerate(CSV_CLASSES))
        raise InputError(f"{place}: label '{text.strip()[:20]}' is none of {numbered}")
    return label


def _split(text: str, place: str) -> str:
    if text.strip() not in (Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST):
        raise InputError(f"{place}: usage '{text.strip()[:20]}' is none of Training, PublicTest, PrivateTest")
    return text.strip()
