"""`rarn-edge bundle`: what goes on the board, or to a server."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import USE, app, say
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=USE)
def bundle(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or an ONNX file")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder, or a .zip")],
    form: Annotated[str, typer.Option("--format", help="board, or triton: a model repository for a server")] = "board",
    parity: Annotated[
        Path | None, typer.Option(help="A parity bundle to put beside it (shipped models have their own)")
    ] = None,
) -> None:
    """Pack a model with a 40-line script, pinned requirements, checks, model card and licence."""
    require_extra("onnxruntime", "cpu")
    from rarn_edge.assets import shipped_bundle, shipped_quality
    from rarn_edge.board.make import Format, make_bundle
    from rarn_edge.device.model import find_model_file, is_shipped

    forms: dict[str, Format] = {"board": "board", "triton": "triton"}
    if form not in forms:
        raise InputError(f"no format '{form}'; one of: {', '.join(forms)}")
    measured = None
    if is_shipped(model):
        parity = parity or shipped_bundle(model)
        measured = shipped_quality().get(model)
    names = make_bundle(find_model_file(model), output, forms[form], parity, measured)
    say(f"{output}: {', '.join(names)}")
