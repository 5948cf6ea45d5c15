"""The command line: options, one call, one print. Everything heavy is imported inside a command, so `--help` is instant."""

import os
from typing import NoReturn

from rarn_edge.boundary.edge import run_command

# isort: off
# The order of these lines is the order of --help: the pipeline's.
from rarn_edge.cli import run
from rarn_edge.cli import train
from rarn_edge.cli import export
from rarn_edge.cli import quantize
from rarn_edge.cli import stamp
from rarn_edge.cli import audit
from rarn_edge.cli import verdict
from rarn_edge.cli import parity
from rarn_edge.cli import verify
from rarn_edge.cli import evaluate
from rarn_edge.cli import bench
from rarn_edge.cli import compare
from rarn_edge.cli import predict
from rarn_edge.cli import score
from rarn_edge.cli import bundle
from rarn_edge.cli import doctor
from rarn_edge.cli import inspect
from rarn_edge.cli import models

# isort: on
from rarn_edge.cli.app import State, app, err

__all__ = [
    "app",
    "main",
    "inspect",
    "run",
    "train",
    "export",
    "quantize",
    "stamp",
    "audit",
    "verdict",
    "parity",
    "verify",
    "evaluate",
    "bench",
    "predict",
    "compare",
    "score",
    "bundle",
    "doctor",
    "models",
]


def main() -> NoReturn:
    """Entry point: expected errors become one or two lines on stderr and their exit code."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # a broken image is reported once, by us
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # and so is a broken video
    run_command(app, err, lambda: State.debug)
