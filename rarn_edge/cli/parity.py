"""`rarn-edge parity`: compare the forms of a model."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, OptionalData, Provider, Split, Threads, app, out, print_json
from rarn_edge.errors import InputError


@app.command(rich_help_panel=CHECK)
def parity(
    files: Annotated[list[Path], typer.Argument(help="ONNX files in pipeline order", metavar="MODEL.onnx...")],
    model: Annotated[str | None, typer.Option(help="Start the chain in torch, with this model's weights")] = None,
    weights: Annotated[Path | None, typer.Option(help="Start the chain in torch, with these weights")] = None,
    data: OptionalData = None,
    split: Split = None,
    provider: Provider = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Compare the forms of a model hop by hop: torch, ONNX, simplified, INT8. Exit code 1 when a hop fails."""
    from rarn_edge.artifact import Artifact
    from rarn_edge.cli.gate import gate
    from rarn_edge.cli.inputs import comparison_faces, read_weights
    from rarn_edge.parity.chain import check_same_model, file_form, torch_form
    from rarn_edge.parity.hops import compare_chain
    from rarn_edge.report.ledger import ledger_table

    artifacts = [Artifact.load(file) for file in files]
    start = read_weights(model or artifacts[0].spec.name, weights) if model or weights else None
    if len(artifacts) + (start is not None) < 2:
        raise InputError("a comparison needs two forms: give a second file, or --model to start from torch")
    check_same_model(artifacts, start)
    faces, labels, description = comparison_faces(data, split, artifacts[0].spec.classes)
    forms = [torch_form(start, faces)] if start else []
    forms += [file_form(artifact, faces, provider, threads) for artifact in artifacts]
    hops = compare_chain(forms, labels)
    if as_json:
        print_json({"faces": description, "hops": [hop.to_dict() for hop in hops]})
    else:
        out.print(ledger_table(hops, description))
    gate(hops)
