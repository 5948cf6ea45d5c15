"""The training loop: a pass, the averaged weights measured, a checkpoint; epoch by epoch until the recipe is done.

Everything random in an epoch follows from (seed, epoch) alone, so a resumed run repeats the uninterrupted one bit by bit
(same torch, same machine type, same number of threads and workers).
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rarn_edge.boundary.lock import locked
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError, first_line
from rarn_edge.files import make_folder
from rarn_edge.models.classifier import classifier_of
from rarn_edge.train.checkpoint import NETWORK_KEY, STATE_FORMAT, load_state, save_state, save_weights
from rarn_edge.train.curves import write_curves
from rarn_edge.train.distill import check_classes
from rarn_edge.train.epoch import train_epoch
from rarn_edge.train.evaluate import evaluate_torch
from rarn_edge.train.recipe import Recipe
from rarn_edge.train.run import LOCK_FILE, STATE_FILE, WEIGHTS_FILE, BatchLog, EpochLog, Run
from rarn_edge.train.step import BatchStep, Learner
from rarn_edge.train.workers import ALONE, Workers, placed


def train(
    run: Run,
    resume: bool = False,
    on_batch: Callable[[BatchLog], None] | None = None,
    on_epoch: Callable[[EpochLog], None] | None = None,
    workers: Workers = ALONE,
) -> list[EpochLog]:
    """Train and write `last.pt`, `weights.safetensors`, `log.csv` and `curves.png` (which may lag by seconds) into `run.folder`,
    after every epoch.

    Every worker calls this with its own `workers`; the first one writes.

    Raises:
        InputError: the folder holds another run (without `resume`), a checkpoint of another model, recipe or seed, a batch
            that cannot be dealt to the workers, a recipe with crops for a model of another side than the images, or a live
            teacher of other classes or inputs.
    """
    workers.check(run.recipe.batch)
    spec = run.spec
    height_px, image_px = spec.preprocess.height_px, run.train.images.shape[1]
    if run.recipe.crop_px and height_px != image_px:
        raise InputError(
            f"recipe '{run.recipe.name}' crops images of {image_px} pixels at their own scale, '{spec.name}' takes {height_px}"
            " pixels; choose another recipe"
        )
    if run.recipe.rounded_for is not None and workers.count > 1:
        raise InputError(f"recipe '{run.recipe.name}' has one worker; start it without torchrun")
    _check_live(run, spec)
    make_folder(run.folder)
    with torch_settings(run.threads):
        if not workers.writes:
            return _train(run, spec, resume, on_epoch, on_batch, workers)
        lock = run.folder / LOCK_FILE
        with locked(lock, run.folder):
            try:
                return _train(run, spec, resume, on_epoch, on_batch, workers)
            finally:
                lock.unlink(missing_ok=True)


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Torch's own while a run is trained: a notebook gets its settings back."""
    cudnn = torch.backends.cudnn
    before = (torch.get_num_threads(), cudnn.deterministic, cudnn.allow_tf32)
    torch.set_num_threads(threads)
    cudnn.deterministic = True  # it costs no time (on an H100)
    cudnn.allow_tf32 = False  # float32 is float32
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.deterministic, cudnn.allow_tf32 = before[1:]


def _train(
    run: Run,
    spec: ModelSpec,
    resume: bool,
    on_epoch: Callable[[EpochLog], None] | None,
    on_batch: Callable[[BatchLog], None] | None,
    workers: Workers,
) -> list[EpochLog]:
    learner, history = _start(run, spec, resume, workers)
    step = BatchStep(run, spec.preprocess, learner, workers)
    learner.forward.train(run.recipe.rounded_for is None)
    for epoch in range(len(history) + 1, run.recipe.epochs + 1):
        started = time.perf_counter()
        loss, accuracy = train_epoch(run, step, epoch, on_batch, workers)
        elapsed = time.perf_counter() - started
        finished = step.finished()
        tested = evaluate_torch(finished, spec.preprocess, run.test) if workers.writes else (math.nan, math.nan)
        rate = float(learner.optimizer.param_groups[0]["lr"])
        log = EpochLog(epoch, rate, loss, accuracy, *tested, len(run.train) / elapsed, elapsed)
        history.append(log)
        if workers.writes:
            _save(run, spec, learner, finished, history, workers)
        workers.wait()
        if on_epoch is not None:
            on_epoch(log)
    return history


def _check_live(run: Run, spec: ModelSpec) -> None:
    if run.targets if run.recipe.live_teachers else run.live:
        raise ValueError(f"recipe '{run.recipe.name}': teachers either keep their answers or are live")
    check_classes(run.live, run.classes)
    for teacher in run.live:
        if teacher.spec.preprocess != spec.preprocess:
            raise InputError(
                f"recipe '{run.recipe.name}' shows teachers the model's own input, which '{teacher.spec.name}' cannot take"
            )


