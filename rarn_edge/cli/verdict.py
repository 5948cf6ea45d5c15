"""`rarn-edge verdict`: is the quantized file worth shipping?"""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, OptionalData, Split, Threads, app, note, print_json, say


@app.command(rich_help_panel=CHECK)
def verdict(
    reference: Annotated[Path, typer.Argument(help="The float32 file", metavar="FLOAT.onnx")],
    candidate: Annotated[Path, typer.Argument(help="The quantized file", metavar="INT8.onnx")],
    data: OptionalData = None,
    split: Split = None,
    threads: Threads = 1,
    rounds: Annotated[int, typer.Option(min=20, help="Timed calls of each file, in turns")] = 200,
    as_json: Json = False,
) -> None:
    """One line: how much faster on this CPU, what it costs in accuracy (paired interval), and whether to ship it."""
    from rarn_edge.cli.inputs import comparison_faces
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.parity.chain import check_same_model
    from rarn_edge.workflow.verdict import measure

    before, after = Artifact.load(reference), Artifact.load(candidate)
    check_same_model([before, after], None)
    faces, labels, description = comparison_faces(data, split, before.spec.classes)
    result = measure(before, after, faces, labels, threads or 1, rounds)
    for warning in result.warnings:
        note(warning, "warning")
    if as_json:
        print_json({"faces": description, "threads": threads, **result.to_dict()})
    else:
        say(f"{after.spec.name} on {description}: {result.line()}")
