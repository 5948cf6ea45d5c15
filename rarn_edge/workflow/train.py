"""Train a model from labelled faces, alone or from teachers, in one process or in several."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rarn_edge.assets import shipped_labels, shipped_models, shipped_weights
from rarn_edge.boundary.limits import MAX_ROWS, MAX_THREADS, check_count
from rarn_edge.contract.spec import LABEL_CLASSES, ModelSpec
from rarn_edge.contract.targets import detect_host
from rarn_edge.errors import InputError, require_extras
from rarn_edge.files import check_apart, make_folder
from rarn_edge.host.threads import default_threads
from rarn_edge.models.find import find_network
from rarn_edge.models.network import described
from rarn_edge.train.checkpoint import load_known, load_weights
from rarn_edge.train.distill import VIEWS, SoftTargets, soft_targets
from rarn_edge.train.loop import check_folder, torch_settings
from rarn_edge.train.loop import train as train_run
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import GOES_ON, Recipe, find_recipe
from rarn_edge.train.run import (
    STATE_FILE,
    TARGETS_FILE,
    WEIGHTS_FILE,
    BatchLog,
    EpochLog,
    Run,
    source_of,
    split_for_training,
)
from rarn_edge.train.workers import join_workers, workers_here
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, OnStage, ignore, warn
from rarn_edge.workflow.inputs import load_as_seen

IMBALANCE = 10  # the largest class against the smallest; said beyond it

if TYPE_CHECKING:
    from rarn_edge.models.find import AnyNetwork


@dataclass(frozen=True)
class TrainOptions:
    """What to train and how; None: as the recipe, the machine or the model says."""

    model: "AnyNetwork" = "rarn-s"
    recipe: str = "edge"
    epochs: int | None = None
    batch: int | None = None
    votes: Path | None = None  # people's votes for the faces (FER+), to learn instead of their labels
    teachers: tuple[Path | str, ...] = ()  # to learn from as well: weights, files of answers, names of shipped models
    teacher_views: int | None = None  # passes of a teacher whose answers are kept
    teacher_answers: Path | None = None  # where they are kept and looked for
    init: Path | str | None = None  # weights of the same model to start from: a file, or the name of a shipped model
    precision: str | None = None
    seed: int = 0
    threads: int | None = None
    resume: bool = False
    classes: tuple[str, ...] = ()  # of the data, to learn these alone and in this order
    spec: ModelSpec | None = None  # of a model that is a callable; the classes are replaced by those of the data
    teacher_models: "tuple[AnyNetwork, ...]" = ()  # of one's own, that teachers' weights are of, besides `model`


@dataclass(frozen=True)
class TrainResult:
    """The weights, and a line for each epoch."""

    weights: Path
    history: tuple[EpochLog, ...]


def train(
    data: AnyPath,
    folder: AnyPath,
    options: TrainOptions | None = None,
    *,
    on_stage: OnStage = ignore,
    on_notice: OnNotice = warn,
    on_batch: Callable[[BatchLog], None] | None = None,
    on_epoch: Callable[[EpochLog], None] | None = None,
) -> TrainResult | None:
    """Train a model; a checkpoint is written after every epoch, so that a stopped run goes on with `resume`.

    Args:
        data: Labelled faces: a zip or folder of class folders, or a CSV.
        folder: Of the run: checkpoint, weights, log, curves.
        options: What to train and how.
        on_stage: Told what is being done before the first epoch.
        on_notice: Told what a caller should know.
        on_batch: Told the running means of an epoch.
        on_epoch: Told the figures of each finished epoch.

    Returns:
        None in a process that only helps another to train (torchrun).

    Raises:
        InputError: options that exclude each other, unusable faces, or a folder that holds another run.

    Example:
        >>> import rarn_edge
        >>> from rarn_edge.workflow.train import TrainOptions
        >>> done = rarn_edge.train("fer2013.zip", "run", TrainOptions("rarn-n", epochs=1))  # doctest: +SKIP
        >>> done.history[-1].test_accuracy  # doctest: +SKIP
        0.31
    """
    require_extras("train")  # curves are drawn after the first epoch
    asked, out = options or TrainOptions(), Path(folder)
    if asked.seed != 0:
        check_count(asked.seed, "seed", 2**32 - 1)
    if asked.threads is not None:
        check_count(asked.threads, "threads", MAX_THREADS)
    recipe, network = _recipe(asked), find_network(asked.model, spec=asked.spec)
    begin = None if asked.init is None else _weights_file(asked.init)
    written = (STATE_FILE, WEIGHTS_FILE, TARGETS_FILE, "log.csv", "curves.png")
    check_apart(
        [*(out / name for name in written), asked.teacher_answers], [begin, asked.votes, *asked.teachers], [data]
    )
    precision = TrainingPrecision.named(asked.precision) if asked.precision is not None else None
    start = load_weights(begin, network) if begin else None
    if start is not None and start.network is not None:
        takes = start.network.spec.preprocess  # as the weights say, where nobody says otherwise
        if takes != network.spec.preprocess:
            on_notice(f"as the weights of --init were trained, it takes {described(takes)}", "")
        network = replace(network, spec=replace(network.spec, preprocess=takes))
    preprocess = network.spec.preprocess
    faces = load_as_seen(data, None, asked.votes, preprocess, on_notice)
    if asked.classes:
        faces = faces.only(asked.classes)
    train_faces, test_faces = split_for_training(faces)
    labels = source_of(train_faces)
    if asked.init is not None and begin != _weights_file(asked.init, labels):
        start = load_weights(_weights_file(asked.init, labels), network)  # shipped for these labels as well
    if start is not None and start.spec.classes != train_faces.classes:
        known = start.knows(train_faces.classes)
        begun = f"; {', '.join(known)} begin as they know them" if known else ""
        on_notice(
            f"the weights of --init tell {len(start.spec.classes)} other classes: the classifier is new{begun}", ""
        )
    taught_by = [network, *(find_network(model) for model in asked.teacher_models)]
    files = [_weights_file(named, labels) for named in asked.teachers]
    answers = [path for path in files if path.suffix == ".npz"]
    teachers = [load_known(path, taught_by, "--teacher-model") for path in files if path not in answers]
    for teacher in teachers:
        if teacher.spec.preprocess.pixels_alike != preprocess.pixels_alike:
            on_notice(
                f"the teacher '{teacher.spec.name}' takes {described(teacher.spec.preprocess)}; it is shown the student's"
                f" pictures, {described(preprocess)}",
                "warning",
            )
    trained = replace(network, spec=replace(network.spec, classes=train_faces.classes))
    trained.check(trained.build(), training=True)
    if answers and recipe.live_teachers:
        raise InputError(f"recipe '{asked.recipe}' asks teachers about each batch; {answers[0]} has kept answers alone")
    threads = asked.threads or max(1, default_threads() // workers_here())
    with torch_settings(threads), join_workers() as workers:
        workers.check(recipe.batch)
        computed = precision or TrainingPrecision.usual_on(workers.device.type)
        emulated = workers.device.type == "cpu" and not detect_host().multiplies_bfloat16
        if computed is TrainingPrecision.BF16 and emulated and workers.writes:
            on_notice("this CPU emulates bfloat16: --precision float32 is faster here", "warning")

        def ask_teachers() -> SoftTargets | None:
            """Before it, what costs nothing to refuse; passes over all faces take minutes."""
            if workers.writes:
                check_folder(out, asked.resume)
            if not asked.teachers or recipe.live_teachers:
                return None
            make_folder(out)
            return soft_targets(
                teachers,
                train_faces,
                train_faces.sha256(),
                asked.teacher_answers or out / TARGETS_FILE,
                asked.teacher_views or VIEWS,
                lambda done, total: on_stage("teachers", done, total),
                computed,
                workers.device,
                answers,
                labels,
            )

        targets = workers.in_turn(ask_teachers)
        live = tuple(teachers) if recipe.live_teachers else ()
        job = Run(network, recipe, asked.seed, train_faces, test_faces, out, threads, targets, start, computed, live)
        if not workers.writes:  # it only computes gradients
            train_run(job, asked.resume, workers=workers)
            return None
        _tell(job, on_notice)
        history = train_run(job, asked.resume, on_batch, on_epoch, workers)
    return TrainResult(out / WEIGHTS_FILE, tuple(history))


def _weights_file(named: Path | str, labels: str | None = None) -> Path:
    """A file of weights, or by a model's name those shipped for the labels (without such: for its default ones)."""
    name = str(named)
    if name not in shipped_models() or Path(name).exists():
        return Path(name)
    return shipped_weights(name, labels if labels in shipped_labels(name) else None)


