"""Soft targets of teachers, made once: a student's epoch then costs no teacher pass (Hinton 2015, arXiv:1503.02531).

A teacher is a file of weights, or a file of answers that somebody else's teacher gave (`export/teachers`), keyed by the name
of each image. Live teachers, whose answers are not kept, are in step.py.
"""

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rarn_edge.contract.spec import FER2013, LABEL_CLASSES, Preprocess
from rarn_edge.data import Faces
from rarn_edge.data.stream import Streamed
from rarn_edge.errors import InputError
from rarn_edge.files import atomic, check_output, file_sha256
from rarn_edge.train.checkpoint import Weights
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.workers import placed

SHIFT_PX = 2
SHIFTS: tuple[tuple[int, int], ...] = ((0, 0), (SHIFT_PX, 0), (-SHIFT_PX, 0), (0, SHIFT_PX), (0, -SHIFT_PX))
VIEWS = 2 * len(SHIFTS)  # each also mirrored
CPU = torch.device("cpu")
LEAST_SHARE = 1e-6  # an answer of nothing at all would have no logarithm


@dataclass(frozen=True)
class SoftTargets:
    """What the teachers answered for each training face, averaged over teachers and views.

    log_probabilities: [N, outputs] float32 in the order of the student's classes.
    """

    log_probabilities: NDArray[np.float32]
    teachers: tuple[str, ...]  # sha256 of each teacher's weights
    views: int  # of each face that was answered about; 0: kept answers of files, which tell it
    faces_sha256: str


def softened(log_probabilities: Tensor, temperature: float, heads: tuple[int, ...]) -> Tensor:
    """[N, outputs] logarithms -> [N, outputs] probabilities at that temperature, each head's summing to one."""
    parts = torch.split(log_probabilities / temperature, list(heads), dim=1)
    return torch.cat([F.softmax(part, dim=1) for part in parts], dim=1)


def soft_targets(
    teachers: Sequence[Weights],
    faces: Faces,
    faces_sha256: str,
    cache: Path,
    views: int = VIEWS,
    on_view: Callable[[int, int], None] | None = None,
    precision: TrainingPrecision = TrainingPrecision.FLOAT32,
    device: torch.device = CPU,
    files: Sequence[Path] = (),
    label_source: str = FER2013,
) -> SoftTargets:
    """The teachers' answers for `faces`: those of a teacher that `cache` holds are read from it, the others made and added to it.

    Answers that are made have the run's `precision`, on its `device`; those read are taken as they are. `on_view(done, total)`
    is called after each pass over the faces. A teacher's answers are saved when all its passes are done. `files` are answers
    that were given elsewhere, of which the part about `label_source` counts.

    Raises:
        InputError: a teacher with other classes, an unreadable cache, one made for other faces or views, or a file of answers
            that lacks faces or these labels.
    """
    check_classes(teachers, faces.classes)
    given = [read_answers(file, faces, label_source) for file in files]
    answers = _read(cache, views, faces_sha256) if cache.exists() else {}
    missing = [teacher for teacher in teachers if teacher.sha256 not in answers]
    passes = len(missing) * views
    if missing:
        check_output(cache)
    for number, teacher in enumerate(missing):
        model = placed(teacher.model(), device)

        def told(done: int, before: int = number * views) -> None:
            if on_view is not None:
                on_view(before + done, passes)

        with precision.autocast(device.type):
            own = averaged_answers(model, teacher.spec.preprocess, faces, (len(faces.classes),), views, told)
        if cache.exists():  # another run may have added to it meanwhile
            answers |= _read(cache, views, faces_sha256)
        answers[teacher.sha256] = own
        _write(cache, answers, views, faces_sha256)
    made_from = tuple(teacher.sha256 for teacher in teachers)
    known = (*made_from, *(file_sha256(file) for file in files))
    made_views = views if made_from else 0  # of kept answers their own files tell
    logs = _log_mean([*(answers[sha256] for sha256 in made_from), *given])
    return SoftTargets(logs, known, made_views, faces_sha256)


def mean_answers(faces: Faces, faces_sha256: str, files: Sequence[Path], label_sources: Sequence[str]) -> SoftTargets:
    """What the teachers of several files say of `faces`, for each label set side by side: the mean of those that know it.

    Raises:
        InputError: a file of answers that lacks faces, or a label set that none of them knows.
    """
    parts = []
    for source in label_sources:
        knowing = [file for file in files if source in answered_labels(file)]
        knowing = knowing or list(files)  # none does: the first then says what it has
        parts.append(_log_mean([read_answers(file, faces, source) for file in knowing]))
    known = tuple(file_sha256(file) for file in files)
    return SoftTargets(np.concatenate(parts, axis=1), known, 0, faces_sha256)


