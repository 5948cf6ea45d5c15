"""The command line: options, one call, one print. Everything heavy is imported inside a command, so `--help` is instant."""

import os
import sys
from typing import NoReturn

from rich.markup import escape

from rarn_edge.cli import build, check, show
from rarn_edge.cli.app import State, app, err
from rarn_edge.errors import InputError, RarnEdgeError

EXTRAS = {"onnxruntime": "cpu", "torch": "export", "onnx": "export", "onnxscript": "export", "safetensors": "export"}
"""Optional modules and the extra that installs each, for a command that meets a missing one on its way."""

__all__ = ["app", "build", "check", "main", "show"]


def main() -> NoReturn:
    """Entry point: expected errors become one or two lines on stderr and their exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a broken image is reported once, by us
    try:
        app()
    except RarnEdgeError as error:
        if State.debug:
            err.print_exception()
        err.print(f"[bold red]error:[/bold red] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(error.name or "")
        if extra is None or State.debug:
            raise
        install = f'Install it with: pip install "rarn-edge[{extra}]"'
        message = f"this needs the package '{error.name}', which is not installed.\n{install}"
        err.print(f"[bold red]error:[/bold red] {escape(message)}", highlight=False, soft_wrap=True)
        sys.exit(InputError.exit_code)
    sys.exit(0)
