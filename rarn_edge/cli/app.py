"""The application object, its two consoles, and the options that several commands share."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from rarn_edge.boundary.documents import to_json
from rarn_edge.boundary.limits import MAX_THREADS
from rarn_edge.boundary.names import printable
from rarn_edge.boundary.terminal import SafeConsole

app = typer.Typer(
    name="rarn-edge",
    help="Facial-expression models from PyTorch to a device: train, export, quantize, check, benchmark.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = SafeConsole()  # results
err = SafeConsole(stderr=True)  # progress, warnings, errors

MAKE, CHECK, USE, SHOW = "Make a model", "Check a model", "Use a model", "Look around"  # the panels of --help

Model = Annotated[str, typer.Option(help="Model name; see: rarn-edge models")]
Weights = Annotated[Path | None, typer.Option(help="Weights from `train` (default: those shipped in the package)")]
Data = Annotated[Path, typer.Option(help="Labelled faces: a zip or folder of class folders, or a FER-2013 CSV")]
OptionalData = Annotated[Path | None, typer.Option(help="Labelled faces to compare on (default: synthetic faces)")]
Split = Annotated[
    str | None, typer.Option(help="Training, PublicTest, PrivateTest, test or all (default: the held-out one)")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random")]
Threads = Annotated[
    int | None, typer.Option(min=1, max=MAX_THREADS, help="Threads (default: the cores this process may use)")
]
Provider = Annotated[str, typer.Option(help="cpu, cuda, tensorrt, openvino, ...; never falls back to another")]
Target = Annotated[str, typer.Option(help="x86-avx2, x86-vnni, arm, tensorrt, or auto (this machine)")]
Calib = Annotated[Path | None, typer.Option(help="Data to measure activation ranges on (its Training split)")]
CalibImages = Annotated[int, typer.Option("--images", min=1, help="How many of them: a seeded, balanced sample")]


class State:
    """What the options before the command say."""

    debug = False


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error")] = False,
) -> None:
    State.debug = debug


def say(text: str) -> None:
    """One line of result on stdout, never broken at the width of the terminal: paths stay whole."""
    out.print(Text(printable(text)), highlight=False, soft_wrap=True)


def note(text: str, label: str = "") -> None:
    """One line on stderr, `label` in yellow before it."""
    prefix = Text(f"{label}: ", "yellow") if label else Text()
    err.print(Text.assemble(prefix, text), highlight=False, soft_wrap=True)


def print_json(data: Any) -> None:
    """One JSON document on stdout, nothing else; a figure that is no number becomes null."""
    typer.echo(to_json(data, indent=2))