def _start(run: Run, spec: ModelSpec, resume: bool, workers: Workers) -> tuple[Learner, list[EpochLog]]:
    check_folder(run.folder, resume)
    state_path = run.folder / STATE_FILE
    network = replace(run.network, spec=spec)
    with torch.random.fork_rng():
        torch.manual_seed(run.seed)
        model = placed(network.build(), workers.device)
        averaged = placed(network.build(), workers.device).eval()
    if run.start is not None:
        run.start.begin(model, run.classes, run.label_source)
    state = load_state(state_path) if resume else None
    if state is not None:
        found, asked = state["identity"], _identity(run, workers)
        if not isinstance(found, dict) or not found.keys() >= asked.keys():
            raise InputError(f"{state_path}: not a checkpoint of this version; start anew with another --out")
        if found != asked:
            changed = ", ".join(
                _difference(key, found[key], value) for key, value in asked.items() if found[key] != value
            )
            hint = f" (--precision {found['precision']})" if found["precision"] != asked["precision"] else ""
            raise InputError(
                f"{state_path} was made with another {changed}; resume with the same options{hint}"
                " or start anew with another --out"
            )
        with _of_this_run(state_path):
            model.load_state_dict(state["model"])
    with _of_this_run(state_path):
        averaged.load_state_dict(model.state_dict() if state is None else state["averaged"])
        optimizer = sgd(model, run.recipe, len(run.classes))
        if state is not None:
            optimizer.load_state_dict(state["optimizer"])
        history = [EpochLog(**log) for log in state["history"]] if state is not None else []
    workers.wait()  # the others have looked at the folder before the first writes into it
    learner = Learner(model, workers.wrap(model), averaged, optimizer)
    if state is None and workers.writes:
        _save(run, spec, learner, averaged, history, workers)
    return learner, history


@contextmanager
def _of_this_run(state_path: Path) -> Iterator[None]:
    """A checkpoint whose identity is right and whose content is not was damaged or edited."""
    try:
        yield
    except (
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:  # torch checks little of what it loads
        raise InputError(f"{state_path}: does not hold the state of this run ({first_line(error)})") from error


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse a folder that holds a run, or with `resume` one that holds none, before any work is done.

    Raises:
        InputError: with the next step.
    """
    if not resume and (folder / STATE_FILE).exists():
        raise InputError(f"{folder} already holds a run; continue it with --resume or name another --out")
    if resume and not (folder / STATE_FILE).exists():
        raise InputError(f"{folder / STATE_FILE}: no checkpoint to resume; start without --resume")


def _difference(key: str, found: object, asked: object) -> str:
    """What differs between two runs, in words; of one recipe with other settings, which."""
    name = key.replace("_", " ")
    if not isinstance(found, dict) or not isinstance(asked, dict):
        return name
    if key == "recipe" and found.get("name") != asked["name"]:
        return f"{name} ('{found.get('name')}' then)"
    fields = [
        f"{field} {found.get(field)}, now {value}" if isinstance(value, int | float) else field
        for field, value in asked.items()
        if found.get(field) != value
    ]
    return f"{name} ({'; '.join(fields)})"


def _identity(run: Run, workers: Workers) -> dict[str, Any]:
    return {**run.identity, "workers": workers.count}


def sgd(model: nn.Module, recipe: Recipe, outputs: int) -> torch.optim.Optimizer:
    """SGD; weight decay on convolution and linear weights, not on biases and normalisation.

    Each group has a `share`, of the learning rate: the recipe's `backbone_rate` for all but the classifier of `outputs` classes.
    """
    slow: set[int] = set()
    if recipe.backbone_rate != 1:
        classifier = {id(parameter) for parameter in classifier_of(model, outputs).parameters()}
        slow = {id(parameter) for parameter in model.parameters()} - classifier
    groups = []
    for share in (1.0, recipe.backbone_rate) if slow else (1.0,):
        own = [p for p in model.parameters() if (id(p) in slow) == (share != 1)]
        decayed, plain = [p for p in own if p.ndim > 1], [p for p in own if p.ndim <= 1]
        groups += [
            {"params": decayed, "weight_decay": recipe.weight_decay, "share": share},
            {"params": plain, "weight_decay": 0.0, "share": share},
        ]
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=True
    )


def _save(
    run: Run, spec: ModelSpec, learner: Learner, finished: nn.Module, history: list[EpochLog], workers: Workers
) -> None:
    state = {
        "format": STATE_FORMAT,
        "identity": _identity(run, workers),
        "model": learner.model.state_dict(),
        "averaged": learner.averaged.state_dict(),
        "optimizer": learner.optimizer.state_dict(),
        "history": [asdict(log) for log in history],
    }
    accuracy = history[-1].test_accuracy if history else None
    provenance = {
        **({NETWORK_KEY: run.network.reference} if run.network.own else {}),
        **run.provenance(len(history), workers.device_name, accuracy),
    }
    save_weights(run.folder / WEIGHTS_FILE, spec, dict(finished.state_dict()), provenance)
    if history:
        write_curves(run.folder, history, finished=len(history) == run.recipe.epochs)
    save_state(run.folder / STATE_FILE, state)  # last: what it says is done is then on disk
