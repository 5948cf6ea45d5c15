"""Commands that judge: parity, evaluate, bench."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Data, Json, OptionalData, Provider, Split, Threads, app, err, note, out, print_json
from rarn_edge.errors import InputError, require_extra


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
    from rarn_edge.cli.inputs import comparison_faces, gate, read_weights
    from rarn_edge.parity.chain import check_same_model, file_form, torch_form
    from rarn_edge.parity.hops import compare_chain
    from rarn_edge.report.tables import parity_table

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
        out.print(parity_table(hops, description))
    gate(hops)


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


@app.command(rich_help_panel=CHECK)
def bench(
    models: Annotated[list[str], typer.Argument(help="Model names and ONNX files", metavar="MODEL...")],
    baselines: Annotated[bool, typer.Option("--baselines", help="Add the baseline models")] = False,
    provider: Provider = "cpu",
    batch: Annotated[str, typer.Option(help="Batch sizes, such as 1,8,32")] = "1",
    threads: Threads = None,
    reference: Annotated[str | None, typer.Option(help="Label that ratios refer to (default: the first)")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Timed calls of each model")] = 100,
    memory: Annotated[bool, typer.Option(help="Measure peak memory, one fresh process each")] = True,
    work: Annotated[Path, typer.Option(help="Where models given by name are exported")] = Path("build/models"),
    as_json: Json = False,
) -> None:
    """Latency, throughput, memory and size, models interleaved in one run, each beside a named reference."""
    from rarn_edge.bench.cases import load_cases
    from rarn_edge.bench.run import benchmark
    from rarn_edge.cli.inputs import read_batches
    from rarn_edge.models.catalog import CATALOG, find_model
    from rarn_edge.providers import check_provider
    from rarn_edge.report.bench_table import bench_table, bench_warnings
    from rarn_edge.report.progress import bench_progress

    check_provider(provider)
    batches = read_batches(batch)
    names = [*models, *(name for name, entry in CATALOG.items() if baselines and entry.role == "baseline")]
    by_name = [find_model(name).name for name in dict.fromkeys(names) if not name.endswith(".onnx")]
    exported: dict[str, Path] = {}
    if by_name:
        from rarn_edge.pipeline.named import named_models

        with err.status(f"exporting {', '.join(by_name)}"):
            exported = {artifact.spec.name: artifact.path for artifact in named_models(by_name, work)}
    paths = [exported.get(name, Path(name)) for name in dict.fromkeys(names)]
    cases = load_cases(paths)
    with bench_progress(err) as on_progress:
        report = benchmark(
            cases, provider, batches, threads, rounds, reference_label=reference, memory=memory, on_progress=on_progress
        )
    if as_json:
        print_json(report.to_dict())
    else:
        out.print(bench_table(report))
    for warning in bench_warnings(report):
        note(warning, "warning")
