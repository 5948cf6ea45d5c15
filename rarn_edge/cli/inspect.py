"""`rarn-edge inspect`: what any ONNX file is."""

from rarn_edge.cli.app import SHOW, app, out, print_json, say
from rarn_edge.cli.options import AnyOnnxFile, Json
from rarn_edge.errors import require_extra


@app.command(rich_help_panel=SHOW)
def inspect(file: AnyOnnxFile, as_json: Json = False) -> None:
    """Show any ONNX file: inputs, outputs, operators, size, precision, and its contract or what one would need."""
    require_extra("onnxruntime", "cpu")
    from rarn_edge.pipeline.inspect import inspect as inspect_file
    from rarn_edge.report.inspect import inspection_table

    found = inspect_file(file)
    if as_json:
        print_json(found.to_dict())
    else:
        out.print(inspection_table(found).to_rich())
        if found.stamp_command is not None:
            say(f"to add a contract: {found.stamp_command}")
