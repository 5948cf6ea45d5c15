"""`rarn-edge bundle`: what goes on the board, or to a server."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import USE, app, say
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=USE)
def bundle(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or an ONNX file")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder, a .zip, or for web one .html file")],
    form: Annotated[
        str, typer.Option("--format", help="board, triton: a model repository for a server, or web: a page")
    ] = "board",
    parity: Annotated[
        Path | None, typer.Option(help="A parity bundle to put beside it (shipped models have their own)")
    ] = None,
    ort_web: Annotated[
        Path | None, typer.Option(help="For web: the npm package, such as node_modules/onnxruntime-web")
    ] = None,
) -> None:
    """Pack a model for a board, a server or a browser, with checks, model card and licences."""
    require_extra("onnxruntime", "cpu")
    from rarn_edge.assets import shipped_bundle, shipped_quality
    from rarn_edge.board.make import Format, make_bundle
    from rarn_edge.device.model import find_model_file, is_shipped

    forms: dict[str, Format] = {"board": "board", "triton": "triton", "web": "web"}
    if form not in forms:
        raise InputError(f"no format '{form}'; one of: {', '.join(forms)}")
    if ort_web is not None and form != "web":
        raise InputError("--ort-web is for --format web")
    measured = None
    if is_shipped(model):
        parity = parity or shipped_bundle(model)
        measured = shipped_quality().get(model)
    names = make_bundle(find_model_file(model), output, forms[form], parity, measured, ort_web)
    say(f"{output}: {', '.join(names)}")
