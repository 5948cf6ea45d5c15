"""FER-2013 as the challenge published it: one CSV row a face, 2,304 numbers in text.

`fer2013.csv`, `icml_face_data.csv` (other column order, blanks in the header), `train.csv` (no Usage), `test.csv` (no
labels). All number the classes angry, disgust, fear, happy, sad, surprise, neutral.
"""

import csv
from collections.abc import Iterator
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


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row of a CSV with its line number: what stands in which column, names in lower case; empty lines are passed over.

    Raises:
        InputError: a row of another length than the header, or no rows at all.
    """
    columns, found = columns_of(path), False
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        next(rows, None)
        for row in rows:
            if not row:
                continue
            if len(row) != len(columns):
                raise InputError(f"{path}, line {rows.line_num}: {len(row)} columns, but the header has {len(columns)}")
            found = True
            yield rows.line_num, dict(zip(columns, row, strict=True))
    if not found:
        raise InputError(f"{path}: a header but no rows")


def read_csv(path: Path) -> Faces:
    """Read any of the four CSV files; images are [N, 48, 48].

    Raises:
        InputError: no `pixels` column, no rows, or a row with a wrong pixel count, value, label or usage (row named).
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    splits: list[str] = []
    names: list[str] = []
    columns = columns_of(path)
    if "pixels" not in columns:
        raise InputError(
            f"{path}: no column 'pixels' in the header ({', '.join(columns)[:80] or 'the file is empty'});"
            " expected emotion,pixels,Usage as in fer2013.csv, or file,label[,split]"
        )
    for line, row in rows_of(path):
        place = f"{path}, line {line}"
        images.append(_pixels(row["pixels"], place))
        labels.append(_label(row["emotion"], place) if "emotion" in row else UNLABELLED)
        splits.append(_split(row["usage"], place) if "usage" in row else Split.UNSPLIT.value)
        names.append(f"{path.name}:{line}")
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
