"""`rarn-edge stamp`: give a foreign file its contract."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import MAKE, app, say
from rarn_edge.errors import require_extra


@app.command(rich_help_panel=MAKE)
def stamp(
    source: Annotated[Path, typer.Argument(help="Any ONNX file with one image input", metavar="MODEL.onnx")],
    spec: Annotated[Path, typer.Option(help="TOML: name, classes, preprocess, output")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write")],
) -> None:
    """Give a foreign ONNX file its contract: embed the spec that a TOML file describes."""
    require_extra("onnx", "export")
    from rarn_edge.files import check_outputs
    from rarn_edge.pipeline.foreign import stamp_foreign

    check_outputs([output], [source, spec])
    artifact = stamp_foreign(source, spec, output)
    say(f"{artifact.path}: {artifact.spec.name}, {len(artifact.spec.classes)} classes, sha256 {artifact.sha256[:12]}")
