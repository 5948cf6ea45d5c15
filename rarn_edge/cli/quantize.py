"""`rarn-edge quantize`: from a float32 file to INT8 or float16."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from rarn_edge.cli.app import MAKE, Calib, CalibImages, OptionalData, Seed, Split, Target, app, err, note, say
from rarn_edge.errors import InputError, require_extra

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.contract.targets import Target as TargetName
    from rarn_edge.data import Faces
    from rarn_edge.pipeline.budget import BudgetResult
    from rarn_edge.pipeline.calibrate import Observed, Ranges

PRECISIONS = ("int8", "int8-dynamic", "fp16")
VERDICT_FACES, VERDICT_ROUNDS, VERDICT_STARTS = 128, 100, 3  # some seconds


@app.command(rich_help_panel=MAKE)
def quantize(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(help="A float32 ONNX file from `export` or `stamp`", metavar="MODEL.onnx")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write")],
    precision: Annotated[str, typer.Option(help="int8, int8-dynamic (no calibration), or fp16 (CUDA, Arm)")] = "int8",
    target: Target = "auto",
    input_dtype: Annotated[
        str, typer.Option("--input", help="float32, or uint8: the graph takes raw pixels")
    ] = "float32",
    calib: Calib = None,
    images: CalibImages = 512,
    method: Annotated[str, typer.Option(help="Ranges by mse, percentile, entropy or minmax")] = "mse",
    ranges: Annotated[Path | None, typer.Option(help="Ranges saved earlier, instead of --calib")] = None,
    save_ranges: Annotated[Path | None, typer.Option(help="Also write the measured ranges, for --ranges")] = None,
    compare_methods: Annotated[
        bool, typer.Option("--compare-methods", help="Show what each method's ranges give, on --data")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, help="Points of accuracy it may lose on --data, such as 0.3; exit code 1 if not"),
    ] = None,
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Equalize channel ranges between convolutions first; needs --calib")
    ] = False,
    bias_correct: Annotated[
        bool, typer.Option("--bias-correct", help="Put right the means that rounding shifts; needs --calib")
    ] = False,
    verdict: Annotated[bool, typer.Option(help="Measure in some seconds whether INT8 pays on this machine")] = True,
    data: OptionalData = None,
    split: Split = None,
    seed: Seed = 0,
) -> None:
    """Quantize for one target. Without --calib or --ranges, the activation ranges shipped for the model are used."""
    require_extra("onnx", "export")
    from rarn_edge.cli.inputs import (
        calibration_faces,
        comparison_faces,
        labelled_faces,
        read_input_dtype,
        read_method,
        read_target,
    )
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.files import check_outputs
    from rarn_edge.pipeline.calibrate import Ranges, ranges_of
    from rarn_edge.pipeline.quantize import quantizable, require_float32
    from rarn_edge.pipeline.quantize import quantize as quantize_artifact

    if precision not in PRECISIONS:
        raise InputError(f"no precision '{precision}'; one of: {', '.join(PRECISIONS)}")
    if calib is not None and ranges is not None:
        raise InputError("--calib measures ranges and --ranges reads them; give one of the two")
    if max_drop is not None and data is None:
        raise InputError("--max-drop needs labelled faces to judge on: --data DATA")
    if compare_methods and calib is None:
        raise InputError("--compare-methods measures anew what each method makes of the activations: --calib DATA")
    if (equalize or bias_correct) and (calib is None or precision != "int8"):
        raise InputError("--equalize and --bias-correct need faces to measure on: --precision int8 with --calib DATA")
    if equalize and save_ranges is not None:
        raise InputError("--save-ranges is for the network as it is; leave it or --equalize out")
    if bias_correct and max_drop is not None:
        raise InputError("--max-drop tries corrected biases by itself; leave --bias-correct out")
    check_outputs([output, save_ranges], [source, ranges, calib, data])
    given = Artifact.load(source)
    if precision != "int8":
        require_float32(given)
        _other_precision(given, _simplified(given, context), precision, output)
        return
    quantizable(given)
    chosen, how, takes = read_target(target), read_method(method), read_input_dtype(input_dtype)
    observed: Observed | None = None
    calibration: Faces | None = None
    artifact = _simplified(given, context)
    if calib is not None:
        calibration = calibration_faces(calib, images, seed)
        if equalize:
            artifact = _equalized(artifact, context)
        observed = _observe(artifact, calibration, how != "minmax" or compare_methods or max_drop is not None)
        measured = observed.ranges(how)
    else:
        made_from = artifact.contract.provenance.get("weights_sha256")
        measured = Ranges.load(ranges) if ranges is not None else ranges_of(artifact.spec.name, made_from)
    if compare_methods and observed is not None and calibration is not None:
        faces, labels, description = comparison_faces(data, split, artifact.spec.classes)
        _show_methods(artifact, observed, calibration, chosen, faces, labels, description)
    if max_drop is not None and data is not None:
        from rarn_edge.pipeline.budget import quantize_within

        faces = labelled_faces(data, split)
        choices = _choices(measured, observed)
        with err.status("searching") as status:
            result = quantize_within(
                artifact,
                chosen,
                choices,
                faces,
                output,
                max_drop,
                takes,
                calibration,
                on_step=lambda step: status.update(f"judging {step}"),
                on_notice=lambda notice: note(notice, "warning"),
            )
        _show_budget(result, max_drop)
        done, used = result.quantized, result.method
    else:
        done, used = (
            quantize_artifact(
                artifact, chosen, measured, output, takes, bias_faces=calibration if bias_correct else None
            ),
            measured.method,
        )
    if save_ranges is not None:
        measured.save(save_ranges)
    if done.float_operators:
        note(f"no INT8 kernel for {', '.join(done.float_operators)}: they stay in float32", "warning")
    say(
        f"{output}: int8 for {chosen.value}, {done.quantized_convolutions} of {done.convolutions} convolutions in INT8,"
        f" {done.artifact.size_bytes / 1e6:.2f} MB ({done.artifact.size_bytes / given.size_bytes:.2f}x);"
        f" ranges: {used} of {measured.sample}"
    )
    if verdict:
        _say_verdict(given, done.artifact, data, split)


def _say_verdict(before: "Artifact", after: "Artifact", data: Path | None, split: str | None) -> None:
    """Whether the file pays here, or where to find out when it was made for another kind of CPU."""
    from rarn_edge.cli.inputs import comparison_faces
    from rarn_edge.contract.targets import detect_host
    from rarn_edge.workflow.verdict import measure

    if after.contract.target is not detect_host().target:
        say(f"verdict: on the machine it is for, run: rarn-edge verdict {before.path} {after.path}")
        return
    with err.status("measuring the verdict"):
        chosen = None if data is None else split  # a split of no data was never read
        faces, labels, shown = comparison_faces(data, chosen, before.spec.classes, VERDICT_FACES)
        result = measure(before, after, faces, labels, rounds=VERDICT_ROUNDS, starts=VERDICT_STARTS)
    for warning in result.warnings:
        note(warning, "warning")
    say(f"verdict on {shown}: {result.line()}")


def _working_copy(path: Path, context: typer.Context) -> Path:
    """A file of that name that lives as long as this command."""
    import tempfile

    return Path(context.with_resource(tempfile.TemporaryDirectory(prefix="rarn-edge-"))) / path.name


def _simplified(given: "Artifact", context: typer.Context) -> "Artifact":
    """The file given, or a simplified copy where nobody tried before."""
    from rarn_edge.pipeline.simplify import simplify_given

    done = simplify_given(given, _working_copy(given.path, context))
    if done is None:
        return given
    if done.kept_because is not None:
        note(f"{given.path} stays as it is: {done.kept_because}", "not simplified")
    else:
        fewer = f", {done.nodes_before} nodes -> {done.nodes_after}" if done.nodes_after < done.nodes_before else ""
        note(f"{given.path} was not simplified yet; this starts from a simplified copy{fewer}")
    return done.artifact


def _equalized(artifact: "Artifact", context: typer.Context) -> "Artifact":
    from rarn_edge.pipeline.equalize import equalize

    return equalize(artifact, _working_copy(artifact.path, context))


def _other_precision(given: "Artifact", artifact: "Artifact", precision: str, output: Path) -> None:
    from rarn_edge.pipeline.precision import to_dynamic_int8, to_float16

    done = to_float16(artifact, output) if precision == "fp16" else to_dynamic_int8(artifact, output)
    say(
        f"{output}: {done.contract.precision}, {done.size_bytes / 1e6:.2f} MB"
        f" ({done.size_bytes / given.size_bytes:.2f}x); check it: rarn-edge parity {given.path} {output}"
    )


def _observe(artifact: "Artifact", faces: "Faces", histograms: bool) -> "Observed":
    from rarn_edge.pipeline.calibrate import observe
    from rarn_edge.report.progress import image_progress

    with image_progress(err, "calibrating") as on_progress:
        return observe(artifact, faces, histograms, on_progress)


def _choices(measured: "Ranges", observed: "Observed | None") -> "list[Ranges]":
    """The ranges asked for, and those of the other methods where the activations were measured."""
    from rarn_edge.pipeline.histograms import Method

    if observed is None:
        return [measured]
    return [measured, *(observed.ranges(m) for m in get_args(Method) if m != measured.method)]


def _show_methods(
    artifact: "Artifact",
    observed: "Observed",
    calibration: "Faces",
    target: "TargetName",
    faces: "Faces",
    labels: "NDArray[np.int64] | None",
    description: str,
) -> None:
    from rarn_edge.cli.app import out
    from rarn_edge.pipeline.methods import compare_methods
    from rarn_edge.report.int8_tables import methods_table

    with err.status("comparing methods"):
        rows = compare_methods(artifact, observed, calibration, target, faces, labels)
    out.print(methods_table(rows, description))


def _show_budget(result: "BudgetResult", max_drop: float) -> None:
    say(
        f"loses {result.drop_points:.2f} points of the {max_drop:g} allowed, {result.latency_ratio:.2f}x the time of float32"
    )
    if result.biases_corrected:
        say("  with corrected biases")
    for reverted in result.reverted:
        say(f"  {reverted.node} back to float32: {reverted.gained_points:+.2f} points, {1e3 * reverted.cost_s:+.3f} ms")
