"""Put a finished training run into the package: weights, activation ranges, measured quality, card, evidence, INT8 file, bundle.

    python export/build_release.py runs/rarn-s --data fer2013.zip
    python export/build_release.py runs/plus --data fer2013.zip --votes ferplus.csv      # a run on the votes of FER+
    python export/build_release.py runs/second --before runs/first --data fer2013.zip    # phases that belong together
    python export/build_release.py runs/last --data fer2013.zip --average    # the mean of a last phase and what it started from
    python export/build_release.py runs/both --data fer2013.zip    # of a run on both label sets, what answers for these labels
    python export/build_release.py rarn-s.ferplus --data fer2013.zip --votes ferplus.csv    # the export or the quantizer changed
    python export/build_release.py rarn-n.ferplus --on-grid --data fer2013.zip --votes ferplus.csv    # 7-bit weights
    python export/build_release.py rarn-n.fer2013 --class-scaling --data fer2013.zip    # each class's logit calibrated first
    python export/build_release.py rarn-s.ferplus                # INT8 file and bundle only: the ranges still fit

Thin on purpose: every figure comes from the package's own stages, judged on the held-out split. No epoch is selected on it; a
temperature and a class scaling are fitted on it.
"""

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rarn_edge.assets import (
    SAFE_TARGET,
    onnx_name,
    shipped_bundle,
    shipped_labels,
    shipped_models,
    shipped_ranges,
    shipped_weights,
)
from rarn_edge.cli.gate import gate
from rarn_edge.contract.spec import LABEL_CLASSES
from rarn_edge.data import Faces, Split, load_faces, synthetic_faces
from rarn_edge.data.select import describe
from rarn_edge.data.votes import undecided
from rarn_edge.errors import InputError, run_script
from rarn_edge.evaluation.confidence import (
    calibration_error,
    cross_fitted_scaling,
    fit_class_scaling,
    fit_temperature,
    reliability,
)
from rarn_edge.evaluation.judge import beside_votes, judge
from rarn_edge.files import file_sha256, make_folder, write_text
from rarn_edge.models.catalog import find_model
from rarn_edge.models.find import find_network
from rarn_edge.parity.bundle import SUFFIX, make_bundle, save_bundle
from rarn_edge.parity.inputs import show
from rarn_edge.parity.verify import verify
from rarn_edge.pipeline.calibrate import Ranges, calibrate
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.report.model_card import log_name, model_card
from rarn_edge.runtime.providers import CPU
from rarn_edge.stats.classification import evaluate_logits, softmax
from rarn_edge.train.checkpoint import Weights, load_weights, save_weights, widened
from rarn_edge.train.finish import class_scaled, compacted, mean_of, on_grid
from rarn_edge.train.run import LOG_FILE, WEIGHTS_FILE, source_of
from rarn_edge.workflow.inputs import CALIBRATION_IMAGES, SYNTHETIC_SEED, read_subject
from rarn_edge.workflow.model_files import export
from rarn_edge.workflow.parity import torch_form

EXPORT = Path(__file__).parent
ROOT = EXPORT.parent
ASSETS = ROOT / "rarn_edge" / "assets"
MIN_MARGIN = 0.2  # of the two highest logits; an output step of INT8 is 0.03
BUNDLE_FACES = 70  # 10 of each class: a bundle under 200 kB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of a finished `rarn-edge train`, or the name of a shipped model")
    parser.add_argument("--data", type=Path, help="the data set it was trained on; needed for a folder")
    parser.add_argument(
        "--before",
        type=Path,
        action="append",
        default=[],
        help="a run that it builds upon and that was not released, finished or not; the one from random weights first",
    )
    parser.add_argument(
        "--average",
        type=Path,
        nargs="*",
        metavar="RUN",
        help="the mean of the run's weights and of these: runs, or a shipped model, that it went through or that started there;"
        " repeat one to count it more (none named: what it started from)",
    )
    parser.add_argument(
        "--on-grid", action="store_true", help="put the weights on the 7-bit grid of their INT8 file first"
    )
    parser.add_argument(
        "--class-scaling",
        action="store_true",
        help="give each class's logit the factor and the offset that calibrate it on the held-out faces",
    )
    parser.add_argument("--votes", type=Path, help="FER+: the votes that it learnt from")
    arguments = parser.parse_args()
    shipped = {str(release): release for release in releases()}
    release = shipped.get(arguments.source)
    if arguments.before and release is not None:
        parser.error("--before is about the folder of a run")
    if arguments.average is not None and release is not None:
        parser.error("--average is about the folder of a run")
    if arguments.on_grid and arguments.data is None:
        parser.error("--on-grid needs --data: the weights are measured anew")
    if arguments.class_scaling and arguments.data is None:
        parser.error("--class-scaling needs --data: it is fitted on the held-out faces")
    if arguments.votes is not None and arguments.data is None:
        parser.error("--votes are of the faces of --data")
    if arguments.data is not None:
        faces = load_faces(arguments.data, votes=arguments.votes)
        if release is None:
            release = adopt(
                Path(arguments.source),
                faces,
                arguments.before,
                arguments.average,
                arguments.class_scaling,
                arguments.on_grid,
            )
        elif source_of(faces) != release.labels:
            raise InputError(
                f"{release}: judge it by its own labels (--votes is for ferplus), not by '{source_of(faces)}'"
            )
        elif arguments.on_grid or arguments.class_scaling:
            put_on_grid(release, faces, arguments.class_scaling)
        measure(release, faces)
    elif release is None:
        parser.error("a new model needs --data, to measure its ranges and its accuracy on")
    build_onnx(release)


