"""From the names and paths of a call to weights, faces and models; errors say which option to mend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.data import Faces, Split, load_faces
from rarn_edge.data.faces import Choose, listed
from rarn_edge.data.select import describe, in_split, to_measure_on
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.data.votes import undecided
from rarn_edge.errors import InputError, require_extra, require_extras
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, warn

if TYPE_CHECKING:
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.evaluation.judge import Subject
    from rarn_edge.models.find import AnyNetwork
    from rarn_edge.models.network import Network
    from rarn_edge.pipeline.calibrate import Ranges
    from rarn_edge.train.checkpoint import Weights

DEFAULT_MODEL = "rarn-s"
WEIGHTS = ".safetensors"  # the suffix of what is no graph
SYNTHETIC_FACES = 512
CALIBRATION_IMAGES = 512  # of the data that activation ranges are measured on
DRAWN_FOR_RANGES = 64  # seconds at 224x224
SYNTHETIC_SEED = 7  # other faces than the ones export and simplification are checked on


class ComparisonFaces(NamedTuple):
    """Faces to compare models on, their labels [N] where they mean something, and a description for a title."""

    faces: Faces
    labels: NDArray[np.int64] | None
    description: str


def read_weights(
    model: "AnyNetwork | None",
    given: "AnyPath | Weights | None",
    labels: str | None = None,
    spec: ModelSpec | None = None,
) -> "Weights":
    """The weights file given, the shipped one for a label set, those in memory, or what a network of one's own begins with.

    Without `model`, weights say of which network of the catalog they are; without both it is `DEFAULT_MODEL`.
    """
    require_extras("export")
    from rarn_edge.assets import shipped_weights
    from rarn_edge.models.find import find_network
    from rarn_edge.train.checkpoint import fresh_weights, load_known, load_weights

    if model is None and given is not None:
        if labels is not None:
            raise InputError(
                "--labels chooses between shipped weights, and --weights names others; leave one of the two out"
            )
        return load_known(Path(given)) if isinstance(given, str | Path) else given
    network = find_network(DEFAULT_MODEL if model is None else model, spec=spec)
    if labels is not None and (given is not None or network.own):
        other = "--weights names others" if given is not None else f"{network.reference} is not of this package"
        raise InputError(f"--labels chooses between shipped weights, and {other}; leave one of the two out")
    if given is None and network.own:
        return fresh_weights(network)
    if given is None:
        return load_weights(shipped_weights(network.name, labels), network)
    if network.as_it_is:
        raise InputError("a module brings its own weights; give a callable that makes it to load others")
    if not isinstance(given, str | Path):
        return given
    loaded = load_weights(Path(given), network)
    loaded.model()  # what cannot be built is said before the work
    return loaded


def read_target(name: str, on_notice: OnNotice = warn) -> Target:
    """A target by name; `auto` is this machine's, and says why."""
    if name == "auto":
        host = detect_host()
        on_notice(f"target {host.target.value}: {host.reason}", "")
        return host.target
    if name not in tuple(Target):
        raise InputError(f"no target '{name}'; one of: {', '.join(Target)}, auto")
    return Target(name)


def calibration_faces(
    data: AnyPath, images: int, seed: int, preprocess: Preprocess, on_notice: OnNotice = warn
) -> Faces:
    """A balanced sample of the Training split: ranges tuned on a test split would flatter the result."""
    from rarn_edge.pipeline.calibrate import check_sample

    def sample(found: Faces) -> Faces:
        return found.split(Split.TRAINING).balanced_sample(images, seed)

    faces = load_as_seen(data, sample, None, preprocess, on_notice)
    for warning in check_sample(faces):
        on_notice(warning, "warning")
    return faces


def ranges_for(
    weights: "Weights", calib: AnyPath | None, images: int, seed: int = 0, on_notice: OnNotice = warn
) -> "Ranges | Faces":
    """What an INT8 file's ranges come from: data, those shipped for these weights, or drawn faces for a network of one's own."""
    if calib is not None:
        return calibration_faces(calib, images, seed, weights.spec.preprocess, on_notice)
    if weights.network is None or not weights.network.own:
        return read_ranges(weights.spec.name, weights.sha256)
    on_notice(
        f"activation ranges come from {DRAWN_FOR_RANGES} drawn faces: measure yours with --calib DATA",
        "warning",
    )
    return drawn_for(weights.spec.preprocess, DRAWN_FOR_RANGES, seed)


def read_ranges(model: str, weights_sha256: str | None, path: AnyPath | None = None) -> "Ranges":
    """Activation ranges from a file, or the ones shipped for these weights."""
    from rarn_edge.pipeline.calibrate import Ranges, ranges_of

    return ranges_of(model, weights_sha256) if path is None else Ranges.load(Path(path))


def labelled_faces(
    data: AnyPath,
    split: str | None,
    preprocess: Preprocess,
    votes: AnyPath | None = None,
    on_notice: OnNotice = warn,
) -> Faces:
    """What to measure on, as a network with this input sees it: the split named, or the held-out one; labelled by people where
    there are `votes`."""
    return load_as_seen(data, lambda found: to_measure_on(found, split), votes, preprocess, on_notice)


@dataclass(frozen=True)
class FacesToJudge:
    """What a model is measured on.

    faces: Those with a label; with votes, those with a majority.
    without_majority: The others of the same split with votes, for the whole distribution; None where there are none.
    training: The Training split of the same data, where that was asked for and is another one.
    """

    faces: Faces
    without_majority: Faces | None
    training: Faces | None


