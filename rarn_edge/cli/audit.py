"""`rarn-edge audit`: what an INT8 file really does here."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, OptionalData, Split, Threads, app, note, out, print_json
from rarn_edge.errors import GateError, require_extra


@app.command(rich_help_panel=CHECK)
def audit(
    file: Annotated[Path, typer.Argument(help="An ONNX file with its contract", metavar="MODEL.onnx")],
    data: OptionalData = None,
    split: Split = None,
    min_int8: Annotated[
        float | None, typer.Option(min=0, max=1, help="Fail below this share of multiply-adds in INT8, such as 0.95")
    ] = None,
    max_saturation_flips: Annotated[
        int | None, typer.Option(min=0, help="Fail when saturation flips more decisions than this")
    ] = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Show what ONNX Runtime really runs in INT8 on this CPU, each float island with its reason, and saturation."""
    require_extra("onnx", "export")
    from rarn_edge.audit.run import audit as audit_file
    from rarn_edge.cli.inputs import comparison_faces
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.report.audit import audit_table

    artifact = Artifact.load(file)
    faces, _, description = comparison_faces(data, split, artifact.spec.classes)
    result = audit_file(artifact, faces.images, threads)
    if as_json:
        print_json({"faces": description, **result.to_dict()})
    else:
        out.print(audit_table(result).to_rich())
    for warning in result.warnings:
        note(warning, "warning")
    failures = result.failures(min_int8, max_saturation_flips)
    if failures:
        raise GateError("the audit failed\n" + "\n".join(failures))
