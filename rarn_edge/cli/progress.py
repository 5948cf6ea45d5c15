"""Progress on the terminal: thin adapters between the library's callbacks and rich."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rarn_edge.cli.curves import accuracy_chart

if TYPE_CHECKING:
    from rarn_edge.bench.config import Progress as BenchProgress
    from rarn_edge.train.run import BatchLog, EpochLog


class _Charted(Progress):
    """Bars, and a chart above them once there is one."""

    chart: RenderableType | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.chart is not None:
            yield self.chart
        yield self.make_tasks_table(self.tasks)


class TrainingProgress:
    """A bar for the epoch (loss, accuracy, images/s), one for the run, both with time left; a line for each finished epoch.

    With `plot`, and on a terminal, the curves stand above the bars and are drawn anew after each epoch.
    """

    def __init__(self, progress: _Charted, epochs: int, plot: bool) -> None:
        self._progress = progress
        self._history: list[EpochLog] = []
        self._plot = plot and progress.console.is_terminal
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
        if self._plot:
            self._history.append(log)
            self._progress.chart = accuracy_chart(self._history, self._progress.console.width)
            self._progress.refresh()

    def finish(self) -> None:
        """What stays on the terminal."""
        chart, self._progress.chart = self._progress.chart, None
        if chart is not None:
            self._progress.console.print(chart)


@contextmanager
def training_progress(console: Console, epochs: int, plot: bool = False) -> Iterator[TrainingProgress]:
    """A bar while training; it disappears at the end, the epoch lines and the last curves stay."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
    )
    with _Charted(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        shown = TrainingProgress(progress, epochs, plot)
        try:
            yield shown
        finally:
            shown.finish()


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
