"""What a command is doing, on the terminal: one line a task, with its time."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.text import Text

from rarn_edge.workflow.callbacks import OnStage, ignore


class _Count(MofNCompleteColumn):
    """`3/13`, of a task that can be counted."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.fields["counted"] else Text("")


Shown = TypeVar("Shown")


@contextmanager
def when_needed(display: AbstractContextManager[Shown]) -> Iterator[Callable[[], Shown]]:
    """Opens the display when it is first asked for, so that a refused command says its one line and nothing else."""
    with ExitStack() as held:
        yield cache(lambda: held.enter_context(display))


@contextmanager
def stages(console: Console, quiet: bool = False) -> Iterator[OnStage]:
    """A callback for stages; with `quiet` it shows nothing but on a terminal: a script's log keeps to results."""
    columns = (
        SpinnerColumn(finished_text="[green]done[/green]"),
        TextColumn("{task.description}", markup=False),
        _Count(),
    )
    silent = quiet and not console.is_terminal
    with when_needed(Progress(*columns, TimeElapsedColumn(), console=console)) as shown:

        def finish() -> None:
            for task in shown().tasks:
                if not task.finished:
                    shown().update(task.id, completed=task.total or 1)

        def on_stage(stage: str, done: int = 0, total: int | None = None, /) -> None:
            last = shown().tasks[-1] if shown().tasks else None
            if last is None or last.finished or last.description != stage:
                finish()
                shown().add_task(stage, total=total or 1, counted=total is not None)
            shown().update(shown().tasks[-1].id, completed=done, total=total or 1)

        yield ignore if silent else on_stage
        if not silent:
            finish()
