"""What a batch is trained towards: its labels, smoothed; its teachers' answers; both mixed between pairs of faces."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rarn_edge.contract.spec import CLASSES
from rarn_edge.train.distill import SoftTargets
from rarn_edge.train.recipe import Recipe


@dataclass(frozen=True)
class Targets:
    """labels: [N, 7] smoothed; teacher: [N, 7] softened by the recipe's temperature, or None without kept answers."""

    labels: Tensor
    teacher: Tensor | None

    def at(self, chosen: Tensor) -> "Targets":
        """Those of the faces at `chosen` [M]."""
        return Targets(self.labels[chosen], None if self.teacher is None else self.teacher[chosen])

    def to(self, device: torch.device) -> "Targets":
        return Targets(self.labels.to(device), None if self.teacher is None else self.teacher.to(device))


def targets_of(recipe: Recipe, labels: Tensor, soft: SoftTargets | None) -> Targets:
    """The targets of all faces; `labels` [N] are their class indices."""
    classes = len(CLASSES)
    smoothed = F.one_hot(labels, classes).float() * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
    return Targets(smoothed, soft.softened(recipe.teacher_temperature) if soft else None)


def mix(pixels: Tensor, targets: Targets, share: Tensor, partners: Tensor) -> tuple[Tensor, Targets]:
    """Mixup (Zhang 2017, arXiv:1710.09412): `share` [] of each face and the rest of its partner in the batch, `partners` [N]."""

    def mixed(value: Tensor) -> Tensor:
        return torch.lerp(value[partners], value, share)

    teacher = None if targets.teacher is None else mixed(targets.teacher)
    return mixed(pixels), Targets(mixed(targets.labels), teacher)


def loss_of(logits: Tensor, targets: Targets, recipe: Recipe) -> Tensor:
    """Cross-entropy with the labels, and with the teachers at their temperature T times T^2 (Hinton 2015, section 2.1)."""
    hard = F.cross_entropy(logits, targets.labels)
    if targets.teacher is None:
        return hard
    temperature = recipe.teacher_temperature
    soft = F.cross_entropy(logits / temperature, targets.teacher) * temperature**2
    return (1 - recipe.teacher_share) * hard + recipe.teacher_share * soft
