"""What an epoch will do: which faces in which order, mixed with which, at which rate; and the seeds of what is drawn on the way.

Everything random follows from (seed, epoch) and the worker's number alone.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from rarn_edge.train.recipe import Recipe, learning_rate
from rarn_edge.train.workers import Workers


@dataclass(frozen=True)
class EpochPlan:
    """One row, or one value, for each batch of this worker."""

    chosen: Tensor  # [batches, N] int64: the faces, as indices
    partners: Tensor  # [batches, N] int64: the place in the same batch of the face that each is mixed with
    mixed_shares: Tensor  # [batches] float32: what each face keeps of itself; 1 without mixing
    learning_rates: Tensor  # [batches] float32
    average_weights: Tensor  # [batches] float32: of the newest parameters in the averaged ones

    def tensors(self) -> list[Tensor]:
        return [getattr(self, field.name) for field in fields(self)]

    def to(self, device: torch.device) -> "EpochPlan":
        return EpochPlan(*(tensor.to(device) for tensor in self.tensors()))

    def copy_from(self, other: "EpochPlan") -> None:
        """Take another epoch's values into the same memory, which a recorded batch reads from."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)


@dataclass(frozen=True)
class EpochSeeds:
    """`order` is the same for all workers, the others are each worker's own."""

    order: int
    augmentation: int
    dropout: int
    mixing: int

    @classmethod
    def of(cls, seed: int, epoch: int, workers: Workers) -> "EpochSeeds":
        order, *alone = np.random.SeedSequence([seed, epoch]).generate_state(4).tolist()
        if workers.count > 1:
            alone = np.random.SeedSequence([seed, epoch, workers.rank]).generate_state(3).tolist()
        return cls(order, *alone)


def plan_epoch(recipe: Recipe, faces: int, seed: int, epoch: int, workers: Workers) -> EpochPlan:
    """The batches of one pass over that many faces; the incomplete last batch is left for another epoch's order."""
    seeds = EpochSeeds.of(seed, epoch, workers)
    order = np.random.default_rng(seeds.order).permutation(faces)
    batches = max(faces // recipe.batch, 1)
    whole = order[: batches * min(recipe.batch, faces)].reshape(batches, -1)
    chosen = workers.share(whole)  # [batches, N]
    mixer = np.random.default_rng(seeds.mixing)
    shares, partners = np.ones(batches), np.zeros_like(chosen)
    if recipe.mixup:
        for batch in range(batches):
            shares[batch] = mixer.beta(recipe.mixup, recipe.mixup)
            partners[batch] = mixer.permutation(chosen.shape[1])
    rates = [learning_rate(recipe, epoch - 1 + batch / batches) for batch in range(batches)]
    steps = (epoch - 1) * batches + np.arange(batches)
    weights = 1 - np.minimum(recipe.ema_decay, (1 + steps) / (10 + steps)) if recipe.ema_decay else np.ones(batches)
    return EpochPlan(
        torch.from_numpy(np.ascontiguousarray(chosen)),
        torch.from_numpy(partners),
        *(torch.tensor(values, dtype=torch.float32) for values in (shares, rates, weights)),
    )
