"""Soft targets of teachers, made once: a student's epoch then costs no teacher pass (Hinton 2015, arXiv:1503.02531)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.files import atomic
from rarn_edge.spec import CLASSES
from rarn_edge.train.checkpoint import Weights
from rarn_edge.train.evaluate import torch_logits

SHIFT_PX = 2
SHIFTS: tuple[tuple[int, int], ...] = ((0, 0), (SHIFT_PX, 0), (-SHIFT_PX, 0), (0, SHIFT_PX), (0, -SHIFT_PX))
VIEWS = 2 * len(SHIFTS)  # each also mirrored


@dataclass(frozen=True)
class SoftTargets:
    """What the teachers answered for each training face, averaged over teachers and views.

    log_probabilities: [N, 7] float32 in the project's class order.
    """

    log_probabilities: NDArray[np.float32]
    teachers: tuple[str, ...]  # sha256 of each teacher's weights
    views: int
    faces_sha256: str

    def at(self, chosen: NDArray[np.intp], temperature: float) -> Tensor:
        """Probabilities [len(chosen), 7] of the chosen faces, softened."""
        return F.softmax(torch.from_numpy(self.log_probabilities[chosen]) / temperature, dim=1)


def soft_targets(
    teachers: Sequence[Weights],
    faces: Faces,
    faces_sha256: str,
    cache: Path,
    views: int = VIEWS,
    on_view: Callable[[int, int], None] | None = None,
) -> SoftTargets:
    """The teachers' answers for `faces`, read from `cache` if it holds exactly these, else made and saved there.

    `on_view(done, total)` is called after each pass over the faces.

    Raises:
        InputError: a teacher with other classes, an unreadable cache, or one made by other teachers or for other faces.
    """
    made_from = tuple(teacher.sha256 for teacher in teachers)
    if cache.exists():
        found = _read(cache)
        if (found.teachers, found.views, found.faces_sha256) != (made_from, views, faces_sha256):
            raise InputError(f"{cache}: made by other teachers or for other faces; delete it or name another --out")
        return found
    for teacher in teachers:
        if teacher.spec.classes != CLASSES:
            raise InputError(f"the teacher '{teacher.spec.name}' has other classes: {', '.join(teacher.spec.classes)}")
    total = torch.zeros(len(faces), len(CLASSES), dtype=torch.float64)
    passes = len(teachers) * views
    for number, teacher in enumerate(teachers):
        model = teacher.model()
        for view in range(views):
            logits = torch_logits(model, teacher.spec.preprocess, view_of(faces.images, view))
            total += F.softmax(torch.from_numpy(logits).double(), dim=1)
            if on_view is not None:
                on_view(number * views + view + 1, passes)
    log_probabilities = torch.log(total / passes).float().numpy()
    made = SoftTargets(log_probabilities, made_from, views, faces_sha256)
    _write(cache, made)
    return made


def view_of(images: NDArray[np.uint8], view: int) -> NDArray[np.uint8]:
    """View 0 is the image, 1 its mirror image, 2 and 3 the same shifted by `SHIFT_PX`, and so on: [N, H, W] uint8."""
    shift_x, shift_y = SHIFTS[view // 2]
    padded = np.pad(images, ((0, 0), (SHIFT_PX, SHIFT_PX), (SHIFT_PX, SHIFT_PX)), mode="edge")
    height, width = images.shape[1:]
    top, left = SHIFT_PX - shift_y, SHIFT_PX - shift_x
    shifted = padded[:, top : top + height, left : left + width]
    return np.ascontiguousarray(shifted[:, :, ::-1] if view % 2 else shifted)


def _write(path: Path, targets: SoftTargets) -> None:
    with atomic(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            log_probabilities=targets.log_probabilities,
            teachers=np.array(targets.teachers),
            views=np.array(targets.views),
            faces_sha256=np.array(targets.faces_sha256),
        )


def _read(path: Path) -> SoftTargets:
    try:
        with np.load(path, allow_pickle=False) as content:
            return SoftTargets(
                content["log_probabilities"],
                tuple(content["teachers"].tolist()),
                int(content["views"]),
                str(content["faces_sha256"]),
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not readable as soft targets ({error}); delete it to make them again") from error