def faces_to_judge(
    data: AnyPath,
    split: str | None,
    preprocess: Preprocess,
    votes: AnyPath | None = None,
    on_notice: OnNotice = warn,
    *,
    with_training: bool = False,
) -> FacesToJudge:
    """The split named, or the held-out one, as a network with this input sees it."""
    found: Faces
    training = None
    if with_training:
        whole = load_as_seen(data, None, votes, preprocess, on_notice)
        found = in_split(whole, split)
        apart = Split.TRAINING in whole.available_splits and Split.TRAINING not in found.available_splits
        if apart:
            alone = whole.available_splits == (Split.TRAINING,)  # then a tenth is held out, and that was found
            training = whole.divided()[0] if alone else whole.split(Split.TRAINING)
    else:
        choose = to_measure_on if votes is None else in_split
        found = load_as_seen(data, lambda whole: choose(whole, split), votes, preprocess, on_notice)
    others = None if found.votes is None else undecided(found)
    return FacesToJudge(found.labelled(), others if others is not None and len(others) else None, training)


def load_as_seen(
    data: AnyPath, choose: Choose | None, votes: AnyPath | None, preprocess: Preprocess, on_notice: OnNotice
) -> Faces:
    """A data set, or what is chosen of it, as a network with this input sees it; votes and unlike colours are said."""
    path = None if votes is None else Path(votes)
    faces = load_faces(Path(data), choose, path, lambda pairing: on_notice(str(pairing), ""), preprocess)
    if notice := faces.colour_notice(preprocess):
        on_notice(notice, "warning" if preprocess.in_colour else "")
    return faces


def known_faces(faces: Faces, models: Mapping[str, tuple[str, ...]], on_notice: OnNotice = warn) -> Faces:
    """The faces whose class every model has (`models`: name to classes); how many were left out is said.

    Raises:
        InputError: faces without votes have a class that a model lacks, or nothing is left.
    """
    if faces.votes is None:
        return faces
    known = faces
    for name, classes in models.items():
        kept = known.known_to(classes)
        if len(kept) < len(known):
            left = sorted(set(kept.without).difference(known.without))
            count = len(known) - len(kept)
            on_notice(f"{count:,} faces left out: {name} lacks {listed(left, 2)}", "warning")
        known = kept
    return known


def read_subject(
    file: AnyPath, provider: str, threads: int | None, on_notice: OnNotice = warn, networks: "Sequence[Network]" = ()
) -> "Subject":
    """A model to evaluate: an ONNX file, or weights, which are run in torch; `networks` are those of one's own."""
    from rarn_edge.evaluation.judge import Subject

    file = Path(file)
    if file.suffix in (".pt", ".pth"):
        beside = file.with_name("weights.safetensors")
        instead = str(beside) if beside.exists() else "an ONNX file or the weights.safetensors of a run"
        raise InputError(f"{file}: is a file of torch, such as a checkpoint to resume from; evaluate {instead}")
    if file.suffix == WEIGHTS:
        require_extra("torch", "train")
        from rarn_edge.train.checkpoint import load_known
        from rarn_edge.train.evaluate import torch_logits

        if provider != "cpu":
            raise InputError(f"weights are evaluated in torch on the CPU; export them first to run on '{provider}'")
        weights = load_known(file, networks)
        model, spec, provenance = weights.model(), weights.spec, weights.provenance
        predict = partial(torch_logits, model, spec.preprocess)
    else:
        from rarn_edge.contract.artifact import Artifact
        from rarn_edge.runtime.logits import run_logits
        from rarn_edge.runtime.providers import open_session

        artifact = Artifact.load(file)
        tell_origin(artifact, on_notice)
        if warning := detect_host().mismatch(artifact.contract.target):
            on_notice(warning, "warning")
        spec, provenance = artifact.spec, artifact.contract.provenance
        predict = partial(run_logits, open_session(file, provider, threads), spec, batch=artifact.contract.batch)
    mean, std = provenance.get("train_pixel_mean"), provenance.get("train_pixel_std")
    trained_on = (float(mean), float(std)) if isinstance(mean, int | float) and isinstance(std, int | float) else None
    return Subject(file.name, spec, predict, trained_on)


def tell_origin(artifact: "Artifact", on_notice: OnNotice) -> None:
    """Say of a file that another tool made how it is judged."""
    if artifact.contract.made_elsewhere is not None:
        on_notice(f"{artifact.path} is {artifact.contract.made_elsewhere}; judged as such", "")


def comparison_faces(
    data: AnyPath | None,
    split: str | None,
    spec: ModelSpec,
    synthetic: int | None = None,
    votes: AnyPath | None = None,
    on_notice: OnNotice = warn,
) -> ComparisonFaces:
    """Faces to compare models on; without data, `synthetic` drawn ones stand in (default: `SYNTHETIC_FACES`)."""
    if data is None:
        if split is not None or votes is not None:
            raise InputError(f"--{'split' if split is not None else 'votes'} needs --data")
        count = synthetic or SYNTHETIC_FACES
        drawn = drawn_for(spec.preprocess, count, SYNTHETIC_SEED)
        return ComparisonFaces(drawn, None, f"{len(drawn)} synthetic faces")
    every = labelled_faces(data, split, spec.preprocess, votes, on_notice)
    known = known_faces(every, {"the model": spec.classes}, on_notice)
    faces = known.in_memory()
    if len(faces) < len(known):
        on_notice(f"compared on {len(faces):,} of {len(known):,} images: a seeded sample that fits in memory", "")
    return ComparisonFaces(faces, faces.labels_in(spec.classes), describe(faces))
