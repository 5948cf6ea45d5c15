"""`rarn-edge train`: train a model."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import MAKE, Data, Model, Seed, Threads, app, err, note, say
from rarn_edge.errors import InputError, require_extras


@app.command(rich_help_panel=MAKE)
def train(
    data: Data,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoint, weights, log, curves")],
    model: Model = "rarn-s",
    recipe: Annotated[
        str,
        typer.Option(
            help="paper, edge, edge-distilled (with --teacher), edge-nano (for rarn-n); docs/training.md has them all"
        ),
    ] = "edge",
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's number")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Instead of the recipe's size")] = None,
    teacher: Annotated[
        list[Path] | None, typer.Option(help="Weights to learn from as well; repeat it for several", metavar="WEIGHTS")
    ] = None,
    teacher_views: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=10,
            help="Passes of a teacher whose answers are kept: 2 for the mirror image, 10 for shifts [default: 10]",
        ),
    ] = None,
    teacher_answers: Annotated[
        Path | None,
        typer.Option(
            help="Where teachers' answers are kept and looked for, so that runs may share them [default: OUT/teachers.npz]",
            metavar="FILE",
        ),
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="Weights of the same model to start from", metavar="WEIGHTS")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, or bf16: faster where the device multiplies bfloat16 (docs/training.md)"
            " [default: bf16 on a GPU, float32 on a CPU]",
            metavar="NAME",
        ),
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit-exactly")] = False,
) -> None:
    """Train a model. A checkpoint is written after every epoch; Ctrl-C loses at most the epoch in progress."""
    require_extras("train")
    from dataclasses import replace

    import torch

    from rarn_edge.contract.targets import detect_host
    from rarn_edge.data import load_faces
    from rarn_edge.files import check_apart, make_folder
    from rarn_edge.host.threads import default_threads
    from rarn_edge.models.catalog import find_model
    from rarn_edge.report.progress import stage_progress, training_progress
    from rarn_edge.train.checkpoint import load_weights
    from rarn_edge.train.distill import VIEWS, SoftTargets, soft_targets
    from rarn_edge.train.loop import check_folder
    from rarn_edge.train.loop import train as train_model
    from rarn_edge.train.precision import TrainingPrecision
    from rarn_edge.train.recipe import find_recipe
    from rarn_edge.train.run import STATE_FILE, TARGETS_FILE, WEIGHTS_FILE, Run, split_for_training
    from rarn_edge.train.workers import join_workers, workers_here

    find_model(model)
    found = find_recipe(recipe)
    chosen = replace(found, epochs=epochs or found.epochs, batch=batch or found.batch)
    if teacher and not chosen.teacher_share:
        raise InputError(f"recipe '{recipe}' learns from labels alone, so --teacher would do nothing; choose another")
    if not teacher and (teacher_views or teacher_answers):
        raise InputError("--teacher-views and --teacher-answers are about teachers; name them with --teacher WEIGHTS")
    if chosen.live_teachers and (teacher_views or teacher_answers):
        raise InputError(
            f"recipe '{recipe}' asks teachers about each batch and keeps no answers; leave out --teacher-views, --teacher-answers"
        )
    written = (STATE_FILE, WEIGHTS_FILE, TARGETS_FILE, "log.csv", "curves.png")
    check_apart([*(folder / name for name in written), teacher_answers], [init, *(teacher or ())], [data])
    asked_precision = TrainingPrecision.named(precision) if precision is not None else None
    train_faces, test_faces = split_for_training(load_faces(data), seed)
    start = load_weights(init, expected_model=model) if init else None
    teachers = [load_weights(path) for path in teacher or ()]
    with join_workers() as workers:
        torch_threads = threads or max(1, default_threads() // workers_here())
        torch.set_num_threads(torch_threads)
        workers.check(chosen.batch)
        computed = asked_precision or TrainingPrecision.usual_on(workers.device.type)
        emulated = workers.device.type == "cpu" and not detect_host().multiplies_bfloat16
        if computed is TrainingPrecision.BF16 and emulated and workers.writes:
            note("this CPU has no instructions for bfloat16, so --precision bf16 is slower here", "warning")

        def ask_teachers() -> SoftTargets | None:
            """Before it, what costs nothing to refuse; passes over all faces take minutes."""
            if workers.writes:
                check_folder(folder, resume)
            if not teachers or chosen.live_teachers:
                return None
            make_folder(folder)
            with stage_progress(err) as on_stage:
                return soft_targets(
                    teachers,
                    train_faces,
                    train_faces.sha256(),
                    teacher_answers or folder / TARGETS_FILE,
                    teacher_views or VIEWS,
                    lambda done, total: on_stage(f"teachers: {done} of {total} passes"),
                    computed,
                    workers.device,
                )

        targets = workers.in_turn(ask_teachers)
        live = tuple(teachers) if chosen.live_teachers else ()
        job = Run(model, chosen, seed, train_faces, test_faces, folder, torch_threads, targets, start, computed, live)
        if not workers.writes:
            train_model(job, resume, workers=workers)
            return
        note(f"{model}, recipe {recipe}: {len(train_faces):,} faces to train on, {len(test_faces):,} to test on")
        if not teachers and chosen.teacher_share and not chosen.label_smoothing:
            note(
                f"recipe '{recipe}' is made for teachers (--teacher WEIGHTS); it learns from labels alone now",
                "warning",
            )
        try:
            with training_progress(err, chosen.epochs) as progress:
                history = train_model(job, resume, progress.on_batch, progress.on_epoch, workers)
        except KeyboardInterrupt:
            began = (folder / STATE_FILE).is_file()
            kept = f"{folder} holds every finished epoch. Continue with the same command and --resume"
            note(f"stopped; {kept}" if began else "stopped before the first checkpoint; nothing is kept, start again")
            raise typer.Exit(130) from None
    last = history[-1]
    say(f"{folder / WEIGHTS_FILE}: test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}")
