"""`rarn-edge quantize`: from a float32 file to INT8."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import MAKE, Calib, CalibImages, Seed, Target, app, err, say
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=MAKE)
def quantize(
    source: Annotated[Path, typer.Argument(help="A float32 ONNX file from `export`", metavar="MODEL.onnx")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The INT8 file to write")],
    target: Target = "auto",
    calib: Calib = None,
    images: CalibImages = 512,
    method: Annotated[str, typer.Option(help="Ranges by mse, percentile, entropy or minmax")] = "mse",
    input_dtype: Annotated[
        str, typer.Option("--input", help="float32, or uint8: the graph takes raw pixels")
    ] = "float32",
    ranges: Annotated[Path | None, typer.Option(help="Ranges saved earlier, instead of --calib")] = None,
    save_ranges: Annotated[Path | None, typer.Option(help="Also write the measured ranges, for --ranges")] = None,
    seed: Seed = 0,
) -> None:
    """Quantize to static INT8 for one target. Without --calib or --ranges, the ranges shipped for the model are used."""
    require_extra("onnx", "export")
    from rarn_edge.artifact import Artifact
    from rarn_edge.cli.inputs import calibration_faces, read_input_dtype, read_method, read_target
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
    chosen, how, takes = read_target(target), read_method(method), read_input_dtype(input_dtype)
    if calib is not None:
        faces = calibration_faces(calib, images, seed)
        with image_progress(err, "calibrating") as on_progress:
            measured = calibrate(artifact, faces, how, on_progress)
    else:
        made_from = artifact.contract.provenance.get("weights_sha256")
        measured = Ranges.load(ranges) if ranges is not None else ranges_of(artifact.spec.name, made_from)
    done = quantize_artifact(artifact, chosen, measured, output, takes)
    if save_ranges is not None:
        measured.save(save_ranges)
    say(
        f"{output}: int8 for {chosen.value}, {done.quantized_convolutions} of {done.convolutions} convolutions in INT8,"
        f" {done.artifact.size_bytes / 1e6:.2f} MB ({done.artifact.size_bytes / artifact.size_bytes:.2f}x);"
        f" ranges: {measured.method} of {measured.sample}"
    )