@dataclass(frozen=True)
class Release:
    """What is released: a model for a label set."""

    model: str
    labels: str

    def __str__(self) -> str:
        """`rarn-s.ferplus`, as its files are called."""
        return f"{self.model}.{self.labels}"


def releases() -> list[Release]:
    """What the package has."""
    return [Release(model, labels) for model in shipped_models() for labels in shipped_labels(model)]


def adopt(
    run: Path,
    faces: Faces,
    before: Sequence[Path] = (),
    average: Sequence[Path] | None = None,
    class_scaling: bool = False,
    grid: bool = False,
) -> Release:
    """Take weights and logs of a finished run into the package.

    A run that started from the weights in the package is a further phase of them: earlier logs and settings stay. With the runs
    `before` it, each started from the one before and the first from random weights, or alone from random weights, it replaces
    what there was. Of a run on both label sets the outputs for the labels of `faces` are taken. With `average` the mean of its
    weights and of these is released (of none: of what it started from); with `class_scaling` its classifier is calibrated on
    the held-out faces; with `grid` the weights lie on the grid of their INT8 file.

    Raises:
        InputError: the run is not finished, or a run started from other weights.
    """
    labels = source_of(faces)
    weights = part_about(load_weights(run / WEIGHTS_FILE), labels)
    release, provenance = Release(weights.spec.name, weights.spec.label_source), weights.provenance
    if labels != release.labels:
        raise InputError(f"{run}: learnt from the labels '{release.labels}'; judge it by them (--votes is for ferplus)")
    if provenance["epochs_done"] < provenance["recipe"]["epochs"]:
        raise InputError(f"{run}: not finished; continue it with --resume")
    earlier, lineage = built_upon(run, weights, before)
    runs = [*before, run]
    for source in runs:
        if not (source / LOG_FILE).is_file():
            raise InputError(f"{source}: has no {LOG_FILE}; name a run that finished an epoch")
    held_out = faces.held_out().labelled()
    if average is not None:
        others = [named_weights(other) for other in average] or lineage[-1:]
        weights, provenance = mean_of(weights, lineage, [part_about(other, labels) for other in others])
    rounded = grid or provenance["recipe"].get("rounded_for") is not None
    if grid:
        provenance = {**provenance, "on_grid_of": SAFE_TARGET.value}
    provenance = {**provenance, "phases": [*earlier, provenance], "temperature_fitted_on": describe(held_out)}
    store(release, replace(weights, provenance=provenance), held_out, rounded, class_scaling)
    first = len(earlier) + 1 - len(before)
    if first == 1:
        for log in (EXPORT / "logs").glob(f"{release}-[0-9]*.csv"):
            log.unlink()
    for number in range(1, first):  # of a phase that other weights went through as well
        if not (EXPORT / "logs" / log_name(str(release), number)).is_file():
            shutil.copyfile(log_of(release.model, number), EXPORT / "logs" / log_name(str(release), number))
    for number, source in enumerate(runs, first):
        shutil.copyfile(source / LOG_FILE, EXPORT / "logs" / log_name(str(release), number))
    return release


def named_weights(named: Path) -> Weights:
    """Of a run's folder, or of a shipped model such as `rarn-n.fer2013`."""
    shipped = str(named) in map(str, releases())
    return load_weights(ASSETS / f"{named}.safetensors" if shipped else named / WEIGHTS_FILE)


