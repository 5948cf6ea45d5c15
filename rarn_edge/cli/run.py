"""`rarn-edge run`: the whole pipeline in one command."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import (
    MAKE,
    Calib,
    CalibImages,
    Model,
    OptionalData,
    Seed,
    Split,
    Target,
    Threads,
    Weights,
    app,
    err,
    note,
    out,
    say,
)
from rarn_edge.errors import require_extras


@app.command(rich_help_panel=MAKE)
def run(
    folder: Annotated[Path, typer.Option("--out", help="Folder for everything that is made")],
    model: Model = "rarn-s",
    weights: Weights = None,
    target: Target = "auto",
    data: OptionalData = None,
    split: Split = None,
    calib: Calib = None,
    images: CalibImages = 512,
    baselines: Annotated[bool, typer.Option(help="Benchmark beside the baseline models")] = True,
    threads: Threads = None,
    seed: Seed = 0,
) -> None:
    """The whole pipeline: export, simplify, quantize, parity, benchmark, report. Exit code 1 when a parity hop fails."""
    require_extras("export")
    require_extras("report")
    from rarn_edge.cli.gate import gate
    from rarn_edge.cli.inputs import calibration_faces, comparison_faces, read_target, read_weights
    from rarn_edge.files import check_apart, make_folder
    from rarn_edge.host.threads import default_threads
    from rarn_edge.pipeline.calibrate import ranges_of
    from rarn_edge.pipeline.run import run_pipeline
    from rarn_edge.report.bench_table import bench_table, bench_warnings
    from rarn_edge.report.ledger import ledger_table
    from rarn_edge.report.progress import stage_progress

    check_apart([folder / f"{model}.onnx", folder / "report.json"], [weights], [data, calib])
    loaded = read_weights(model, weights)
    chosen = read_target(target)
    calibration = ranges_of(model, loaded.sha256) if calib is None else calibration_faces(calib, images, seed)
    faces, labels, description = comparison_faces(data, split, loaded.spec.classes)
    make_folder(folder)
    with stage_progress(err) as on_stage:
        result = run_pipeline(
            loaded,
            folder,
            chosen,
            faces,
            labels,
            description,
            calibration=calibration,
            baselines=baselines,
            threads=threads or default_threads(),
            on_stage=on_stage,
        )
    out.print(ledger_table(list(result.hops), description))
    out.print(bench_table(result.bench))
    for warning in bench_warnings(result.bench):
        note(warning, "warning")
    if result.kept_because:
        note(result.kept_because, "not simplified")
    for path, meaning in result.files:
        say(f"{path}  {meaning}")
    gate(list(result.hops))
