"""Soft targets of teachers, made once: a student's epoch then costs no teacher pass (Hinton 2015, arXiv:1503.02531).

Live teachers, whose answers are not kept, are in step.py.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.files import atomic, check_output
from rarn_edge.train.checkpoint import Weights
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.workers import placed

SHIFT_PX = 2
SHIFTS: tuple[tuple[int, int], ...] = ((0, 0), (SHIFT_PX, 0), (-SHIFT_PX, 0), (0, SHIFT_PX), (0, -SHIFT_PX))
VIEWS = 2 * len(SHIFTS)  # each also mirrored
CPU = torch.device("cpu")


@dataclass(frozen=True)
class SoftTargets:
    """What the teachers answered for each training face, averaged over teachers and views.

    log_probabilities: [N, 7] float32 in the project's class order.
    """

    log_probabilities: NDArray[np.float32]
    teachers: tuple[str, ...]  # sha256 of each teacher's weights
    views: int
    faces_sha256: str

    def softened(self, temperature: float) -> Tensor:
        """Probabilities [N, 7] at that temperature."""
        return softened(torch.from_numpy(self.log_probabilities), temperature)


def softened(log_probabilities: Tensor, temperature: float) -> Tensor:
    """[N, 7] logarithms -> [N, 7] probabilities at that temperature."""
    return F.softmax(log_probabilities / temperature, dim=1)


def soft_targets(
    teachers: Sequence[Weights],
    faces: Faces,
    faces_sha256: str,
    cache: Path,
    views: int = VIEWS,
    on_view: Callable[[int, int], None] | None = None,
    precision: TrainingPrecision = TrainingPrecision.FLOAT32,
    device: torch.device = CPU,
) -> SoftTargets:
    """The teachers' answers for `faces`: those of a teacher that `cache` holds are read from it, the others made and added to it.

    Answers that are made have the run's `precision`, on its `device`; those read are taken as they are. `on_view(done, total)`
    is called after each pass over the faces. A teacher's answers are saved when all its passes are done.

    Raises:
        InputError: a teacher with other classes, an unreadable cache, or one made for other faces or views.
    """
    check_classes(teachers)
    answers = _read(cache, views, faces_sha256) if cache.exists() else {}
    missing = [teacher for teacher in teachers if teacher.sha256 not in answers]
    passes = len(missing) * views
    if missing:
        check_output(cache)
    for number, teacher in enumerate(missing):
        model = placed(teacher.model(), device)
        total = torch.zeros(len(faces), len(CLASSES), dtype=torch.float64)
        for view in range(views):
            with precision.autocast(device.type):
                logits = torch_logits(model, teacher.spec.preprocess, view_of(faces.images, view))
            total += F.softmax(torch.from_numpy(logits).double(), dim=1)
            if on_view is not None:
                on_view(number * views + view + 1, passes)
        if cache.exists():  # another run may have added to it meanwhile
            answers |= _read(cache, views, faces_sha256)
        answers[teacher.sha256] = (total / views).float().numpy()
        _write(cache, answers, views, faces_sha256)
    made_from = tuple(teacher.sha256 for teacher in teachers)
    mean = np.mean([answers[sha256] for sha256 in made_from], axis=0, dtype=np.float64)
    return SoftTargets(np.log(mean).astype(np.float32), made_from, views, faces_sha256)


def check_classes(teachers: Sequence[Weights]) -> None:
    """Raises InputError for a teacher with other classes, or the same in another order."""
    for teacher in teachers:
        if teacher.spec.classes != CLASSES:
            raise InputError(f"the teacher '{teacher.spec.name}' has other classes: {', '.join(teacher.spec.classes)}")


def view_of(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """View 0 is the image, 1 its mirror image, 2 and 3 the same shifted by `SHIFT_PX`, and so on: [N, H, W] uint8."""
    shift_x, shift_y = SHIFTS[view // 2]
    padded = np.pad(images, ((0, 0), (SHIFT_PX, SHIFT_PX), (SHIFT_PX, SHIFT_PX)), mode="edge")
    height, width = images.shape[1:]
    top, left = SHIFT_PX - shift_y, SHIFT_PX - shift_x
    shifted = padded[:, top : top + height, left : left + width]
    return np.ascontiguousarray(shifted[:, :, ::-1] if view % 2 else shifted)


Answers = dict[str, NDArray[np.float32]]
"""By the sha256 of a teacher's weights: its probabilities [N, 7], averaged over views."""


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
