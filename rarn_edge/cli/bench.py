"""`rarn-edge bench`: speed and memory of several models."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, Provider, Threads, app, err, note, out, print_json


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
