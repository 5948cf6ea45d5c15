"""One pass over the training faces."""

import math
import time
from collections.abc import Callable

import torch

from rarn_edge.errors import InputError
from rarn_edge.train.plan import EpochSeeds, plan_epoch
from rarn_edge.train.run import BatchLog, Run
from rarn_edge.train.step import BatchStep
from rarn_edge.train.workers import ALONE, Workers


def report_every(device: torch.device) -> int:
    """After how many batches the sums are asked for: a GPU would have to be waited for."""
    return 25 if device.type == "cuda" else 1


def train_epoch(
    run: Run,
    step: BatchStep,
    epoch: int,
    on_batch: Callable[[BatchLog], None] | None,
    workers: Workers = ALONE,
) -> tuple[float, float]:
    """One pass; returns mean loss and accuracy on the augmented images of all workers.

    Raises:
        InputError: the loss is no longer a number.
    """
    recipe, device = run.recipe, step.device
    seeds = EpochSeeds.of(run.seed, epoch, workers)
    plan = plan_epoch(recipe, run.learnt, run.seed, epoch, workers)
    batches, size = plan.chosen.shape
    every = report_every(device)
    started = time.perf_counter()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seeds.dropout)
        step.begin(plan, seeds.augmentation, recipe.crop_px if epoch <= recipe.crop_share * recipe.epochs else 0)
        for batch in range(1, batches + 1):
            step()
            if batch % every and batch < batches:
                continue
            loss_sum, correct = step.sums()
            if not math.isfinite(loss_sum):
                raise InputError(
                    f"the loss became {loss_sum} in epoch {epoch}; start anew in another folder with a larger --batch or"
                    " a --recipe of a lower rate"
                )
            if on_batch is not None:
                seen = batch * size
                speed = seen / (time.perf_counter() - started)
                on_batch(BatchLog(epoch, batch, batches, loss_sum / seen, correct / seen, speed))
    loss_sum, hits, faces = workers.sum(loss_sum, correct, batches * size)
    return loss_sum / faces, hits / faces
