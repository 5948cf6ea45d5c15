"""The edge of the program: whatever goes wrong outside of it becomes one or two lines on stderr and an exit code.

A traceback is for bugs. A full disk, a closed stream, too little memory or a graph that ONNX Runtime refuses is not one.
"""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn, cast

import typer
from rich.text import Text

from rarn_edge.boundary.names import printable_lines
from rarn_edge.boundary.paths import shown, why
from rarn_edge.boundary.terminal import BROKEN_PIPE, SafeConsole, silence_stdout
from rarn_edge.errors import EXTRA_MODULES, INTERRUPTED, InputError, RarnEdgeError, first_line, missing_module

# typer has no public name for the base of what it raises on bad usage
_UsageError = cast("type[Exception]", typer.BadParameter.__mro__[2])
_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF, errno.EFBIG)
BUG = 70  # EX_SOFTWARE of sysexits.h
_FOREIGN = (
    "onnxruntime",
    "onnx",
    "google",
    "cv2",
    "pyarrow",
    "safetensors",
    "safetensors_rust",
    "torch",
    "zipfile",
    "zlib",
)


def run_command(app: Callable[..., Any], err: SafeConsole, debug: Callable[[], bool]) -> NoReturn:
    """Run the command line and exit with its code; `debug` says whether a traceback is wanted beside the line.

    Exit codes: 0, those of `errors`, 70 for a bug, 130 for Ctrl-C, 141 for a reader that went away.
    """
    _open_streams()
    _end_in_order()
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except SystemExit as stop:  # typer's answer to a broken pipe is 1, which is a failed check here
        broken = type(sys.stdout).__name__ == "PacifyFlushWrapper"
        code = BROKEN_PIPE if broken else stop.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except typer.Abort:
        code = INTERRUPTED
    except BrokenPipeError:
        silence_stdout()
        code = BROKEN_PIPE
    except _UsageError as error:
        code = _usage(error, err)
    except Exception as error:
        expected = expected_error(error)
        if expected is None:  # a bug: its code is not that of a failed check
            sys.excepthook(*sys.exc_info())
            sys.exit(BUG)
        if isinstance(error, OSError) and error.errno in _WRITING:
            silence_stdout()
        if debug():
            err.print_exception()
        label = Text("error:", "bold red")
        err.print(Text.assemble(label, f" {printable_lines(expected)}"), highlight=False, soft_wrap=True)
        code = expected.exit_code
    sys.exit(code if isinstance(code, int) else 0)


def expected_error(error: BaseException) -> RarnEdgeError | None:
    """The error to show in place of one that the system or a library raised; None for a bug of ours."""
    if isinstance(error, RarnEdgeError):
        return error
    if isinstance(error, ModuleNotFoundError):  # an optional package, met on the way
        extra = next((extra for extra, modules in EXTRA_MODULES.items() if error.name in modules), None)
        return None if extra is None or error.name is None else missing_module(error.name, extra)
    if isinstance(error, MemoryError):
        return InputError("there is not enough memory for this input or these options")
    if isinstance(error, RecursionError):
        return InputError("the input nests too deeply")
    if isinstance(error, UnicodeEncodeError) and any("\ud800" <= letter <= "\udfff" for letter in str(error.object)):
        return InputError(f"{shown(str(error.object))}: a name that is not UTF-8 cannot be used here")
    if isinstance(error, OSError):
        return _of_system(error)
    if type(error).__module__.partition(".")[0] in _FOREIGN:
        return InputError(first_line(error))
    return None


def _of_system(error: OSError) -> InputError:
    if error.filename is None:  # a stream that is open already: mostly standard output
        return InputError(f"the output cannot be written ({why(error)})" if error.errno in _WRITING else why(error))
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
    return InputError(f"{shown(name)}: {why(error)}")


def _usage(error: Any, err: SafeConsole) -> int:
    """Bad usage: how the command is called, and what was wrong."""
    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
    else:
        if error.ctx is not None:
            help_line = f"Try '{error.ctx.command_path} --help' for help."
            err.print(Text(f"{error.ctx.get_usage()}\n{help_line}"), highlight=False, soft_wrap=True)
        message = Text.assemble(Text("Error:", "bold red"), f" {error.format_message()}")
        err.print(message, highlight=False, soft_wrap=True)
    return int(error.exit_code)


def _end_in_order() -> None:
    """A polite kill (SIGTERM) unwinds as Ctrl-C does, so that files in progress are removed."""

    def stop(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, stop)


class _Closed(io.TextIOBase):
    """Stands in for a standard output that was closed before the program began: a result must not vanish without a word."""

    encoding = "utf-8"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:  # noqa: ARG002  # the signature of a stream
        raise OSError(errno.EBADF, "is closed", "standard output")

    def isatty(self) -> bool:
        return False


def _open_streams() -> None:
    """Three open streams, whatever the shell did; a file opened later must not get the number of a closed one."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  # for the life of the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError, ValueError):
                stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks
