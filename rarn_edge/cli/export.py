"""`rarn-edge export`: from PyTorch to one ONNX file."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import MAKE, Model, Weights, app, note, say


@app.command(rich_help_panel=MAKE)
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write")],
    model: Model = "rarn-s",
    weights: Weights = None,
    input_dtype: Annotated[
        str, typer.Option("--input", help="float32, or uint8: the graph takes raw pixels")
    ] = "float32",
    simplify: Annotated[bool, typer.Option(help="Simplify the graph, kept only if it answers the same")] = True,
    attention: Annotated[
        bool,
        typer.Option("--attention", help="For debugging: the attention mask as a second output (predict --explain)"),
    ] = False,
) -> None:
    """Export a model to one ONNX file that carries its whole contract."""
    from rarn_edge.files import check_outputs

    check_outputs([output], [weights])
    from rarn_edge.cli.inputs import read_input_dtype, read_weights

    takes = read_input_dtype(input_dtype)
    loaded = read_weights(model, weights)
    from rarn_edge.pipeline.run import export_and_simplify

    artifact, kept_because = export_and_simplify(loaded, output, simplify)
    if takes == "uint8":
        from rarn_edge.pipeline.bytes_in import float_graph_from_bytes

        artifact = float_graph_from_bytes(artifact, output)
    if kept_because:
        note(kept_because, "not simplified")
    if attention:
        from rarn_edge.pipeline.attention import expose_attention

        artifact = expose_attention(artifact, output)
    say(f"{artifact.path}: {artifact.spec.name}, {artifact.size_bytes / 1e6:.2f} MB, sha256 {artifact.sha256[:12]}")