def _log_mean(shares: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The logarithm of the mean of several teachers' probabilities, each [N, classes]."""
    return np.log(np.maximum(np.mean(shares, axis=0, dtype=np.float64), LEAST_SHARE)).astype(np.float32)


def check_classes(teachers: Sequence[Weights], classes: tuple[str, ...]) -> None:
    """Raises InputError for a teacher with other classes, or the same in another order."""
    for teacher in teachers:
        if teacher.spec.classes != classes:
            raise InputError(f"the teacher '{teacher.spec.name}' has other classes: {', '.join(teacher.spec.classes)}")


def view_of(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """View 0 is the image, 1 its mirror image, 2 and 3 the same shifted by `SHIFT_PX`, and so on: as [N, H, W, ...]."""
    shift_x, shift_y = SHIFTS[view // 2]
    sides = (SHIFT_PX, SHIFT_PX)
    padded = np.pad(images, ((0, 0), sides, sides, *((0, 0),) * (images.ndim - 3)), mode="edge")
    height, width = images.shape[1:3]
    top, left = SHIFT_PX - shift_y, SHIFT_PX - shift_x
    shifted = padded[:, top : top + height, left : left + width]
    return np.ascontiguousarray(shifted[:, :, ::-1] if view % 2 else shifted)


Answers = dict[str, NDArray[np.float32]]
"""By the sha256 of a teacher's weights: its probabilities [N, classes], averaged over views."""


def _write(path: Path, answers: Answers, views: int, faces_sha256: str) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        contents: dict[str, Any] = {_TEACHER + sha256: answer for sha256, answer in answers.items()}
        np.savez(file, views=np.array(views), faces_sha256=np.array(faces_sha256), **contents)


def _read(path: Path, views: int, faces_sha256: str) -> Answers:
    """What the file holds of any teacher, for these faces and that many views."""
    try:
        with np.load(path, allow_pickle=False) as content:
            found = (int(content["views"]), str(content["faces_sha256"]))
            answers = {key.removeprefix(_TEACHER): content[key] for key in content if key.startswith(_TEACHER)}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: does not hold teachers' answers ({error}); name another file") from error
    if found != (views, faces_sha256):
        raise InputError(f"{path}: made for other faces or with {found[0]} views instead of {views}; name another file")
    return answers


_TEACHER = "teacher-"


def averaged_answers(
    model: nn.Module,
    preprocess: Preprocess,
    faces: Faces,
    heads: tuple[int, ...],
    views: int = VIEWS,
    on_view: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """What a model in evaluation mode says of `faces`: probabilities [N, outputs], the mean over the first `views`.

    `on_view(done)` is called after each pass over the faces.
    """
    if isinstance(faces.images, Streamed):
        raise InputError(
            f"{faces.source}: {len(faces):,} images are too many to keep in memory for a teacher's answers;"
            " choose a recipe that asks teachers about each batch (--recipe edge-patient)"
        )
    total = torch.zeros(len(faces), sum(heads), dtype=torch.float64)
    for view in range(views):
        logits = torch.from_numpy(torch_logits(model, preprocess, view_of(faces.images, view)))
        total += softened(logits.double(), 1.0, heads)
        if on_view is not None:
            on_view(view + 1)
    return np.asarray((total / views).float().numpy())


def write_answers(path: Path, faces: Faces, answers: dict[str, NDArray[np.float32]], about: dict[str, Any]) -> None:
    """Write one teacher's answers [N, classes] for each label set, float16 of seven significant bits, with the images' names."""
    with atomic(path) as temporary, temporary.open("wb") as file:
        contents = {source: _rounded(shares) for source, shares in answers.items()}
        np.savez_compressed(
            file, allow_pickle=False, files=np.array(faces.names), about=np.array(json.dumps(about)), **contents
        )


def answered_labels(path: Path) -> tuple[str, ...]:
    """The label sets that a file of answers is about.

    Raises:
        InputError: no such file, or another form.
    """
    with _opened(path) as content:
        return tuple(source for source in LABEL_CLASSES if source in content)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file of answers; raises InputError where there is none, or what is read from it has another form."""
    if not path.is_file():
        raise InputError(f"{path}: no such file of teachers' answers")
    try:
        with np.load(path, allow_pickle=False) as content:
            if any(key.startswith(_TEACHER) for key in content):
                raise InputError(
                    f"{path}: holds answers that a run kept; give its teachers' weights as --teacher and this file as"
                    " --teacher-answers"
                )
            yield content
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: does not hold a teacher's answers ({error}); name another file") from error


def read_answers(path: Path, faces: Faces, label_source: str) -> NDArray[np.float32]:
    """The probabilities [N, classes] that a file of answers has for `faces`, found by their names.

    Raises:
        InputError: no such file, another form, no answers for these labels, or faces that it does not know.
    """
    with _opened(path) as content:
        names = content["files"].tolist()
        if label_source not in content:
            kept = ", ".join(name for name in LABEL_CLASSES if name in content) or "none known"
            raise InputError(f"{path}: has no answers for the labels '{label_source}'; it has: {kept}")
        answers = content[label_source].astype(np.float32)
    if answers.shape != (len(names), len(LABEL_CLASSES[label_source])):
        raise InputError(f"{path}: has answers of shape {answers.shape} for {len(names):,} images; name another file")
    row_of = {name: row for row, name in enumerate(names)}
    missing = [name for name in faces.names if name not in row_of]
    if missing:
        row_wise = len(missing) == len(faces) and re.search(r"\.csv:\d+$", missing[0]) is not None
        reason = (
            "answers go by file names: give the faces as a zip or folder" if row_wise else "it was made for other faces"
        )
        raise InputError(
            f"{path}: has no answers for {len(missing):,} of {len(faces):,} faces ('{missing[0]}'); {reason}"
        )
    shares = answers[[row_of[name] for name in faces.names]]
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)


def _rounded(shares: NDArray[np.float32]) -> NDArray[np.float16]:
    """To seven significant bits: what a label's noise leaves of a teacher's answer, and half the size when compressed."""
    mantissa, exponent = np.frexp(shares)
    return np.ldexp(np.round(mantissa * 128) / 128, exponent).astype(np.float16)
