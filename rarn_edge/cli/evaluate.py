"""`rarn-edge evaluate`: accuracy of one model."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Data, Json, Provider, Split, Threads, app, out, print_json
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=CHECK)
def evaluate(
    file: Annotated[Path, typer.Argument(help="An ONNX file, or weights from `train`", metavar="MODEL")],
    data: Data,
    split: Split = None,
    provider: Provider = "cpu",
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Accuracy with its 95 % interval, macro-F1 and a per-class table of a checkpoint or an ONNX file."""
    from rarn_edge.artifact import Artifact
    from rarn_edge.cli.inputs import describe, labelled_faces, warn_host
    from rarn_edge.metrics import evaluate_logits
    from rarn_edge.parity.chain import file_form, torch_form
    from rarn_edge.report.tables import evaluation_table

    if file.suffix == ".safetensors":
        require_extra("torch", "train")
        from rarn_edge.train.checkpoint import load_weights

        if provider != "cpu":
            raise InputError(f"weights are evaluated in torch on the CPU; export them first to run on '{provider}'")
        weights = load_weights(file)
        faces = labelled_faces(data, split)
        form, classes = torch_form(weights, faces), weights.spec.classes
    elif file.suffix == ".pt":
        raise InputError(f"{file}: is the checkpoint to resume from; evaluate {file.with_name('weights.safetensors')}")
    else:
        artifact = Artifact.load(file)
        warn_host(artifact.contract.target)
        faces = labelled_faces(data, split)
        form, classes = file_form(artifact, faces, provider, threads), artifact.spec.classes
    evaluation = evaluate_logits(form.logits, faces.labels_in(classes), classes)
    if as_json:
        print_json({"file": str(file), "faces": describe(faces), **evaluation.to_dict()})
    else:
        out.print(evaluation_table(evaluation, f"{file.name} on {describe(faces)}"))
