"""The accuracy of a model on labelled faces, and everything else that is known of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.names import names_apart
from rarn_edge.contract.spec import CLASSES, FERPLUS, MAX_TEMPERATURE, MIN_TEMPERATURE
from rarn_edge.data.select import describe
from rarn_edge.errors import InputError, require_extra, require_extras
from rarn_edge.evaluation.confidence import fit_temperature
from rarn_edge.evaluation.judge import Judgement, beside_votes, compare, judge
from rarn_edge.evaluation.sanity import doubts
from rarn_edge.evaluation.votes import VoteFigures
from rarn_edge.files import check_apart, check_outputs, make_folder, write_files
from rarn_edge.stats.classification import Evaluation, evaluate_logits
from rarn_edge.stats.paired import Paired
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, OnStage, SomePaths, each_of, ignore, warn
from rarn_edge.workflow.inputs import WEIGHTS, faces_to_judge, known_faces, read_subject

if TYPE_CHECKING:  # a device has no torch
    from rarn_edge.models.find import AnyNetwork
    from rarn_edge.models.network import Network


@dataclass(frozen=True)
class Calibrated:
    """The ONNX file written again with the temperature that fits the faces."""

    file: Path
    temperature: float


@dataclass(frozen=True)
class EvaluateResult:
    """Accuracy on the faces; the rest where it was asked for."""

    file: Path
    name: str  # of the file, with its folder where a model beside it has the same
    faces: str
    evaluation: Evaluation
    against: tuple[tuple[str, Paired], ...]  # other models on the same faces, by name
    report: Judgement | None
    written: tuple[Path, ...]  # the files of the report
    calibrated: Calibrated | None
    votes: VoteFigures | None = None  # beside the people who voted on the faces
    doubts: tuple[str, ...] = ()  # why the answers cannot be right

    def to_dict(self) -> dict[str, Any]:
        found = {"file": str(self.file), "name": self.name, "faces": self.faces, **self.evaluation.to_dict()}
        if self.report is not None:
            found["judgement"] = self.report.to_dict()
        if self.votes is not None:
            found["votes"] = asdict(self.votes)
        found["doubts"] = list(self.doubts)
        found["against"] = [{"model": name, **paired.to_dict()} for name, paired in self.against]
        if self.calibrated is not None:
            found["calibrated"] = {"file": str(self.calibrated.file), "temperature": self.calibrated.temperature}
        return found


LEAST_REPORTED = 2  # confidence is fitted on one half of the images and measured on the other


def evaluate(
    file: AnyPath,
    data: AnyPath,
    *,
    model: "AnyNetwork | None" = None,
    split: str | None = None,
    votes: AnyPath | None = None,
    report: AnyPath | None = None,
    against: SomePaths = (),
    calibrated: AnyPath | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    on_stage: OnStage = ignore,
    on_notice: OnNotice = warn,
) -> EvaluateResult:
    """Accuracy with its 95 % interval, macro-F1 and figures a class of an ONNX file or of weights.

    Args:
        file: An ONNX file, or weights from `train`, which run in torch.
        data: Labelled faces: a zip or folder of class folders, or a CSV.
        model: Of one's own, that weights are of: `my_net.py:build`, or a callable in a `Network`.
        split: Of `data` (default: the held-out one).
        votes: People's votes for these faces (FER+): their majority is then the label, and the whole distribution is compared.
        report: Write confidence, roll, copies, plots and tables into this folder.
        against: Other models on the same faces: difference, interval, McNemar's test.
        calibrated: Write the ONNX file again with the temperature that fits.
        provider: Execution provider; never falls back to another.
        threads: Default: the cores this process may use.
        on_stage: Told what is being done.
        on_notice: Told what a caller should know.

    Raises:
        InputError: unusable model or faces, or a package is missing.

    Example:
        >>> import rarn_edge
        >>> rarn_edge.evaluate("rarn-s.onnx", "fer2013.zip").evaluation.accuracy  # doctest: +SKIP
        0.67
    """
    against = each_of(against)
    path, again = Path(file), None if calibrated is None else Path(calibrated)
    read = [path, data, votes, *against]
    if again is not None:
        _check_calibrated(path, again, read)
    if report is not None:
        from rarn_edge.report.evaluation_files import REPORT_FILES, judgement_files
        from rarn_edge.report.evaluation_plots import face_plot

        require_extras("report")
        files_of_report = [Path(report, name) for name in REPORT_FILES]
        check_apart(files_of_report, read, [data])  # a refusal leaves no folder behind
        make_folder(Path(report))
        check_outputs(files_of_report)
    networks = _networks(model, (path, *against))
    subject = read_subject(path, provider, threads, on_notice, networks)
    others = [read_subject(other, provider, threads, on_notice, networks) for other in against]
    files = [path, *map(Path, against)]
    names = names_apart(files, [each.name for each in files])
    subject, *others = (replace(each, name=name) for each, name in zip((subject, *others), names, strict=True))
    if networks and not any(each.spec.name == networks[0].name for each in (subject, *others)):
        raise InputError(f"{path}: these are weights of '{subject.spec.name}', not of '{networks[0].name}' (--model)")
    preprocess = subject.spec.preprocess
    to_judge = faces_to_judge(data, split, preprocess, votes, on_notice, with_training=report is not None)
    faces = known_faces(to_judge.faces, {each.name: each.classes for each in (subject, *others)}, on_notice)
    if report is not None and len(faces) < LEAST_REPORTED:
        raise InputError(f"a report needs at least {LEAST_REPORTED} labelled images, and {describe(faces)} are fewer")
    if votes is None and subject.spec.label_source == FERPLUS and set(faces.classes) <= set(CLASSES):
        on_notice(
            f"{subject.name} learnt from the votes of FER+, and this judges it by FER-2013's labels: --votes FILE judges"
            " by votes, and models for FER-2013's labels are exported with --labels fer2013",
            "",
        )
    labels = faces.labels_in(subject.classes)
    logits = subject.predict(faces.images)  # [N, classes]
    evaluation = evaluate_logits(logits, labels, subject.classes)
    doubted = doubts(logits, labels, subject.spec)
    for doubt in doubted:
        on_notice(doubt, "warning")
    temperature = None if again is None else _temperature(logits, labels, describe(faces), evaluation.accuracy)
    figures = beside_votes(subject, logits, faces, to_judge.without_majority)
    judgement, fitted = None, None
    written: tuple[Path, ...] = ()
    if report is None:
        right = logits.argmax(axis=1) == labels
        compared = tuple((other.name, compare(other, other.sees(faces, subject), right)) for other in others)
    else:

        def on_angle(model: str, done: int, total: int) -> None:
            on_stage(f"roll of {model}", done, total)

        judgement = judge(subject, logits, faces, describe(faces), to_judge.training, others, on_angle, figures)
        compared = tuple((rival.model, rival.paired) for rival in judgement.against)
        written = write_files(
            Path(report), judgement_files(judgement, face_plot(subject.name, subject.spec, subject.predict))
        )
        if judgement.pixels.warning:
            on_notice(judgement.pixels.warning, "warning")
    if again is not None and temperature is not None:
        from rarn_edge.contract.artifact import Artifact
        from rarn_edge.onnx_graph import LoadedModel
        from rarn_edge.pipeline.passes.temperature import with_temperature

        loaded = LoadedModel.read(Artifact.load(path))
        made = with_temperature(loaded, temperature, describe(faces)).save(again)
        fitted = Calibrated(made.path, made.spec.temperature)
    return EvaluateResult(
        path, subject.name, describe(faces), evaluation, compared, judgement, written, fitted, figures, doubted
    )


def _networks(model: "AnyNetwork | None", files: Sequence[AnyPath]) -> "tuple[Network, ...]":
    """The network of one's own that weights among the files are of.

    Raises:
        InputError: no file is weights.
    """
    if model is None:
        return ()
    if not any(Path(file).suffix == WEIGHTS for file in files):
        raise InputError("--model says how weights (.safetensors) are built; an ONNX file needs none, so leave it out")
    require_extra("torch", "train")
    from rarn_edge.models.find import find_network

    return (find_network(model),)


def _temperature(logits: NDArray[np.float32], labels: NDArray[np.int64], faces: str, accuracy: float) -> float:
    """The one that fits: [N, classes] and [N]; `faces` says which they are.

    Raises:
        InputError: the best is at an end of the range that a file may have.
    """
    fitted = fit_temperature(logits, labels)
    if fitted == MIN_TEMPERATURE:
        raise InputError(
            f"no temperature fits the answers to {faces}: the surer they were, the better, since"
            f" {accuracy:.0%} are right; --calibrated needs wrong ones too, so give it more or harder images"
        )
    if fitted == MAX_TEMPERATURE:
        raise InputError(
            f"no temperature fits the answers to {faces}: the less sure they were, the better, since only"
            f" {accuracy:.0%} are right; check the labels, or give --calibrated more images"
        )
    return fitted


def _check_calibrated(file: Path, calibrated: Path, read: Sequence[AnyPath | None]) -> None:
    """Refuse before the work what cannot be done."""
    if file.suffix == WEIGHTS:
        raise InputError(
            f"--calibrated writes an ONNX file again; export first: rarn-edge export --model NAME --weights {file} -o OUT.onnx"
        )
    require_extra("onnx", "export")
    check_outputs([calibrated], read)
