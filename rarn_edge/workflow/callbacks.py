"""What a workflow tells its caller on the way; the command line shows it, Python sees warnings."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

AnyPath = str | Path
SomePaths = Sequence[AnyPath] | AnyPath
"""Several, or one alone."""


def each_of(paths: SomePaths) -> tuple[AnyPath, ...]:
    """A text is a path and not a sequence of letters."""
    return (paths,) if isinstance(paths, AnyPath) else tuple(paths)


OnNotice = Callable[[str, str], None]
"""Told of what a caller should know: the text and its label (`warning`, `not simplified`, or none)."""


class OnStage(Protocol):
    """Told what is being done and, where it can be counted, how much of it."""

    def __call__(self, stage: str, done: int = 0, total: int | None = None, /) -> None: ...


def ignore(_stage: str, _done: int = 0, _total: int | None = None, /) -> None:
    """Where nobody wants to know what is being done."""


def warn(text: str, label: str) -> None:
    """What a Python caller sees of notices: warnings, as Python's own."""
    if label == "warning":
        warnings.warn(text, stacklevel=3)
