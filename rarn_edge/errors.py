"""Every error a user can cause or meet, so that the command line can print one or two lines and exit with the right code.

The message says what was found, what was expected, and what to do next.
"""

import importlib
import re
import sys
from collections.abc import Callable
from types import ModuleType

INTERRUPTED = 130  # exit code of Ctrl-C


class RarnEdgeError(Exception):
    """Base of all expected errors; `exit_code` is what the command line returns."""

    exit_code = 2


class InputError(RarnEdgeError):
    """Bad usage or bad input: a wrong name, a broken file, an impossible option."""


class GateError(RarnEdgeError):
    """A check ran and failed: parity, agreement, an accuracy budget."""

    exit_code = 1


class ProviderError(RarnEdgeError):
    """The requested execution provider cannot be had on this machine."""

    exit_code = 3


EXTRA_MODULES = {
    "cpu": ("onnxruntime",),
    "export": ("torch", "onnx", "onnx_ir", "onnxscript", "onnxsim", "safetensors"),
    "score": ("pyarrow",),
    "ray": ("ray",),
    "train": ("torch", "safetensors", "matplotlib"),
    "report": ("matplotlib", "jinja2"),
}
"""What each extra of the package brings, by import name."""


def missing_module(module: str, extra: str) -> InputError:
    """The error for an optional module that is not installed."""
    return InputError(
        f"this needs the package '{module}', which is not installed.\nInstall it with: pip install \"rarn-edge[{extra}]\""
    )


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional module, or say which extra installs it.

    Raises:
        InputError: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and not module.startswith(error.name):
            raise  # the module is there but one of its own imports is broken: not ours to explain away
        raise missing_module(module, extra) from error


def require_extras(extra: str) -> None:
    """Import everything an extra brings: before the work rather than in the middle of it.

    Raises:
        InputError: the first module that is not installed.
    """
    for module in EXTRA_MODULES[extra]:
        require_extra(module, extra)


_RUNTIME_NOISE = re.compile(
    r"\[ONNXRuntimeError\] : \d+ : \w+ : "  # the kind of error by number
    r"|\S*[/\\]\S+\.(?:cc|cpp|h|hpp|cu|cuh):\d+ (?:[\w:<>~*& ]+\((?:[^()]|\([^()]*\))*\)(?: const)?\s*)?"  # a place in C++
)
LONGEST_REASON = 200


def first_line(error: BaseException) -> str:
    """What an exception of another library says, in one line of about 200 characters, without places in its source."""
    text = _RUNTIME_NOISE.sub("", str(error)).strip()
    line = (text.splitlines() or [""])[0].strip() or type(error).__name__
    return line if len(line) <= LONGEST_REASON else line[:LONGEST_REASON].rsplit(" ", 1)[0] + " ..."


def run_script(main: Callable[[], None]) -> None:
    """Run a script of this repository; an expected error is one line and its exit code, not a traceback."""
    try:
        main()
    except RarnEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
