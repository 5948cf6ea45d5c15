"""Every error a user can cause or meet, so that the command line can print one or two lines and exit with the right code.

The message says what was found, what was expected, and what to do next.
"""

import importlib
from types import ModuleType


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
        raise InputError(
            f"this needs the package '{module}', which is not installed.\n"
            f'Install it with: pip install "rarn-edge[{extra}]"'
        ) from error
