"""What a worker of any engine does: score one unit, and write its part."""

import json
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np

from rarn_edge.boundary.names import printable
from rarn_edge.contract.preprocess import decode, fit
from rarn_edge.device.classifier import Classifier
from rarn_edge.errors import InputError
from rarn_edge.runtime.logits import BATCH, run_logits
from rarn_edge.score.parts import Done, Part, write_part
from rarn_edge.score.read import Content, read_unit
from rarn_edge.score.units import Unit
from rarn_edge.stats.classification import softmax


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


def score_unit(unit: Unit, job: Job) -> Done:
    """Score one unit and write its part: what runs in every worker of every engine."""
    classifier = _classifier(job.model, job.provider)
    spec = classifier.artifact.spec
    names: list[str] = []
    errors: list[str | None] = []
    answers = []
    pixels = np.zeros((BATCH, *spec.preprocess.picture_shape), dtype=np.uint8)
    waiting = 0

    def flush() -> None:
        nonlocal waiting
        if waiting:
            logits = run_logits(classifier._session, spec, pixels[:waiting], finite=False)
            answers.append(softmax(logits, spec.temperature))
        waiting = 0

    for name, content in read_unit(unit, job.column, Path(job.base)):
        names.append(printable(name))
        try:
            pixels[waiting] = fit(_decoded(content, name, job.max_pixels), spec.preprocess)
            errors.append(None)
        except InputError as error:
            errors.append(printable(str(error).removeprefix(f"{name}: ").splitlines()[0]))
            continue
        waiting += 1
        if waiting == BATCH:
            flush()
    flush()
    probabilities = np.full((len(names), len(spec.classes)), np.nan, dtype=np.float32)
    good = np.array([error is None for error in errors], dtype=np.bool_)
    if answers:
        probabilities[good] = np.concatenate(answers)
        for row in np.flatnonzero(good & ~np.isfinite(probabilities).all(axis=1)).tolist():
            probabilities[row], errors[row] = np.nan, "the model's answer is not a finite number"
    return write_part(Path(job.parts), job.suffix, unit, Part(names, probabilities, errors), spec.classes)


def _decoded(content: Content, name: str, max_pixels: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    if isinstance(content, InputError):
        raise content
    return decode(content, name, max_pixels)


@lru_cache(maxsize=1)
def _classifier(model: str, provider: str) -> Classifier:
    return Classifier(model, provider=provider, threads=1)


def unit_to_json(unit: Unit) -> str:
    """For engines that move text between machines."""
    return json.dumps(asdict(unit))


def unit_from_json(text: str) -> Unit:
    data = json.loads(text)
    offsets = tuple(cast("tuple[int, int]", tuple(place)) for place in data.pop("offsets"))
    return Unit(names=tuple(data.pop("names")), offsets=offsets, **data)
