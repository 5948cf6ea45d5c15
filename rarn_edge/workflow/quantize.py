"""From a float32 file to INT8 or float16, with all that can be asked for on the way; the file is parsed once."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, get_args

from rarn_edge.boundary.limits import MAX_ROWS, check_count
from rarn_edge.boundary.names import one_of
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype, ModelSpec
from rarn_edge.contract.targets import detect_host
from rarn_edge.data.faces import Faces, listed
from rarn_edge.errors import InputError
from rarn_edge.files import check_outputs
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.calibrate import MethodRow, Observed, Ranges, observe
from rarn_edge.pipeline.passes.equalize import equalize as equalized
from rarn_edge.pipeline.precision import fault_here, to_dynamic_int8, to_float16
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
    asked = _Asked(
        precision=precision, target=target, input_dtype=input_dtype, calib=calib, images=images, method=method, ranges=ranges,
        save_ranges=save_ranges, compare_methods=compare_methods, max_drop=max_drop, equalize=equalize,
        bias_correct=bias_correct, verdict=verdict, data=data, split=split, votes=votes, seed=seed,
    )  # fmt: skip
    asked.check()
    out = Path(output)
    check_outputs([out, None if save_ranges is None else Path(save_ranges)], [source, calib, ranges, data, votes])
    float32 = Artifact.load(Path(source))
    given = LoadedModel.read(float32)
    if precision == "int8":
        check_quantizable(given)
        return _int8(given, float32, out, asked, on_stage, on_notice)
    check_float32(given)
    convert = to_float16 if precision == "fp16" else to_dynamic_int8
    made = convert(_simplified(given, on_notice), out)
    if (fault := fault_here(made)) is not None:
        on_notice(f"{out}: {fault}: run it on another provider, or use --precision int8", "warning")
    return QuantizeResult(float32, made)


@dataclass(frozen=True)
class _Asked:
    """The options of `quantize`, which says what each is."""

    precision: Form
    target: str
    input_dtype: InputDtype
    calib: AnyPath | None
    images: int | None
    method: Method | None
    ranges: AnyPath | None
    save_ranges: AnyPath | None
    compare_methods: bool
    max_drop: float | None
    equalize: bool
    bias_correct: bool
    verdict: bool
    data: AnyPath | None
    split: str | None
    votes: AnyPath | None
    seed: int | None

    def check(self) -> None:
        """Before the work. Raises InputError: an unknown name or number, or options that exclude each other."""
        one_of(self.precision, PRECISIONS, "precision")
        one_of(self.chosen_method, get_args(Method), "calibration method")
        one_of(self.input_dtype, get_args(InputDtype), "input type")
        of_int8 = {
            "--target": self.target != "auto",
            "--input": self.input_dtype != "float32",
            "--calib": self.calib,
            "--ranges": self.ranges,
            "--save-ranges": self.save_ranges,
            "--compare-methods": self.compare_methods,
            "--max-drop": self.max_drop is not None,
            "--data": self.data,
        }
        of_calib = {
            "--images": self.images is not None,
            "--method": self.method is not None,
            "--seed": self.seed is not None,
        }
        unmeasured = [option for option, given in of_calib.items() if given and self.calib is None]
        without_use = [option for option, given in of_int8.items() if given and self.precision != "int8"]
        measures = self.equalize or self.bias_correct
        refused = {
            "--split and --votes are of labelled faces: --data DATA": self.data is None and (self.split or self.votes),
            "--calib measures ranges and --ranges reads them; give one of the two": self.calib and self.ranges,
            "--max-drop needs labelled faces to judge on: --data DATA": self.max_drop is not None and self.data is None,
            f"{', '.join(unmeasured)}: of ranges that are measured; name the data: --calib DATA": unmeasured,
            "--data is judged on by the verdict, --compare-methods and --max-drop; leave it out, or --no-verdict": (
                self.data is not None and self.precision == "int8" and not (self.verdict or self.judges_faces)
            ),
            "--compare-methods measures anew what each method makes of the activations: --calib DATA": (
                self.compare_methods and self.calib is None
            ),
            "--equalize and --bias-correct need faces to measure on: --precision int8 with --calib DATA": (
                measures and (self.calib is None or self.precision != "int8")
            ),
            f"{', '.join(without_use)}: of --precision int8 alone; leave it out": without_use,
            "--save-ranges is for the network as it is; leave it or --equalize out": self.equalize and self.save_ranges,
            "--max-drop tries corrected biases by itself; leave --bias-correct out": (
                self.bias_correct and self.max_drop is not None
            ),
        }
        for refusal in (text for text, holds in refused.items() if holds):
            raise InputError(refusal)
        if self.images is not None:
            check_count(self.images, "images", MAX_ROWS)

    @property
    def chosen_method(self) -> Method:
        return self.method or DEFAULT_METHOD

    @property
    def judges_faces(self) -> bool:
        """On the way to the file, whatever machine this is."""
        return self.compare_methods or self.max_drop is not None

    @property
    def needs_histograms(self) -> bool:
        """Least and largest values are not enough: a second pass over the faces."""
        return self.chosen_method != "minmax" or self.judges_faces


def _int8(
    given: LoadedModel, float32: Artifact, out: Path, asked: _Asked, on_stage: OnStage, on_notice: OnNotice
) -> QuantizeResult:
    """Measure or read the ranges, compare and search where asked, write the file, and hold it against float32."""
    target = read_target(asked.target, on_notice)
    here = target is detect_host().target
    if asked.data is not None and not (here or asked.judges_faces):
        on_notice(f"--data is not used: the verdict is measured on a machine of target {target}", "warning")
    model = _simplified(given, on_notice)
    labelled = None  # read before ranges are measured: a wrong --data costs no minutes
    if asked.data is not None and (here or asked.judges_faces):
        labelled = comparison_faces(asked.data, asked.split, model.spec, votes=asked.votes, on_notice=on_notice)
    faces = _calibration(asked, model.spec, on_notice)
    prepared = prepare(equalized(model) if asked.equalize else model)
    observed: Observed | None = None
    if faces is None:
        measured = read_ranges(model.spec.name, model.weights_sha256, asked.ranges)
    else:
        observed = observe(prepared, faces, asked.needs_histograms, partial(on_stage, "calibrating"))
        measured = observed.ranges(asked.chosen_method)
    comparison = None
    if asked.compare_methods and observed is not None and faces is not None:
        shown = labelled or comparison_faces(None, None, model.spec)
        on_stage("comparing methods")
        rows = compare_calibration(prepared, observed, faces, target, shown.faces, shown.labels)
        comparison = Comparison(tuple(rows), shown.description)
    search = None
    if asked.max_drop is not None and labelled is not None:
        search = quantize_within(
            prepared,
            labelled.faces,
            out,
            SearchOptions(target, _choices(measured, observed), asked.max_drop, asked.input_dtype, faces),
            lambda step: on_stage(f"judging {step}"),
            lambda text: on_notice(text, "warning"),
        )
    corrected = faces if asked.bias_correct else None
    int8 = search.quantized if search else write_int8(prepared, target, measured, out, asked.input_dtype, (), corrected)
    if asked.save_ranges is not None:
        measured.save(Path(asked.save_ranges))
    if int8.float_operators:
        on_notice(f"no INT8 kernel for {listed(int8.float_operators, 2)}: they stay float32; see audit", "warning")
    done = QuantizeResult(float32, int8.artifact, int8, measured, comparison, search)
    if not (asked.verdict and here):
        return done
    on_stage("measuring the verdict")
    shown = labelled or _unlabelled(faces, model.spec, asked.seed or 0)
    try:
        found = measure(float32, int8.artifact, shown, rounds=VERDICT_ROUNDS, launches=VERDICT_LAUNCHES)
    except InputError as error:
        raise InputError(f"{out} is written, and the verdict on it could not be measured: {error}") from error
    return replace(done, verdict=found, verdict_faces=shown.description)


def _calibration(asked: _Asked, spec: ModelSpec, on_notice: OnNotice) -> Faces | None:
    """The faces to measure ranges on; None: the ranges are read."""
    if asked.calib is None:
        return None
    return calibration_faces(
        asked.calib, asked.images or CALIBRATION_IMAGES, asked.seed or 0, spec.preprocess, on_notice
    )


def _unlabelled(calibration: Faces | None, spec: ModelSpec, seed: int) -> ComparisonFaces:
    """For a verdict without labels: some of one's own pictures, which tell more than drawn ones, where there are any."""
    if calibration is None:
        return comparison_faces(None, None, spec, VERDICT_FACES)
    some = calibration.balanced_sample(VERDICT_FACES, seed).in_memory()
    return ComparisonFaces(some, None, f"{len(some)} of the {calibration.noun} for calibration")


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
