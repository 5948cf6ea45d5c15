"""`rarn-edge train`: train a model."""

from typing import TYPE_CHECKING

import typer

from rarn_edge.cli import options as o
from rarn_edge.cli.app import MAKE, app, err, note, say
from rarn_edge.cli.network import chosen_network, says_input
from rarn_edge.errors import require_extras

if TYPE_CHECKING:
    from rarn_edge.models.find import NetworkInput


@app.command(rich_help_panel=MAKE)
@says_input
def train(
    takes: "NetworkInput",
    data: o.Data,
    folder: o.RunFolder,
    model: o.Model = "rarn-s",
    recipe: o.Recipe = "edge",
    epochs: o.Epochs = None,
    batch: o.Batch = None,
    votes: o.Votes = None,
    teacher: o.Teacher = None,
    teacher_model: o.TeacherModel = None,
    teacher_views: o.TeacherViews = None,
    teacher_answers: o.TeacherAnswers = None,
    init: o.Init = None,
    precision: o.TrainingPrecision = None,
    seed: o.Seed = 0,
    threads: o.Threads = None,
    resume: o.Resume = False,
    classes: o.Classes = None,
    plot: o.PlotCurves = False,
) -> None:
    """Train a model. A checkpoint is written after every epoch; Ctrl-C loses at most the epoch in progress."""
    require_extras("train")
    from rarn_edge.cli.progress import training_progress
    from rarn_edge.cli.stages import when_needed
    from rarn_edge.train.recipe import find_recipe
    from rarn_edge.train.run import STATE_FILE
    from rarn_edge.workflow.train import TrainOptions
    from rarn_edge.workflow.train import train as train_model

    network = chosen_network(model, takes)
    options = TrainOptions(
        network, recipe, epochs, batch, votes, tuple(teacher or ()), teacher_views, teacher_answers, init, precision, seed,
        threads, resume, tuple(name.strip() for name in classes.split(",")) if classes else (),
        teacher_models=tuple(teacher_model or ()),
    )  # fmt: skip
    try:
        with when_needed(training_progress(err, epochs or find_recipe(recipe).epochs, plot)) as shown:
            done = train_model(
                data, folder, options,
                on_stage=lambda *state: shown().on_stage(*state), on_notice=note,
                on_batch=lambda log: shown().on_batch(log), on_epoch=lambda log: shown().on_epoch(log),
            )  # fmt: skip
    except KeyboardInterrupt:
        kept = f"{folder} holds every finished epoch. Continue with the same command and --resume"
        began = (folder / STATE_FILE).is_file()
        note(f"stopped; {kept}" if began else "stopped before the first checkpoint; start again")
        raise typer.Exit(130) from None
    if done is not None:
        last = done.history[-1]
        say(f"{done.weights}: test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}")
