"""`rarn-edge run`: the whole pipeline in one command."""

from typing import TYPE_CHECKING

from rarn_edge.cli import options as o
from rarn_edge.cli.app import MAKE, app, err, note, out, say
from rarn_edge.cli.network import network_if_named, says_input
from rarn_edge.errors import require_extras

if TYPE_CHECKING:
    from rarn_edge.models.find import NetworkInput


@app.command(rich_help_panel=MAKE)
@says_input
def run(
    takes: "NetworkInput",
    folder: o.Folder,
    model: o.WeightsOrModel = None,
    weights: o.Weights = None,
    labels: o.Labels = None,
    target: o.Target = "auto",
    data: o.OptionalData = None,
    split: o.Split = None,
    votes: o.Votes = None,
    calib: o.Calib = None,
    images: o.CalibImages = None,
    baselines: o.WithBaselines = True,
    threads: o.RunThreads = None,
    seed: o.CalibSeed = None,
) -> None:
    """The whole pipeline: export, simplify, quantize, parity, benchmark, report. Exit code 1 when a parity step fails."""
    require_extras("export")
    require_extras("report")
    from rarn_edge.cli.gate import gate
    from rarn_edge.cli.stages import stages
    from rarn_edge.report.bench import bench_table, bench_warnings
    from rarn_edge.report.parity import parity_tables
    from rarn_edge.workflow.run import run as run_all

    network = network_if_named(model, takes)
    with stages(err) as on_stage:
        done = run_all(
            folder, network, weights=weights, labels=labels, target=target, data=data, split=split, votes=votes, calib=calib,
            images=images, baselines=baselines, threads=threads, seed=seed, on_stage=on_stage, on_notice=note,
        )  # fmt: skip
    out.print(parity_tables(done.parity)[0].to_rich())
    out.print(bench_table(done.bench).to_rich())
    for warning in bench_warnings(done.bench):
        note(warning, "warning")
    if done.kept_because:
        note(done.kept_because, "not simplified")
    for path, meaning in done.files:
        say(f"{path}  {meaning}")
    gate(done.parity)