def _tell(job: Run, on_notice: OnNotice) -> None:
    recipe = job.recipe
    on_notice(
        f"{job.network.name}, recipe {recipe.name}: {len(job.train):,} {job.train.noun} to train on,"
        f" {len(job.test):,} to test on",
        "",
    )
    counts = np.bincount(job.train.labels[job.train.labels >= 0], minlength=len(job.train.classes))
    rare, frequent = int(counts.argmin()), int(counts.argmax())
    if source_of(job.train) not in LABEL_CLASSES and counts[frequent] > IMBALANCE * max(1, counts[rare]):
        on_notice(
            f"{counts[rare]:,} images of {job.train.classes[rare]}, {counts[frequent]:,} of"
            f" {job.train.classes[frequent]}: give more of the rare class",
            "warning",
        )
    if job.start is None and recipe.name in GOES_ON and not job.network.own:
        on_notice(
            f"recipe '{recipe.name}' goes on from trained weights, these are random: --init WEIGHTS",
            "warning",
        )
    if not job.teachers and recipe.teacher_share and not recipe.label_smoothing:
        on_notice(
            f"recipe '{recipe.name}' is made for teachers and has none: --teacher WEIGHTS",
            "warning",
        )


def _recipe(asked: TrainOptions) -> Recipe:
    """The recipe with what was asked for in place of its own, refused where teachers would do nothing."""
    found = find_recipe(asked.recipe)
    for name, value in (("epochs", asked.epochs), ("batch", asked.batch)):
        if value is not None:
            check_count(value, name, MAX_ROWS)
    chosen = replace(found, epochs=asked.epochs or found.epochs, batch=asked.batch or found.batch)
    if asked.teachers and not chosen.teacher_share:
        raise InputError(
            f"recipe '{asked.recipe}' learns from labels alone, so --teacher would do nothing; choose another"
        )
    if not asked.teachers and (asked.teacher_views or asked.teacher_answers or asked.teacher_models):
        raise InputError(
            "--teacher-views, --teacher-answers and --teacher-model are about teachers; name them with --teacher WEIGHTS"
        )
    kept_alone = bool(asked.teachers) and all(Path(named).suffix == ".npz" for named in asked.teachers)
    if kept_alone and (asked.teacher_views or asked.teacher_answers):
        raise InputError(
            "--teacher-views and --teacher-answers are about teachers that are asked; kept answers are taken as they are:"
            " leave them out"
        )
    if chosen.live_teachers and (asked.teacher_views or asked.teacher_answers):
        raise InputError(
            f"recipe '{asked.recipe}' asks teachers about each batch and keeps no answers;"
            " leave out --teacher-views, --teacher-answers"
        )
    return chosen
