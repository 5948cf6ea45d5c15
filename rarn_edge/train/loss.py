"""What a batch is trained towards: its labels, smoothed; its teachers' answers; both mixed between pairs of faces."""

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rarn_edge.spec import CLASSES
from rarn_edge.train.distill import SoftTargets
from rarn_edge.train.recipe import Recipe


@dataclass(frozen=True)
class BatchTargets:
    """labels: [N, 7] smoothed; teacher: [N, 7] softened by the recipe's temperature, or None without teachers."""

    labels: Tensor
    teacher: Tensor | None


def batch_targets(
    recipe: Recipe, labels: Tensor, targets: SoftTargets | None, chosen: NDArray[np.intp]
) -> BatchTargets:
    """The targets of the faces at `chosen`; `labels` [N] are their class indices."""
    classes = len(CLASSES)
    smoothed = F.one_hot(labels, classes).float() * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
    return BatchTargets(smoothed, targets.at(chosen, recipe.teacher_temperature) if targets else None)


def mix(pixels: Tensor, targets: BatchTargets, alpha: float, rng: np.random.Generator) -> tuple[Tensor, BatchTargets]:
    """Mixup (Zhang 2017, arXiv:1710.09412): each face with another of the batch, one share for all, Beta(alpha, alpha)."""
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(pixels)))

    def mixed(value: Tensor) -> Tensor:
        return torch.lerp(value[partner], value, share)

    teacher = None if targets.teacher is None else mixed(targets.teacher)
    return mixed(pixels), replace(targets, labels=mixed(targets.labels), teacher=teacher)


def loss_of(logits: Tensor, targets: BatchTargets, recipe: Recipe) -> Tensor:
    """Cross-entropy with the labels, and with the teachers at their temperature T times T^2 (Hinton 2015, section 2.1)."""
    hard = F.cross_entropy(logits, targets.labels)
    if targets.teacher is None:
        return hard
    temperature = recipe.teacher_temperature
    soft = F.cross_entropy(logits / temperature, targets.teacher) * temperature**2
    return (1 - recipe.teacher_share) * hard + recipe.teacher_share * soft
