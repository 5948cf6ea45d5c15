"""The training loop: one pass over whole batches in memory, a checkpoint after every epoch, averaged weights measured.

Everything random in an epoch follows from (seed, epoch) alone, so a resumed run repeats the uninterrupted one bit by bit
(same torch, same machine type, same number of threads).
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from rarn_edge.data import Faces, Split
from rarn_edge.errors import InputError
from rarn_edge.files import make_folder
from rarn_edge.models.build import build_model
from rarn_edge.models.catalog import find_model
from rarn_edge.spec import ModelSpec, Preprocess
from rarn_edge.train.augment import augment
from rarn_edge.train.checkpoint import Weights, load_state, save_state, save_weights
from rarn_edge.train.curves import write_curves
from rarn_edge.train.distill import SoftTargets
from rarn_edge.train.evaluate import evaluate_torch
from rarn_edge.train.loss import batch_targets, loss_of, mix
from rarn_edge.train.recipe import Recipe

STATE_FILE = "last.pt"
WEIGHTS_FILE = "weights.safetensors"
TARGETS_FILE = "teachers.npz"


@dataclass(frozen=True)
class EpochLog:
    """One line of `log.csv`. Training figures are of the augmented images; test figures of the weights that are exported."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    images_per_s: float
    time_s: float


@dataclass(frozen=True)
class BatchLog:
    """What a progress bar shows after a batch: running means of the epoch."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    images_per_s: float


@dataclass(frozen=True)
class Run:
    """One training run: what is trained, on what, how, and where it is kept."""

    model: str
    recipe: Recipe
    seed: int
    train: Faces
    test: Faces
    folder: Path
    threads: int
    targets: SoftTargets | None = None  # of the training faces, in their order
    start: Weights | None = None  # parameters to begin with instead of fresh ones

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a resumed run to be the same run."""
        return {
            "model": self.model,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "data": [faces.sha256() for faces in (self.train, self.test)],
            "teachers": list(self.targets.teachers) if self.targets else [],
            "start": self.start.sha256 if self.start else None,
        }

    @cached_property
    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the training pixels."""
        return self.train.pixel_statistics()


HOLDOUT_FRACTION = 0.1


def split_for_training(faces: Faces, seed: int) -> tuple[Faces, Faces]:
    """(train, test): Training and the held-out split, or a seeded stratified tenth cut off where there is none.

    PrivateTest is never touched: it is for the one final measurement.

    Raises:
        InputError: no Training split, or images without labels.
    """
    training = faces.split(Split.TRAINING).labelled()
    for split in (Split.PUBLIC_TEST, Split.TEST):
        if split in faces.available_splits:
            part = faces.where(faces.splits == split.value)  # `faces.split(TEST)` would bring PrivateTest along
            return training, part.labelled()
    mask = training.holdout_mask(HOLDOUT_FRACTION, seed)
    if not mask.any() or mask.all():
        raise InputError(f"{faces.source}: {len(training)} faces are too few to cut a test part from")
    return training.where(~mask), training.where(mask)


def train(
    run: Run,
    resume: bool = False,
    on_batch: Callable[[BatchLog], None] | None = None,
    on_epoch: Callable[[EpochLog], None] | None = None,
) -> list[EpochLog]:
    """Train and write `last.pt`, `weights.safetensors`, `log.csv` and `curves.png` into `run.folder` after every epoch.

    Raises:
        InputError: the folder holds another run (without `resume`), or a checkpoint of another model, recipe or seed.
    """
    torch.set_num_threads(run.threads)
    spec = find_model(run.model).spec
    model, averaged, optimizer, history = _start(run, spec, resume)
    for epoch in range(len(history) + 1, run.recipe.epochs + 1):
        started = time.perf_counter()
        loss, accuracy = _train_epoch(run, spec.preprocess, model, averaged, optimizer, epoch, on_batch)
        elapsed = time.perf_counter() - started
        test_loss, test_accuracy = evaluate_torch(averaged, spec.preprocess, run.test)
        log = EpochLog(
            epoch,
            optimizer.param_groups[0]["lr"],
            loss,
            accuracy,
            test_loss,
            test_accuracy,
            len(run.train) / elapsed,
            elapsed,
        )
        history.append(log)
        _save(run, spec, model, averaged, optimizer, history)
        if on_epoch is not None:
            on_epoch(log)
    return history


def _start(
    run: Run, spec: ModelSpec, resume: bool
) -> tuple[nn.Module, nn.Module, torch.optim.Optimizer, list[EpochLog]]:
    make_folder(run.folder)
    state_path = run.folder / STATE_FILE
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        model = build_model(run.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        averaged = build_model(run.model).to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    if run.start is not None:
        run.start.load_into(model)
    averaged.load_state_dict(model.state_dict())
    optimizer = _optimizer(model, run.recipe)
    if not resume:
        if state_path.exists():
            raise InputError(f"{run.folder} already holds a run; continue it with --resume or name another --out")
        _save(run, spec, model, averaged, optimizer, [])
        return model, averaged, optimizer, []
    state = load_state(state_path)
    found = state.get("identity", {})
    if found != run.identity:
        changed = ", ".join(key for key, value in run.identity.items() if found.get(key) != value)
        raise InputError(f"{state_path} was made with another {changed}; resume with the same options")
    model.load_state_dict(state["model"])
    averaged.load_state_dict(state["averaged"])
    optimizer.load_state_dict(state["optimizer"])
    return model, averaged, optimizer, [EpochLog(**log) for log in state["history"]]


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """SGD; weight decay on convolution and linear weights, not on biases and normalisation."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, foreach=True
    )


