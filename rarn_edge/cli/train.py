"""`rarn-edge train`: train a model."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import MAKE, Data, Model, Seed, Threads, app, err, note, say
from rarn_edge.errors import require_extras


@app.command(rich_help_panel=MAKE)
def train(
    data: Data,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoint, weights, log, curves")],
    model: Model = "rarn-s",
    recipe: Annotated[str, typer.Option(help="paper or edge")] = "edge",
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's number")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Instead of the recipe's size")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit-exactly")] = False,
) -> None:
    """Train a model. A checkpoint is written after every epoch; Ctrl-C loses at most the epoch in progress."""
    require_extras("train")
    from dataclasses import replace

    from rarn_edge.data import load_faces
    from rarn_edge.models.catalog import find_model
    from rarn_edge.report.progress import training_progress
    from rarn_edge.threads import default_threads
    from rarn_edge.train.loop import WEIGHTS_FILE, Run, split_for_training
    from rarn_edge.train.loop import train as train_model
    from rarn_edge.train.recipe import find_recipe

    find_model(model)
    found = find_recipe(recipe)
    chosen = replace(found, epochs=epochs or found.epochs, batch=batch or found.batch)
    train_faces, test_faces = split_for_training(load_faces(data), seed)
    job = Run(model, chosen, seed, train_faces, test_faces, folder, threads or default_threads())
    note(f"{model}, recipe {recipe}: {len(train_faces):,} faces to train on, {len(test_faces):,} to test on")
    try:
        with training_progress(err, chosen.epochs) as progress:
            history = train_model(job, resume, progress.on_batch, progress.on_epoch)
    except KeyboardInterrupt:
        note(f"stopped; {folder} holds every finished epoch. Continue with the same command and --resume")
        raise typer.Exit(130) from None
    last = history[-1]
    say(f"{folder / WEIGHTS_FILE}: test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}")
