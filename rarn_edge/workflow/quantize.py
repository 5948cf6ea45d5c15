"""From a float32 file to INT8 or float16, with all that can be asked for on the way; the file is parsed once."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from rarn_edge.boundary.limits import MAX_ROWS, check_count
from rarn_edge.boundary.names import one_of
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype
from rarn_edge.contract.targets import detect_host
from rarn_edge.data.faces import listed
from rarn_edge.errors import InputError
from rarn_edge.files import check_outputs
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.calibrate import MethodRow, Observed, Ranges, observe
from rarn_edge.pipeline.passes.equalize import equalize as equalized
from rarn_edge.pipeline.precision import to_dynamic_int8, to_float16
from rarn_edge.pipeline.prepare import check_float32, check_quantizable, prepare
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.pipeline.quantize import quantize as write_int8
from rarn_edge.pipeline.simplify import SIMPLIFIED, simplify_model
from rarn_edge.stats.histograms import DEFAULT_METHOD, Method
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, OnStage, ignore, warn
from rarn_edge.workflow.compare_calibration import compare_calibration
from rarn_edge.workflow.inputs import (
    CALIBRATION_IMAGES,
    ComparisonFaces,
    calibration_faces,
    comparison_faces,
    read_ranges,
    read_target,
)
from rarn_edge.workflow.mixed_precision import MixedPrecision, SearchOptions, quantize_within
from rarn_edge.workflow.verdict import Verdict, measure

Form = Literal["int8", "int8-dynamic", "fp16"]
PRECISIONS = get_args(Form)
VERDICT_FACES, VERDICT_ROUNDS, VERDICT_LAUNCHES = 128, 100, 3  # some seconds


@dataclass(frozen=True)
class Comparison:
    """INT8 files by every calibration method on the same faces."""

    rows: tuple[MethodRow, ...]
    faces: str


@dataclass(frozen=True)
class QuantizeResult:
    """The file written and how it was reached; what was not asked for is None."""

    source: Artifact
    artifact: Artifact
    int8: Quantized | None = None  # None: another precision
    ranges: Ranges | None = None  # measured or read; a search may have chosen those of another method
    comparison: Comparison | None = None
    search: MixedPrecision | None = None
    verdict: Verdict | None = None  # also None where the file is for another kind of CPU
    verdict_faces: str = ""

    @property
    def size_ratio(self) -> float:
        """Of the file, over the float32 one."""
        return self.artifact.size_bytes / self.source.size_bytes


def quantize(
    source: AnyPath,
    output: AnyPath,
    *,
    precision: Form = "int8",
    target: str = "auto",
    input_dtype: InputDtype = "float32",
    calib: AnyPath | None = None,
    images: int | None = None,
    method: Method | None = None,
    ranges: AnyPath | None = None,
    save_ranges: AnyPath | None = None,
    compare_methods: bool = False,
    max_drop: float | None = None,
    equalize: bool = False,
    bias_correct: bool = False,
    verdict: bool = False,
    data: AnyPath | None = None,
    split: str | None = None,
    votes: AnyPath | None = None,
    seed: int | None = None,
    on_stage: OnStage = ignore,
    on_notice: OnNotice = warn,
) -> QuantizeResult:
    """Quantize a float32 file for one target.

    Args:
        source: From `export` or `stamp`; simplified in memory first where nobody tried.
        output: The file to write.
        precision: `int8`, `int8-dynamic` (no calibration) or `fp16`.
        target: `x86-avx2`, `x86-vnni`, `arm`, `tensorrt`, or `auto`: this machine.
        input_dtype: Of the file: float32 [N, C, H, W] normalised, or uint8 pixels of the same shape.
        calib: Data to measure activation ranges on (default: the shipped ranges of the model).
        images: How many of its Training faces: a seeded, balanced sample (default: 512).
        method: How ranges follow from what was observed (default: `mse`).
        ranges: A file of ranges measured earlier, instead of `calib`.
        save_ranges: Also write the measured ranges.
        compare_methods: Make and compare an INT8 file by each method, on `data` or synthetic faces.
        max_drop: Points of accuracy the file may lose on `data`, such as 0.3.
        equalize: Equalize channel ranges between convolutions first; needs `calib`.
        bias_correct: Put right the means that rounding shifts; needs `calib`.
        verdict: Measure in some seconds whether INT8 pays on this machine; on `data`, else on some of `calib`, else on drawn
            faces.
        data: Labelled faces.
        split: Of `data` (default: the held-out one).
        votes: People's votes for `data` (FER+): their majority is then the label.
        seed: Of the calibration sample (default: 0).
        on_stage: Told what is being done.
        on_notice: Told what a caller should know.

    Raises:
        InputError: options that exclude each other, not a float32 file, or ranges of another network.
        GateError: `max_drop` cannot be held, or a rewrite of the graph does not answer alike.

    Example:
        >>> import rarn_edge, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> made = rarn_edge.export(f"{folder}/rarn-n.onnx", "rarn-n")
        >>> done = rarn_edge.quantize(made.artifact.path, f"{folder}/rarn-n.int8.onnx", target="x86-avx2")
        >>> done.artifact.contract.precision, done.int8.quantized_convolutions == done.int8.convolutions
        ('int8', True)
    """
    out = Path(output)
    one_of(precision, PRECISIONS, "precision")
    one_of(method or DEFAULT_METHOD, get_args(Method), "calibration method")
    one_of(input_dtype, get_args(InputDtype), "input type")
    of_int8 = {
        "--target": target != "auto",
        "--input": input_dtype != "float32",
        "--calib": calib,
        "--ranges": ranges,
        "--save-ranges": save_ranges,
        "--compare-methods": compare_methods,
        "--max-drop": max_drop is not None,
        "--data": data,
    }
    of_calib = {"--images": images is not None, "--method": method is not None, "--seed": seed is not None}
    unmeasured = [option for option, given in of_calib.items() if given and calib is None]
    without_use = [option for option, given in of_int8.items() if given and precision != "int8"]
    refused = {
        "--split and --votes are of labelled faces: --data DATA": data is None and (split or votes),
        "--calib measures ranges and --ranges reads them; give one of the two": calib and ranges,
        "--max-drop needs labelled faces to judge on: --data DATA": max_drop is not None and data is None,
        f"{', '.join(unmeasured)}: of ranges that are measured; name the data: --calib DATA": unmeasured,
        "--data is judged on by the verdict, --compare-methods and --max-drop; leave it out, or --no-verdict": data
        is not None
        and precision == "int8"
        and not (verdict or compare_methods or max_drop is not None),
        "--compare-methods measures anew what each method makes of the activations: --calib DATA": compare_methods
        and calib is None,
        "--equalize and --bias-correct need faces to measure on: --precision int8 with --calib DATA": (
            equalize or bias_correct
        )
        and (calib is None or precision != "int8"),
        f"{', '.join(without_use)}: of --precision int8 alone; leave it out": without_use,
        "--save-ranges is for the network as it is; leave it or --equalize out": equalize and save_ranges,
        "--max-drop tries corrected biases by itself; leave --bias-correct out": bias_correct and max_drop is not None,
    }
    for refusal in (text for text, holds in refused.items() if holds):
        raise InputError(refusal)
    images = CALIBRATION_IMAGES if images is None else check_count(images, "images", MAX_ROWS)
    method, seed = method or DEFAULT_METHOD, seed or 0
    also = None if save_ranges is None else Path(save_ranges)
    check_outputs([out, also], [source, calib, ranges, data, votes])
    float32 = Artifact.load(Path(source))
    given = LoadedModel.read(float32)
    if precision != "int8":
        check_float32(given)
        convert = to_float16 if precision == "fp16" else to_dynamic_int8
        return QuantizeResult(float32, convert(_simplified(given, on_notice), out))
    check_quantizable(given)
    chosen = read_target(target, on_notice)
    here = chosen is detect_host().target
    if data is not None and not (here or compare_methods or max_drop is not None):
        on_notice(f"--data is not used: the verdict is measured on a machine of target {chosen}", "warning")
    model = _simplified(given, on_notice)
    faces = None if calib is None else calibration_faces(calib, images, seed, given.spec.preprocess, on_notice)
    prepared = prepare(equalized(model) if equalize else model)
    observed: Observed | None = None
    if faces is None:
        measured = read_ranges(model.spec.name, model.weights_sha256, ranges)
    else:
        twice = method != "minmax" or compare_methods or max_drop is not None
        observed = observe(prepared, faces, twice, partial(on_stage, "calibrating"))
        measured = observed.ranges(method)
    comparison = None
    if compare_methods and observed is not None and faces is not None:
        shown = comparison_faces(data, split, model.spec, votes=votes, on_notice=on_notice)
        on_stage("comparing methods")
        rows = compare_calibration(prepared, observed, faces, chosen, shown.faces, shown.labels)
        comparison = Comparison(tuple(rows), shown.description)
    search = None
    if max_drop is not None and data is not None:
        options = SearchOptions(chosen, _choices(measured, observed), max_drop, input_dtype, faces)
        judged = comparison_faces(data, split, model.spec, votes=votes, on_notice=on_notice).faces
        search = quantize_within(
            prepared,
            judged,
            out,
            options,
            lambda step: on_stage(f"judging {step}"),
            lambda text: on_notice(text, "warning"),
        )
    corrected = faces if bias_correct else None
    int8 = search.quantized if search else write_int8(prepared, chosen, measured, out, input_dtype, (), corrected)
    if save_ranges is not None:
        measured.save(Path(save_ranges))
    if int8.float_operators:
        on_notice(f"no INT8 kernel for {listed(int8.float_operators, 2)}: they stay float32; see audit", "warning")
    found, shown_on = None, ""
    if verdict and here:
        on_stage("measuring the verdict")
        if data is None and faces is not None:  # its own pictures tell more than drawn faces
            some = faces.balanced_sample(VERDICT_FACES, seed).in_memory()
            shown = ComparisonFaces(some, None, f"{len(some)} of the {faces.noun} for calibration")
        else:
            shown = comparison_faces(data, split, model.spec, VERDICT_FACES, votes, on_notice)
        found = measure(float32, int8.artifact, shown, rounds=VERDICT_ROUNDS, launches=VERDICT_LAUNCHES)
        shown_on = shown.description
    return QuantizeResult(float32, int8.artifact, int8, measured, comparison, search, found, shown_on)


def _simplified(given: LoadedModel, on_notice: OnNotice) -> LoadedModel:
    """The graph given, or a simplified one where nobody tried before; its `source` stays the file given."""
    if SIMPLIFIED in given.contract.provenance:
        return given
    done = simplify_model(given)
    if done.kept_because is not None:
        on_notice(f"{given.name} stays as it is: {done.kept_because}", "not simplified")
    else:
        fewer = f", {done.nodes_before} nodes -> {done.nodes_after}" if done.nodes_after < done.nodes_before else ""
        on_notice(f"{given.name} was not simplified yet; this starts from a simplified copy{fewer}", "")
    return done.model


def _choices(measured: Ranges, observed: Observed | None) -> tuple[Ranges, ...]:
    """The ranges asked for, and those of the other methods where the activations were observed."""
    if observed is None:
        return (measured,)
    return (measured, *(observed.ranges(each) for each in get_args(Method) if each != measured.method))