def learning_rate(recipe: Recipe, epoch_progress: float) -> float:
    """The rate after `epoch_progress` epochs (fractional)."""
    if recipe.schedule == "step":
        return float(recipe.learning_rate * 0.9 ** (int(epoch_progress) // 3))
    if epoch_progress < recipe.warmup_epochs:
        return recipe.learning_rate * (0.05 + 0.95 * epoch_progress / recipe.warmup_epochs)
    done = (epoch_progress - recipe.warmup_epochs) / (recipe.epochs - recipe.warmup_epochs)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


def _train_epoch(
    run: Run,
    preprocess: Preprocess,
    model: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    on_batch: Callable[[BatchLog], None] | None,
) -> tuple[float, float]:
    """One pass; returns mean loss and accuracy on the augmented images."""
    recipe = run.recipe
    seeds = np.random.SeedSequence([run.seed, epoch]).generate_state(4).tolist()
    order_seed, augment_seed, torch_seed, mix_seed = seeds
    mixer = np.random.default_rng(mix_seed)
    generator = torch.Generator().manual_seed(augment_seed)
    order = np.random.default_rng(order_seed).permutation(len(run.train))
    batches = max(len(order) // recipe.batch, 1)  # the incomplete last batch is left for another epoch's order
    loss_sum, correct, seen = 0.0, 0, 0
    started = time.perf_counter()
    model.train()
    with torch.random.fork_rng():
        torch.manual_seed(torch_seed)  # dropout
        for batch, chosen in enumerate(_chunks(order, recipe.batch, batches)):
            rate = learning_rate(recipe, epoch - 1 + batch / batches)
            for group in optimizer.param_groups:
                group["lr"] = rate
            labels = torch.from_numpy(run.train.labels[chosen])  # [N]
            pixels = augment(torch.from_numpy(run.train.images[chosen]), recipe.augmentation, generator)
            targets = batch_targets(recipe, labels, run.targets, chosen)
            if recipe.mixup:
                pixels, targets = mix(pixels, targets, recipe.mixup, mixer)
            logits = model(_normalise(pixels, preprocess))  # [N, 7]
            loss = loss_of(logits, targets, recipe)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own stub lacks it
            optimizer.step()
            _update_average(averaged, model, recipe.ema_decay, (epoch - 1) * batches + batch)
            if not math.isfinite(loss.item()):
                raise InputError(f"the loss became {loss.item()} in epoch {epoch}; lower the learning rate")
            loss_sum += loss.item() * len(chosen)
            correct += int((logits.argmax(1) == labels).sum())
            seen += len(chosen)
            if on_batch is not None:
                speed = seen / (time.perf_counter() - started)
                on_batch(BatchLog(epoch, batch + 1, batches, loss_sum / seen, correct / seen, speed))
    return loss_sum / seen, correct / seen


def _chunks(order: NDArray[np.intp], size: int, count: int) -> Iterator[NDArray[np.intp]]:
    for index in range(count):
        yield order[index * size : (index + 1) * size]


def _normalise(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """Augmented pixels [N, 1, H, W] float32 -> network input [N, C, side, side]; the formula of `preprocess.to_input`."""
    size = (preprocess.height_px, preprocess.width_px)
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


def _save(
    run: Run,
    spec: ModelSpec,
    model: nn.Module,
    averaged: nn.Module,
    optimizer: torch.optim.Optimizer,
    history: list[EpochLog],
) -> None:
    state = {
        "format": 1,
        "identity": run.identity,
        "model": model.state_dict(),
        "averaged": averaged.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": [asdict(log) for log in history],
    }
    pixel_mean, pixel_std = run.pixel_statistics
    provenance = {
        "recipe": run.recipe.to_dict(),
        "seed": run.seed,
        "teachers": list(run.targets.teachers) if run.targets else [],
        "started_from": run.start.sha256 if run.start else None,
        "epochs_done": len(history),
        "torch": torch.__version__,
        "train_images": len(run.train),
        "train_pixel_mean": round(pixel_mean, 2),
        "train_pixel_std": round(pixel_std, 2),
        "test_accuracy": round(history[-1].test_accuracy, 6) if history else None,
        "test_images": len(run.test),
    }
    save_weights(run.folder / WEIGHTS_FILE, spec, dict(averaged.state_dict()), provenance)
    if history:
        write_curves(run.folder, history)
    save_state(run.folder / STATE_FILE, state)  # last: what it says is done is then on disk
