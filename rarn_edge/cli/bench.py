"""`rarn-edge bench`: speed and memory of several models."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rarn_edge.cli.app import CHECK, Device, Json, Provider, Seed, app, err, note, out, print_json, say, with_device
from rarn_edge.errors import GateError, InputError


@app.command(rich_help_panel=CHECK)
def bench(
    models: Annotated[list[str] | None, typer.Argument(help="Model names and ONNX files", metavar="MODEL...")] = None,
    suite: Annotated[Path | None, typer.Option(help="A suite: benchmarks/suites/*.toml, instead of MODEL...")] = None,
    files: Annotated[Path | None, typer.Option(help="Folder of the ONNX files that the suite names")] = None,
    baselines: Annotated[bool, typer.Option("--baselines", help="Add the baseline models")] = False,
    provider: Provider = "cpu",
    device: Device = None,
    allow_fallback: Annotated[
        bool,
        typer.Option("--allow-fallback", help="Let nodes the provider cannot take run on the CPU; the table says so"),
    ] = False,
    cuda_graph: Annotated[bool, typer.Option("--cuda-graph", help="Capture each call in a CUDA graph")] = False,
    batch: Annotated[str | None, typer.Option(help="Batch sizes, such as 1,8,32 [default: 1]")] = None,
    threads: Annotated[
        str | None,
        typer.Option(help="Threads, such as 1 or 1,2,4 for a sweep (default: the cores this process may use)"),
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Label that ratios refer to (default: the first)")] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Timed calls of each model [default: 100]")] = None,
    starts: Annotated[
        int | None,
        typer.Option(min=1, help="Times all processes are started anew, each with three rounds at least [default: 5]"),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Time for it all, such as 60s; goes where the doubt is")] = None,
    scenario: Annotated[
        str, typer.Option(help="single-stream, offline, server, multi-stream; or several, with commas")
    ] = ("single-stream"),
    p99_bound: Annotated[
        str | None, typer.Option(help="server: what p99 keeps to, such as 20ms (default: 5x median)")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say where the time goes, and how far the limits are")
    ] = False,
    memory: Annotated[bool | None, typer.Option(help="Measure memory, in fresh processes [default: yes]")] = None,
    audit: Annotated[
        bool | None, typer.Option(help="Audit the INT8 files: what runs in INT8, saturation [default: with --html]")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Labelled faces: also the accuracy of trained models")] = None,
    split: Annotated[str | None, typer.Option(help="Split of --data (default: the held-out one)")] = None,
    result: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the result as JSON; raw samples are saved after every round"),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write one self-contained HTML page")] = None,
    work: Annotated[Path, typer.Option(help="Where models given by name are exported")] = Path("build/models"),
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Latency, throughput, memory and size, models interleaved in one run, each beside a named reference."""
    provider = with_device(provider, device)
    from rarn_edge.bench.accuracy import measure_accuracy
    from rarn_edge.bench.cases import load_cases
    from rarn_edge.bench.request import OFFLINE_BATCHES, Request, read_seconds
    from rarn_edge.bench.run import benchmark
    from rarn_edge.bench.suite import Suite, load_suite
    from rarn_edge.cli.bench_files import bench_files, suite_files
    from rarn_edge.cli.bench_print import print_bench
    from rarn_edge.cli.inputs import read_numbers
    from rarn_edge.files import check_output, write_text
    from rarn_edge.models.catalog import CATALOG
    from rarn_edge.report.bench_json import bench_json
    from rarn_edge.report.bench_table import bench_warnings, failure_lines
    from rarn_edge.report.progress import bench_progress
    from rarn_edge.runtime.providers import check_provider

    check_provider(provider)
    if (suite is None) == (not models and not baselines):
        raise InputError(
            "name models or ONNX files, or a suite with --suite; not both"
            if models
            else "nothing to benchmark: name models or ONNX files, or a suite with --suite"
        )
    chosen = Suite(Request()) if suite is None else load_suite(suite)
    asked = _scenarios(scenario)
    request = replace(
        chosen.request,
        provider=provider,
        allow_fallback=allow_fallback,
        cuda_graph=cuda_graph,
        server="server" in asked,
        server_bound_s=None if p99_bound is None else read_seconds(p99_bound, "--p99-bound"),
        multi_stream="multi-stream" in asked,
        audit=html is not None if audit is None else audit,
        seed=seed,
    )
    if rounds is not None or budget is not None:  # either replaces both of the suite
        request = replace(request, rounds=rounds, budget_s=None if budget is None else read_seconds(budget, "--budget"))
    if "offline" in asked and request.batches == (1,):
        request = replace(request, batches=OFFLINE_BATCHES)
    over_suite: dict[str, Any] = {
        "batches": None if batch is None else read_numbers(batch, "--batch"),
        "threads": None if threads is None else read_numbers(threads, "--threads"),
        "starts": starts,
        "reference_label": reference,
        "memory": memory,
        "profile": profile or None,
    }
    request = replace(request, **{key: value for key, value in over_suite.items() if value is not None})
    for path in (result, html):
        if path is not None:
            check_output(path)
    if html is not None:
        from rarn_edge.report.html import require_html

        require_html()
    if data is not None and not data.exists():
        raise InputError(f"{data}: no such data set")
    if suite is None:
        names = [*(models or ()), *(name for name, entry in CATALOG.items() if baselines and entry.role == "baseline")]
        paths = bench_files(names, work)
    else:
        paths = suite_files(chosen, files, work)
    cases = load_cases(paths)
    journal = None if result is None else result.with_name(f"{result.name}.partial")
    with bench_progress(err) as on_progress:
        report = benchmark(cases, request, journal, on_progress)
    if data is not None:
        with err.status("measuring accuracy"):
            report = measure_accuracy(report, cases, data, split, provider)
    if result is not None and journal is not None:
        write_text(result, bench_json(report))
        journal.unlink()
    if html is not None:
        from rarn_edge.report.html import bench_page

        write_text(html, bench_page(report))
    if as_json:
        print_json(report.to_dict())
    else:
        print_bench(report, out)
    for warning in bench_warnings(report):
        note(warning, "warning")
    for path in (result, html):
        if path is not None and not as_json:
            say(str(path))
    if report.failures:
        raise GateError("\n".join(failure_lines(report)))


def _scenarios(text: str) -> set[str]:
    from rarn_edge.bench.request import SCENARIOS

    asked = {name.strip() for name in text.split(",")}
    for name in sorted(asked - set(SCENARIOS)):
        raise InputError(f"no scenario '{name}'; one of: {', '.join(SCENARIOS)}")
    return asked
