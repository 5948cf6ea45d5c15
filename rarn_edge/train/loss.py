"""What a batch is trained towards: its labels, smoothed; its teachers' answers; both mixed between pairs of faces.

A model that answers for several label sets has their outputs side by side; `heads` says how many each has, and each has a
softmax of its own.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rarn_edge.data import Faces
from rarn_edge.data.votes import label_shares
from rarn_edge.train.distill import SoftTargets, softened
from rarn_edge.train.run import Run

DRAWN_SMOOTHING = 0.2


@dataclass(frozen=True)
class Targets:
    """labels: [N, outputs] shares of each class; teacher: the same softened by the recipe's temperature, or None without
    kept answers. All zero for a face without a label in that set."""

    labels: Tensor
    teacher: Tensor | None

    def at(self, chosen: Tensor) -> "Targets":
        """Those of the faces at `chosen` [M]."""
        return Targets(self.labels[chosen], None if self.teacher is None else self.teacher[chosen])

    def to(self, device: torch.device) -> "Targets":
        return Targets(self.labels.to(device), None if self.teacher is None else self.teacher.to(device))


def targets_of(run: Run) -> Targets:
    """The targets of all training faces. One label a face is smoothed by the recipe; votes of people are smooth already."""
    parts = []
    for faces in run.label_sets:
        shares = torch.from_numpy(label_shares(faces))  # [N, classes]
        if faces.votes is None:
            shares = torch.lerp(shares, torch.full_like(shares, 1 / shares.shape[1]), run.recipe.label_smoothing)
        parts.append(shares)
    soft = None if run.targets is None else kept_answers(run.targets, run.recipe.teacher_temperature, run.heads)
    known = Targets(torch.cat(parts, dim=1), soft)
    return known if run.drawn is None else _with_drawn(known, run, run.drawn)


def _with_drawn(known: Targets, run: Run, drawn: Faces) -> Targets:
    """Further rows for drawn faces: what was drawn, for teachers as well; smoothed, so that answers about them do not outgrow the
    range of those about photographs."""
    parts = []
    for faces in run.label_sets:
        count, places = len(faces.classes), torch.from_numpy(drawn.labels_in(faces.classes))
        rows = torch.full((len(drawn), count), DRAWN_SMOOTHING / count)
        rows[torch.arange(len(drawn)), places] += 1 - DRAWN_SMOOTHING
        parts.append(rows)
    shares = torch.cat(parts, dim=1)
    teacher = None if known.teacher is None else torch.cat((known.teacher, shares))
    return Targets(torch.cat((known.labels, shares)), teacher)


def kept_answers(targets: SoftTargets, temperature: float, heads: tuple[int, ...]) -> Tensor:
    """Kept answers of teachers as probabilities [N, outputs] at that temperature."""
    return softened(torch.from_numpy(np.ascontiguousarray(targets.log_probabilities)), temperature, heads)


def mix(pixels: Tensor, targets: Targets, share: Tensor, partners: Tensor) -> tuple[Tensor, Targets]:
    """Mixup (Zhang 2017, arXiv:1710.09412): `share` [] of each face and the rest of its partner in the batch, `partners` [N]."""

    def mixed(value: Tensor) -> Tensor:
        return torch.lerp(value[partners], value, share)

    teacher = None if targets.teacher is None else mixed(targets.teacher)
    return mixed(pixels), Targets(mixed(targets.labels), teacher)


def loss_of(logits: Tensor, targets: Targets, run: Run) -> Tensor:
    """Cross-entropy with the labels, and with the teachers at their temperature T times T^2 (Hinton 2015, section 2.1); summed
    over the heads."""
    recipe, temperature = run.recipe, run.recipe.teacher_temperature
    hard = _cross_entropy(logits, targets.labels, run.heads)
    if targets.teacher is None:
        return hard
    soft = _cross_entropy(logits / temperature, targets.teacher, run.heads) * temperature**2
    return (1 - recipe.teacher_share) * hard + recipe.teacher_share * soft


def _cross_entropy(logits: Tensor, wanted: Tensor, heads: tuple[int, ...]) -> Tensor:
    pairs = zip(torch.split(logits, list(heads), dim=1), torch.split(wanted, list(heads), dim=1), strict=True)
    return torch.stack([F.cross_entropy(answer, goal) for answer, goal in pairs]).sum()
