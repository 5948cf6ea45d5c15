"""One pass over the training faces: whole batches in memory, everything random from (seed, epoch) alone."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rarn_edge.errors import InputError
from rarn_edge.spec import Preprocess
from rarn_edge.train.augment import augment
from rarn_edge.train.loss import batch_targets, loss_of, mix
from rarn_edge.train.recipe import learning_rate
from rarn_edge.train.run import BatchLog, Run
from rarn_edge.train.workers import ALONE, Workers


@dataclass(frozen=True)
class Learner:
    """What an epoch changes: `model`; `forward`, the same or wrapped for several workers; its average; the optimizer."""

    model: nn.Module
    forward: nn.Module
    averaged: nn.Module
    optimizer: torch.optim.Optimizer


def train_epoch(
    run: Run,
    preprocess: Preprocess,
    learner: Learner,
    epoch: int,
    on_batch: Callable[[BatchLog], None] | None,
    workers: Workers = ALONE,
) -> tuple[float, float]:
    """One pass; returns mean loss and accuracy on the augmented images of all workers."""
    recipe, optimizer, device = run.recipe, learner.optimizer, workers.device
    crop_px = recipe.crop_px if epoch <= recipe.crop_share * recipe.epochs else 0
    order_seed, augment_seed, torch_seed, mix_seed = _seeds(run.seed, epoch, workers)
    mixer = np.random.default_rng(mix_seed)
    generator = torch.Generator().manual_seed(augment_seed)
    order = np.random.default_rng(order_seed).permutation(len(run.train))
    batches = max(len(order) // recipe.batch, 1)  # the incomplete last batch is left for another epoch's order
    loss_sum, correct, seen = 0.0, 0, 0
    started = time.perf_counter()
    learner.forward.train()
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed)  # dropout
        for batch, whole in enumerate(_chunks(order, recipe.batch, batches)):
            chosen = workers.share(whole)
            rate = learning_rate(recipe, epoch - 1 + batch / batches)
            for group in optimizer.param_groups:
                group["lr"] = rate
            labels = torch.from_numpy(run.train.labels[chosen])  # [N]
            pixels = augment(torch.from_numpy(run.train.images[chosen]), recipe.augmentation, generator, crop_px)
            targets = batch_targets(recipe, labels, run.targets, chosen)
            if recipe.mixup:
                pixels, targets = mix(pixels, targets, recipe.mixup, mixer)
            inputs = _normalise(pixels, preprocess, crop_px).to(device)
            with run.precision.autocast(device.type):
                logits = learner.forward(inputs)  # [N, 7]
            logits = logits.float().cpu()
            loss = loss_of(logits, targets, recipe)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own stub lacks it
            optimizer.step()
            _update_average(learner.averaged, learner.model, recipe.ema_decay, (epoch - 1) * batches + batch)
            if not math.isfinite(loss.item()):
                raise InputError(f"the loss became {loss.item()} in epoch {epoch}; lower the learning rate")
            loss_sum += loss.item() * len(chosen)
            correct += int((logits.argmax(1) == labels).sum())
            seen += len(chosen)
            if on_batch is not None:
                speed = seen / (time.perf_counter() - started)
                on_batch(BatchLog(epoch, batch + 1, batches, loss_sum / seen, correct / seen, speed))
    loss_sum, hits, faces = workers.sum(loss_sum, correct, seen)
    return loss_sum / faces, hits / faces


def _seeds(seed: int, epoch: int, workers: Workers) -> tuple[int, int, int, int]:
    """For the order, which all workers share, and for augmentation, dropout and mixing, which they do not."""
    order, *alone = np.random.SeedSequence([seed, epoch]).generate_state(4).tolist()
    if workers.count > 1:
        alone = np.random.SeedSequence([seed, epoch, workers.rank]).generate_state(3).tolist()
    return (order, *alone)


def _chunks(order: NDArray[np.intp], size: int, count: int) -> Iterator[NDArray[np.intp]]:
    for index in range(count):
        yield order[index * size : (index + 1) * size]


def _normalise(pixels: Tensor, preprocess: Preprocess, crop_px: int = 0) -> Tensor:
    """Augmented pixels [N, 1, H, W] float32 -> network input [N, C, side, side]; the formula of `preprocess.to_input`.

    Crops keep their side.
    """
    size = (crop_px, crop_px) if crop_px else (preprocess.height_px, preprocess.width_px)
    if pixels.shape[-2:] != size:
        pixels = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False)
    mean = torch.tensor(preprocess.mean).view(1, -1, 1, 1)
    std = torch.tensor(preprocess.std).view(1, -1, 1, 1)
    return ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def _update_average(averaged: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Exponential moving average of parameters and batch statistics; early steps average over what there is so far."""
    weight = 1 - min(decay, (1 + step) / (10 + step)) if decay else 1.0
    for mean, value in zip(averaged.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.dtype.is_floating_point:
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)
