"""Commands that make files: train, export, quantize, run, stamp."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import (
    MAKE,
    Calib,
    CalibImages,
    Data,
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
from rarn_edge.errors import InputError, require_extra, require_extras


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
    from rarn_edge.cli.inputs import calibration_faces, comparison_faces, gate, read_target, read_weights
    from rarn_edge.files import make_folder
    from rarn_edge.pipeline.run import ranges_of, run_pipeline
    from rarn_edge.report.bench_table import bench_table, bench_warnings
    from rarn_edge.report.progress import stage_progress
    from rarn_edge.report.tables import parity_table
    from rarn_edge.threads import default_threads

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
    out.print(parity_table(list(result.hops), description))
    out.print(bench_table(result.bench))
    for warning in bench_warnings(result.bench):
        note(warning, "warning")
    if result.kept_because:
        note(result.kept_because, "not simplified")
    for path, meaning in result.files:
        say(f"{path}  {meaning}")
    gate(list(result.hops))


@app.command(rich_help_panel=MAKE)
def train(
    data: Data,
    folder: Annotated[Path, typer.Option("--out", help="Folder of the run: checkpoint, weights, log, curves")],
    model: Model = "rarn-s",
    recipe: Annotated[str, typer.Option(help="paper or edge")] = "edge",
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the recipe's number")] = None,
    batch: Annotated[int | None, typer.Option(min=2, help="Instead of the recipe's size")] = None,
    seed: Seed = 0,
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, bit-exactly")] = False,
) -> None:
    """Train a model. A checkpoint is written after every epoch; Ctrl-C loses at most the epoch in progress."""
    require_extras("train")
    from dataclasses import replace

    from rarn_edge.data import load_faces
    from rarn_edge.models.catalog import find_model
    from rarn_edge.report.progress import training_progress
    from rarn_edge.threads import default_threads
    from rarn_edge.train.loop import WEIGHTS_FILE, Run, split_for_training
    from rarn_edge.train.loop import train as train_model
    from rarn_edge.train.recipe import find_recipe

    find_model(model)
    found = find_recipe(recipe)
    chosen = replace(found, epochs=epochs or found.epochs, batch=batch or found.batch)
    train_faces, test_faces = split_for_training(load_faces(data), seed)
    job = Run(model, chosen, seed, train_faces, test_faces, folder, threads or default_threads())
    note(f"{model}, recipe {recipe}: {len(train_faces):,} faces to train on, {len(test_faces):,} to test on")
    try:
        with training_progress(err, chosen.epochs) as progress:
            history = train_model(job, resume, progress.on_batch, progress.on_epoch)
    except KeyboardInterrupt:
        note(f"stopped; {folder} holds every finished epoch. Continue with the same command and --resume")
        raise typer.Exit(130) from None
    last = history[-1]
    say(f"{folder / WEIGHTS_FILE}: test accuracy {last.test_accuracy:.2%} after epoch {last.epoch}")


@app.command(rich_help_panel=MAKE)
def export(
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write")],
    model: Model = "rarn-s",
    weights: Weights = None,
    simplify: Annotated[bool, typer.Option(help="Simplify the graph, kept only if it answers the same")] = True,
) -> None:
    """Export a model to one ONNX file that carries its whole contract."""
    from rarn_edge.files import check_output

    check_output(output)
    from rarn_edge.cli.inputs import read_weights

    loaded = read_weights(model, weights)
    from rarn_edge.pipeline.run import export_and_simplify

    artifact, kept_because = export_and_simplify(loaded, output, simplify)
    if kept_because:
        note(kept_because, "not simplified")
    say(f"{artifact.path}: {artifact.spec.name}, {artifact.size_bytes / 1e6:.2f} MB, sha256 {artifact.sha256[:12]}")


@app.command(rich_help_panel=MAKE)
def quantize(
    source: Annotated[Path, typer.Argument(help="A float32 ONNX file from `export`", metavar="MODEL.onnx")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The INT8 file to write")],
    target: Target = "auto",
    calib: Calib = None,
    images: CalibImages = 512,
    method: Annotated[str, typer.Option(help="percentile or minmax")] = "percentile",
    ranges: Annotated[Path | None, typer.Option(help="Ranges saved earlier, instead of --calib")] = None,
    save_ranges: Annotated[Path | None, typer.Option(help="Also write the measured ranges, for --ranges")] = None,
    seed: Seed = 0,
) -> None:
    """Quantize to static INT8 for one target. Without --calib or --ranges, the ranges shipped for the model are used."""
    require_extra("onnx", "export")
    from rarn_edge.artifact import Artifact
    from rarn_edge.cli.inputs import calibration_faces, read_method, read_target
    from rarn_edge.files import check_output
    from rarn_edge.pipeline.calibrate import Ranges, calibrate
    from rarn_edge.pipeline.quantize import quantize as quantize_artifact
    from rarn_edge.pipeline.run import ranges_of
    from rarn_edge.report.progress import image_progress

    if calib is not None and ranges is not None:
        raise InputError("--calib measures ranges and --ranges reads them; give one of the two")
    for path in (output, save_ranges):
        if path is not None:
            check_output(path)
    given = [path.resolve() for path in (source, output, save_ranges) if path is not None]
    if len(set(given)) < len(given):
        raise InputError(f"{output}: the model, --output and --save-ranges need three different paths")
    artifact = Artifact.load(source)
    chosen, how = read_target(target), read_method(method)
    if calib is not None:
        faces = calibration_faces(calib, images, seed)
        with image_progress(err, "calibrating") as on_progress:
            measured = calibrate(artifact, faces, how, on_progress)
    else:
        made_from = artifact.contract.provenance.get("weights_sha256")
        measured = Ranges.load(ranges) if ranges is not None else ranges_of(artifact.spec.name, made_from)
    done = quantize_artifact(artifact, chosen, measured, output)
    if save_ranges is not None:
        measured.save(save_ranges)
    say(
        f"{output}: int8 for {chosen.value}, {done.quantized_convolutions} of {done.convolutions} convolutions in INT8,"
        f" {done.artifact.size_bytes / 1e6:.2f} MB ({done.artifact.size_bytes / artifact.size_bytes:.2f}x);"
        f" ranges: {measured.method} of {measured.sample}"
    )


@app.command(rich_help_panel=MAKE)
def stamp(
    source: Annotated[Path, typer.Argument(help="Any ONNX file with one image input", metavar="MODEL.onnx")],
    spec: Annotated[Path, typer.Option(help="TOML: name, classes, preprocess, output")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write")],
) -> None:
    """Give a foreign ONNX file its contract: embed the spec that a TOML file describes."""
    require_extra("onnx", "export")
    from rarn_edge.pipeline.foreign import stamp_foreign

    artifact = stamp_foreign(source, spec, output)
    say(f"{artifact.path}: {artifact.spec.name}, {len(artifact.spec.classes)} classes, sha256 {artifact.sha256[:12]}")
