"""Progress on the terminal: thin adapters between the library's callbacks and rich."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from rarn_edge.bench.config import Progress as BenchProgress
    from rarn_edge.train.run import BatchLog, EpochLog


class TrainingProgress:
    """A bar for the epoch (loss, accuracy, images/s), one for the run, both with time left; a line for each finished epoch."""

    def __init__(self, progress: Progress, epochs: int) -> None:
        self._progress = progress
        self._epochs = epochs
        self._task = progress.add_task("epoch", total=None, figures="")
        self._run = progress.add_task("run", total=epochs, figures="")

    def on_stage(self, stage: str, done: int = 0, total: int | None = None, /) -> None:
        """Before the first epoch."""
        self._progress.update(self._task, description=stage, completed=done, total=total)

    def on_batch(self, log: "BatchLog") -> None:
        figures = f"loss {log.loss:.3f}  accuracy {log.accuracy:.1%}  {log.images_per_s:.0f} images/s"
        self._progress.update(
            self._task,
            description=f"epoch {log.epoch}/{self._epochs}",
            completed=log.batch,
            total=log.batches,
            figures=figures,
        )
        self._progress.update(self._run, completed=log.epoch - 1 + log.batch / log.batches)

    def on_epoch(self, log: "EpochLog") -> None:
        self._progress.console.print(
            f"epoch {log.epoch:3d}  loss {log.train_loss:.4f} accuracy {log.train_accuracy:.2%}"
            f"  test {log.test_loss:.4f} {log.test_accuracy:.2%}  {log.images_per_s:.0f} images/s",
            highlight=False,
        )
        self._progress.reset(self._task, total=None)


@contextmanager
def training_progress(console: Console, epochs: int) -> Iterator[TrainingProgress]:
    """A bar while training; it disappears at the end, the epoch lines stay."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        yield TrainingProgress(progress, epochs)


@contextmanager
def image_progress(console: Console, what: str) -> Iterator[Callable[[int, int | None], None]]:
    """A bar counting (done, total)."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def bench_progress(console: Console) -> Iterator[Callable[["BenchProgress"], None]]:
    """A bar that names the stage and the model."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("benchmark", total=None)

        def show(state: "BenchProgress") -> None:
            progress.update(
                task, description=f"{state.stage} {state.label}".strip(), completed=state.done, total=state.total
            )

        yield show
