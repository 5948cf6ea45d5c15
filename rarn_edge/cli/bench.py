"""`rarn-edge bench`: speed and memory of several models."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rarn_edge.cli import options as o
from rarn_edge.cli.app import CHECK, app, err, note, out, print_json, say, with_device
from rarn_edge.cli.network import says_input
from rarn_edge.errors import GateError, InputError

if TYPE_CHECKING:
    from rarn_edge.bench.config import BenchConfig
    from rarn_edge.models.find import NetworkInput


@app.command(rich_help_panel=CHECK)
@says_input
def bench(
    takes: "NetworkInput",
    models: o.Models = None,
    suite: o.SuiteFile = None,
    files: o.SuiteFolder = None,
    baselines: o.AddBaselines = False,
    provider: o.Provider = "cpu",
    device: o.Device = None,
    allow_fallback: o.AllowFallback = False,
    cuda_graph: o.CudaGraph = False,
    batch: o.Batches = None,
    threads: o.ThreadSweep = None,
    reference: o.ReferenceLabel = None,
    rounds: o.Rounds = None,
    starts: o.Starts = None,
    budget: o.Budget = None,
    scenario: o.Scenario = "single-stream",
    p99_bound: o.P99Bound = None,
    profile: o.Profile = False,
    memory: o.Memory = None,
    audit: o.WithAudit = None,
    data: o.BenchData = None,
    split: o.BenchSplit = None,
    votes: o.Votes = None,
    result: o.Result = None,
    html: o.Html = None,
    work: o.Work = Path("build/models"),
    seed: o.Seed = 0,
    as_json: o.Json = False,
) -> None:
    """Latency, throughput, memory and size, models interleaved in one run, each beside a named reference."""
    from rarn_edge.bench.config import BenchConfig
    from rarn_edge.bench.suite import load_suite
    from rarn_edge.cli.progress import bench_progress
    from rarn_edge.cli.stages import when_needed
    from rarn_edge.report.bench import bench_table, bench_warnings, extra_tables, failure_lines
    from rarn_edge.workflow.bench import benchmark

    chosen = None if suite is None else load_suite(suite)
    config = _config(
        BenchConfig() if chosen is None else chosen.config, scenario, batch, threads, rounds, budget, p99_bound,
        provider=with_device(provider, device), allow_fallback=allow_fallback, cuda_graph=cuda_graph, seed=seed, launches=starts,
        reference_label=reference, memory=memory, profile=profile or None,
        audit=audit, html=html,
    )  # fmt: skip
    with when_needed(bench_progress(err)) as shown:
        report = benchmark(
            models or (), suite=chosen, files=files, baselines=baselines, config=config, data=data, split=split, votes=votes,
            out=result, html=html, work=work, takes=takes, on_progress=lambda state: shown()(state),
        )  # fmt: skip
    if as_json:
        print_json(report.to_dict())
    for table in () if as_json else (bench_table(report), *extra_tables(report)):
        out.print(table.to_rich())
    for warning in bench_warnings(report):
        note(warning, "warning")
    for path in filter(None, () if as_json else (result, html)):
        say(str(path))
    if report.failures:
        raise GateError("\n".join(failure_lines(report)))


def _config(
    given: "BenchConfig",
    scenario: str,
    batch: str | None,
    threads: str | None,
    rounds: int | None,
    budget: str | None,
    p99_bound: str | None,
    html: Path | None,
    **others: Any,
) -> "BenchConfig":
    """The suite's configuration, or the default, with what the options say; None leaves it as it is."""
    from rarn_edge.bench.config import OFFLINE_BATCHES, SCENARIOS, read_seconds
    from rarn_edge.cli.inputs import read_numbers

    asked = {name.strip() for name in scenario.split(",")}
    for name in sorted(asked - set(SCENARIOS)):
        raise InputError(f"no scenario '{name}'; one of: {', '.join(SCENARIOS)}")
    if p99_bound is not None and "server" not in asked:
        raise InputError("--p99-bound is of the server scenario: add --scenario server")
    if rounds is not None and budget is not None:
        raise InputError("--rounds and --budget both say how long to measure; give one")
    if others["cuda_graph"] and others["provider"] not in ("cuda", "tensorrt"):
        raise InputError("--cuda-graph is for --provider cuda or tensorrt")
    if others["audit"] is None:
        others["audit"] = html is not None and others["provider"] == "cpu"
    config = replace(
        given,
        server="server" in asked,
        server_bound_s=None if p99_bound is None else read_seconds(p99_bound, "--p99-bound"),
        multi_stream="multi-stream" in asked,
    )
    if rounds is not None or budget is not None:  # either replaces both of the suite
        config = replace(config, rounds=rounds, budget_s=None if budget is None else read_seconds(budget, "--budget"))
    if "offline" in asked and config.batches == (1,):
        config = replace(config, batches=OFFLINE_BATCHES)
    others["batches"] = None if batch is None else read_numbers(batch, "--batch")
    others["threads"] = None if threads is None else read_numbers(threads, "--threads")
    return replace(config, **{key: value for key, value in others.items() if value is not None})
