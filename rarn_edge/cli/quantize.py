"""`rarn-edge quantize`: from a float32 file to INT8 or float16."""

from shlex import quote
from typing import TYPE_CHECKING

from rarn_edge.cli import options as o
from rarn_edge.cli.app import MAKE, app, err, note, out, say
from rarn_edge.errors import require_extra

if TYPE_CHECKING:
    from rarn_edge.workflow.quantize import QuantizeResult


@app.command(rich_help_panel=MAKE)
def quantize(
    source: o.Float32File,
    output: o.Output,
    precision: o.Precision = "int8",
    target: o.Target = "auto",
    input_dtype: o.InputType = "float32",
    calib: o.Calib = None,
    images: o.CalibImages = None,
    method: o.Method = None,
    ranges: o.Ranges = None,
    save_ranges: o.SaveRanges = None,
    compare_methods: o.CompareMethods = False,
    max_drop: o.MaxDrop = None,
    equalize: o.Equalize = False,
    bias_correct: o.BiasCorrect = False,
    verdict: o.WithVerdict = True,
    data: o.OptionalData = None,
    split: o.Split = None,
    votes: o.Votes = None,
    seed: o.CalibSeed = None,
) -> None:
    """Quantize for one target. Without --calib or --ranges, the activation ranges shipped for the model are used."""
    require_extra("onnx", "export")
    from rarn_edge.boundary.names import one_of
    from rarn_edge.cli.inputs import read_input_dtype, read_method
    from rarn_edge.cli.stages import stages
    from rarn_edge.workflow.quantize import PRECISIONS
    from rarn_edge.workflow.quantize import quantize as quantize_file

    with stages(err, quiet=True) as on_stage:
        done = quantize_file(
            source,
            output,
            precision=one_of(precision, PRECISIONS, "precision"),
            target=target,
            input_dtype=read_input_dtype(input_dtype),
            calib=calib,
            images=images,
            method=None if method is None else read_method(method),
            ranges=ranges,
            save_ranges=save_ranges,
            compare_methods=compare_methods,
            max_drop=max_drop,
            equalize=equalize,
            bias_correct=bias_correct,
            verdict=verdict,
            data=data,
            split=split,
            votes=votes,
            seed=seed,
            on_stage=on_stage,
            on_notice=note,
        )
    _print(done, max_drop, verdict)


def _print(done: "QuantizeResult", max_drop: float | None, verdict: bool) -> None:
    from rarn_edge.report.evaluation import methods_table

    if done.comparison is not None:
        out.print(methods_table(list(done.comparison.rows), done.comparison.faces).to_rich())
    found = done.search
    if found is not None:
        say(
            f"loses {found.drop_points:.2f} points of the {max_drop:g} allowed,"
            f" {found.latency_ratio:.2f}x the time of float32"
        )
        if found.biases_corrected:
            say("  with corrected biases")
        for each in found.reverted:
            say(f"  {each.node} back to float32: {each.gained_points:+.2f} points, {1e3 * each.cost_s:+.3f} ms")
    made = done.artifact
    size = f"{made.size_bytes / 1e6:.2f} MB ({done.size_ratio:.2f}x)"
    if done.int8 is None or done.ranges is None:
        check = f"check it: rarn-edge parity {quote(str(done.source.path))} {quote(str(made.path))}"
        say(f"{made.path}: {made.contract.precision}, {size}; {check}")
        return
    target = "" if made.contract.target is None else made.contract.target.value
    say(
        f"{made.path}: int8 for {target}, {done.int8.quantized_convolutions} of {done.int8.convolutions} convolutions"
        f" in INT8, {size}; ranges: {found.method if found else done.ranges.method} of {done.ranges.sample}"
    )
    if done.verdict is not None:
        for warning in done.verdict.warnings:
            note(warning, "warning")
        say(f"verdict on {done.verdict_faces}: {done.verdict.line()}")
    elif verdict:
        files = f"{quote(str(done.source.path))} {quote(str(made.path))}"
        say(f"verdict: on the machine it is for, run: rarn-edge verdict {files}")
