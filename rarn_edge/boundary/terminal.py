"""The consoles: what they print was written for people, so no name in it may steer the terminal or be read as markup."""

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import NoReturn, TextIO

from rich.console import Console
from rich.segment import Segment

from rarn_edge.boundary.names import printable_lines

BROKEN_PIPE = 141  # as a shell counts a program that was ended by SIGPIPE


class SafeConsole(Console):
    """Text is text: `[red]` is no colour, and unprintable characters are written out, whatever they come in."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        """The last step before the stream; rich's own control codes come in segments marked as such."""
        safe = (part if part.control else Segment(printable_lines(part.text), part.style) for part in buffer)
        return super()._render_buffer(safe)

    def on_broken_pipe(self) -> NoReturn:
        """The reader has seen enough (`| head`): that is no error of ours to explain."""
        self.quiet = True
        silence_stdout()
        raise SystemExit(BROKEN_PIPE)


_REDIRECTED = threading.RLock()


@contextlib.contextmanager
def spoken_into(stream: TextIO | None, errors: bool = False) -> Iterator[None]:
    """What others' code prints goes there (None: to stderr), and with `errors` what it writes to stderr as well.

    The streams are the process's, so threads take turns: two that redirect at once would leave the one's stream to the other.
    """
    with _REDIRECTED:
        to_stderr = contextlib.redirect_stderr(stream) if errors else contextlib.nullcontext()
        with contextlib.redirect_stdout(sys.stderr if stream is None else stream), to_stderr:
            yield


def silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere: it could only fail a second time."""
    if sys.stdout is sys.__stdout__ and sys.stdout is not None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
