"""`rarn-edge stamp`: give a foreign file its contract."""

from rarn_edge.cli.app import MAKE, app, say
from rarn_edge.cli.options import ForeignFile, Output, Spec
from rarn_edge.errors import require_extra


@app.command(rich_help_panel=MAKE)
def stamp(source: ForeignFile, spec: Spec, output: Output) -> None:
    """Give a foreign ONNX file its contract: embed the spec that a TOML file describes."""
    require_extra("onnx", "export")
    from rarn_edge.pipeline.stamp import stamp as stamp_file

    artifact = stamp_file(source, spec, output)
    say(f"{artifact.path}: {artifact.spec.name}, {len(artifact.spec.classes)} classes, sha256 {artifact.sha256[:12]}")
