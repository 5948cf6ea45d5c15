"""The application object, its two consoles, and how a command speaks."""

from typing import Annotated, Any

import typer
from rich.text import Text

from rarn_edge.boundary.documents import to_json
from rarn_edge.boundary.names import printable
from rarn_edge.boundary.terminal import SafeConsole
from rarn_edge.errors import require_extra

app = typer.Typer(
    name="rarn-edge",
    help="Facial-expression models from PyTorch to a device: train, export, quantize, check, benchmark.",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = SafeConsole()  # results
err = SafeConsole(stderr=True)  # progress, warnings, errors

FIRST = """\
Facial-expression models from PyTorch to a device. To begin with:

  rarn-edge predict photo.jpg        expressions in a picture, folder or video; 0: the camera
  rarn-edge run --out build/demo     export, quantize, check and benchmark rarn-s
  rarn-edge doctor                   what this machine can run

All commands: rarn-edge --help"""

MAKE, CHECK, USE, SHOW = "Make a model", "Check a model", "Use a model", "Look around"  # the panels of --help


class State:
    """What the options before the command say."""

    debug = False


@app.callback()
def options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="Show the full traceback of an error")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version and leave")] = False,
) -> None:
    State.debug = debug
    if version:
        from importlib.metadata import version as installed_version

        say(f"rarn-edge {installed_version('rarn-edge')}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        out.print(FIRST, highlight=False, soft_wrap=True)
        raise typer.Exit(2)  # nothing was asked for


def with_device(provider: str, device: str | None) -> str:
    """The provider and its device as one text.

    Raises:
        InputError: no such provider or device.
    """
    if device is None:
        return provider
    require_extra("onnxruntime", "cpu")
    from rarn_edge.runtime.providers import on_device

    return on_device(provider, device)


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