def part_about(weights: Weights, labels: str) -> Weights:
    """Weights of a run; of a run on both label sets, with the outputs for these labels alone."""
    sources = weights.spec.label_source.split("+")
    if len(sources) == 1:
        return weights
    head = weights.head(labels)
    if labels == sources[0]:
        return head
    untold = {"test_accuracy": None, "test_images": None}  # the run measured itself by the other labels
    return replace(head, provenance={**head.provenance, **untold})


def put_on_grid(release: Release, faces: Faces, class_scaling: bool = False) -> None:
    """Give shipped weights the values that their INT8 file multiplies by; with `class_scaling` calibrate them first."""
    weights = load_weights(ASSETS / f"{release}.safetensors")
    provenance = {**weights.provenance, "on_grid_of": SAFE_TARGET.value}
    store(release, replace(weights, provenance=provenance), faces.held_out().labelled(), True, class_scaling)


def store(release: Release, weights: Weights, held_out: Faces, rounded: bool, calibrated: bool) -> None:
    """Write the weights into the package as they are released, with the temperature that then fits the held-out faces.

    `rounded` ones lie on the grid of their INT8 file; of `calibrated` ones each class's logit is scaled.
    """
    if calibrated:
        weights = class_scaling(weights, held_out)
    if rounded:
        weights = on_grid(weights, SAFE_TARGET)
    stored = {key: compacted(tensor, exact=rounded) for key, tensor in weights.tensors.items()}
    logits = torch_form(replace(weights, tensors={key: widened(t) for key, t in stored.items()}), held_out).logits
    temperature = round(fit_temperature(logits, held_out.labels_in(weights.spec.classes)), 3)
    spec = replace(weights.spec, temperature=temperature)
    save_weights(ASSETS / f"{release}.safetensors", spec, stored, weights.provenance)


def class_scaling(weights: Weights, held_out: Faces) -> Weights:
    """The weights with each class's logit calibrated on the held-out faces; their provenance says how.

    Raises:
        InputError: they have such a scaling already, or the last layer has no offset for each class.
    """
    if "class_scaling" in weights.provenance:
        raise InputError(f"{weights.spec.name}: has a class scaling already; leave out --class-scaling")
    logits, labels = torch_form(weights, held_out).logits, held_out.labels_in(weights.spec.classes)
    scaling = fit_class_scaling(logits, labels)
    others = cross_fitted_scaling(logits, labels)
    error = calibration_error(reliability(softmax(others, 1.0), labels))
    accuracy = float((others.argmax(axis=1) == labels).mean())
    print(
        f"class scaling, fitted on nine tenths and measured on the other: {accuracy:.2%}, calibration error {error:.1%}"
    )
    said = {name: values.round(4).tolist() for name, values in asdict(scaling).items()}
    figures = {"cross_fitted_accuracy": round(accuracy, 4), "cross_fitted_error": round(error, 4)}
    provenance = {**weights.provenance, "class_scaling": {**said, **figures, "fitted_on": describe(held_out)}}
    return replace(class_scaled(weights, scaling.factors, scaling.offsets), provenance=provenance)


def log_of(model: str, number: int) -> Path:
    """The log of an earlier phase of the model's weights for any label set."""
    found = [EXPORT / "logs" / log_name(str(Release(model, labels)), number) for labels in LABEL_CLASSES]
    return next(path for path in found if path.is_file())


def built_upon(run: Path, weights: Weights, before: Sequence[Path]) -> tuple[list[dict[str, Any]], list[Weights]]:
    """The settings of all phases before a run, and the weights that it went through; none: it started from random ones.

    Each of the runs `before` it must have made what the next one started from, the first from random weights or from those in the
    package.

    Raises:
        InputError: a run started from other weights.
    """
    links = [*((str(source), load_weights(source / WEIGHTS_FILE)) for source in before), (str(run), weights)]
    earlier = [started.provenance for _, started in links[:-1]]
    first, started_from = links[0][0], links[0][1].provenance["started_from"]
    if started_from is not None:
        package = package_weights(weights.spec.name, started_from)
        if package is None:
            raise InputError(f"{first}: did not start from random weights or the package's; name what is --before it")
        links.insert(0, ("the package", package))
        earlier = [*package.provenance["phases"], *earlier]
    for (place, started), (follower, after) in pairwise(links):
        if after.provenance["started_from"] != started.sha256:
            raise InputError(f"{follower}: did not start from the weights in {place}, sha256 {started.sha256[:12]}")
    return earlier, [each for _, each in links[:-1]]


def package_weights(model: str, sha256: str) -> Weights | None:
    """The weights in the package with this sha256; None if it has none."""
    found = (load_weights(shipped_weights(model, labels)) for labels in shipped_labels(model))
    return next((weights for weights in found if weights.sha256 == sha256), None)


def measure(release: Release, faces: Faces) -> None:
    """Activation ranges, measured quality, evidence and card of the weights in the package."""
    name = release.model
    weights = load_weights(ASSETS / f"{release}.safetensors", find_network(name))
    training, held_out = faces.split(Split.TRAINING), faces.held_out().labelled()
    others = None if faces.votes is None else undecided(faces.held_out())
    with tempfile.TemporaryDirectory() as folder:
        float32 = export(Path(folder) / f"{name}.onnx", name, weights=weights).artifact
        ranges = calibrate(float32, training.balanced_sample(CALIBRATION_IMAGES, seed=0))
        int8 = quantize(float32, SAFE_TARGET, ranges, Path(folder) / f"{name}.int8.onnx").artifact
        plain, subject = (read_subject(artifact.path, CPU, None) for artifact in (float32, int8))
        labels = held_out.labels_in(plain.classes)
        exact = evaluate_logits(plain.predict(held_out.images), labels, plain.classes)
        logits = subject.predict(held_out.images)
        votes = beside_votes(subject, logits, held_out, others)
        judged = judge(subject, logits, held_out, describe(held_out), training, votes=votes)
    ranges.save(ASSETS / f"{release}.ranges.json")
    scores = {"float32": exact, f"int8 {SAFE_TARGET.value}": judged.evaluation}
    summary = ", ".join(f"{form} {evaluation.accuracy:.2%}" for form, evaluation in scores.items())
    summary += f" ({', '.join(split.value for split in held_out.available_splits)})"
    known = (
        json.loads((ASSETS / "quality.json").read_text(encoding="utf-8")) if (ASSETS / "quality.json").exists() else {}
    )
    update(ASSETS / "quality.json", name, {**known.get(name, {}), release.labels: summary})
    evidence: dict[str, object] = {
        "weights_sha256": weights.sha256,
        "ranges_sha256": file_sha256(ASSETS / f"{release}.ranges.json"),
        "phases": weights.provenance["phases"],
        "measured_on": describe(held_out),
        "measured": {form: evaluation.to_dict() for form, evaluation in scores.items()},
    }
    update(EXPORT / "manifest.json", str(release), evidence)
    make_folder(EXPORT / "cards")
    write_text(
        EXPORT / "cards" / f"{release}.md",
        model_card(find_model(name), weights.spec, weights.provenance, exact, judged),
    )
    print(f"{release}: {summary}")


def build_onnx(release: Release) -> None:
    """The INT8 file and the parity bundle of shipped weights and ranges; both must pass `rarn-edge verify`."""
    name = release.model
    weights = load_weights(ASSETS / f"{release}.safetensors", find_network(name))
    ranges = Ranges.load(shipped_ranges(name, release.labels))
    faces = decided_faces(weights)
    shown = show(faces, None, f"{BUNDLE_FACES} synthetic faces", weights.spec.preprocess)
    reference = torch_form(weights, shown)
    with tempfile.TemporaryDirectory() as folder:
        float32 = export(Path(folder) / f"{name}.onnx", name, weights=weights).artifact
        made = Path(folder) / onnx_name(name, SAFE_TARGET, release.labels)
        int8 = quantize(float32, SAFE_TARGET, ranges, made).artifact
        bundle = make_bundle(weights.spec, shown, reference, weights.sha256, files=[int8])
        for file in (float32.path, made):
            gate(verify(bundle, file))
        shutil.copyfile(made, ASSETS / made.name)
    save_bundle(bundle, ASSETS / f"{release}{SUFFIX}")
    for path in (ASSETS / onnx_name(name, SAFE_TARGET, release.labels), shipped_bundle(name, release.labels)):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:,.0f} kB, sha256 {file_sha256(path)[:12]}")


def decided_faces(weights: Weights) -> Faces:
    """Drawn faces that with no low margin: one output step of INT8 may turn a tie, on any device, and proves nothing."""
    faces = synthetic_faces(2 * BUNDLE_FACES, seed=SYNTHETIC_SEED)
    best = np.sort(torch_form(weights, faces).logits, axis=1)  # [N, classes]
    return faces.where(np.flatnonzero(best[:, -1] - best[:, -2] >= MIN_MARGIN)[:BUNDLE_FACES])


def update(path: Path, name: str, entry: dict[str, object]) -> None:
    """Replace one model's entry in a JSON file of all models."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content[name] = entry
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    run_script(main)
