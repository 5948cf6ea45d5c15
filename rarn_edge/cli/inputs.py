"""From option texts to values, with errors that name the option."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from rarn_edge.cli.app import note
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.data import Faces, Split, load_faces
from rarn_edge.data.select import describe, labelled_faces, to_measure_on
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError, require_extra, require_extras

if TYPE_CHECKING:
    from rarn_edge.contract.spec import InputDtype
    from rarn_edge.evaluation.judge import Subject
    from rarn_edge.pipeline.histograms import Method
    from rarn_edge.train.checkpoint import Weights

SYNTHETIC_FACES = 512
SYNTHETIC_SEED = 7  # other faces than the ones export and simplification are checked on


def read_weights(model: str, path: Path | None) -> "Weights":
    """The weights file given, or the shipped one."""
    require_extras("export")
    from rarn_edge.assets import shipped_weights
    from rarn_edge.models.catalog import find_model
    from rarn_edge.train.checkpoint import load_weights

    find_model(model)
    return load_weights(path or shipped_weights(model), expected_model=model)


def read_target(text: str) -> Target:
    """A target by name; `auto` is this machine's, and says why."""
    if text == "auto":
        host = detect_host()
        note(f"target {host.explain()}")
        return host.target
    if text not in tuple(Target):
        raise InputError(f"no target '{text}'; one of: {', '.join(Target)}, auto")
    return Target(text)


def read_method(text: str) -> "Method":
    """A calibration method by name."""
    from rarn_edge.pipeline.histograms import Method

    method: Method = _one_of(text, get_args(Method), "calibration method")
    return method


def read_input_dtype(text: str) -> "InputDtype":
    """`float32` or `uint8`."""
    from rarn_edge.contract.spec import InputDtype

    dtype: InputDtype = _one_of(text, get_args(InputDtype), "input type")
    return dtype


def _one_of(text: str, choices: tuple[Any, ...], what: str) -> Any:
    """`text` as the choice it is, whose literal type `get_args` loses."""
    if text not in choices:
        raise InputError(f"no {what} '{text}'; one of: {', '.join(choices)}")
    return text


def read_numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,8,32` -> (1, 8, 32)."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} takes whole numbers such as 1,8,32; found '{text}'") from error
    if min(numbers) < 1:
        raise InputError(f"{option} takes numbers of at least 1; found {min(numbers)}")
    return numbers


def calibration_faces(data: Path, images: int, seed: int) -> Faces:
    """A balanced sample of the Training split: ranges tuned on a test split would flatter the result."""
    from rarn_edge.pipeline.calibrate import check_sample

    faces = load_faces(data, lambda found: found.split(Split.TRAINING).balanced_sample(images, seed))
    for warning in check_sample(faces):
        note(warning, "warning")
    return faces


def held_out_and_training(data: Path, split: str | None) -> tuple[Faces, Faces | None]:
    """The faces to measure on, and the Training split of the same data where that is another one."""
    faces = load_faces(data)
    chosen = to_measure_on(faces, split)
    apart = Split.TRAINING in faces.available_splits and Split.TRAINING not in chosen.available_splits
    return chosen, faces.split(Split.TRAINING) if apart else None


def read_subject(file: Path, provider: str, threads: int | None) -> "Subject":
    """A model to judge: an ONNX file, or weights, which are run in torch."""
    from rarn_edge.evaluation.judge import Subject

    if file.suffix == ".pt":
        raise InputError(f"{file}: is the checkpoint to resume from; evaluate {file.with_name('weights.safetensors')}")
    if file.suffix == ".safetensors":
        require_extra("torch", "train")
        from rarn_edge.train.checkpoint import load_weights
        from rarn_edge.train.evaluate import torch_logits

        if provider != "cpu":
            raise InputError(f"weights are evaluated in torch on the CPU; export them first to run on '{provider}'")
        weights = load_weights(file)
        model, spec, provenance = weights.model(), weights.spec, weights.provenance
        predict = partial(torch_logits, model, spec.preprocess)
    else:
        from rarn_edge.contract.artifact import Artifact
        from rarn_edge.runtime.logits import run_logits
        from rarn_edge.runtime.providers import open_session

        artifact = Artifact.load(file)
        warn_host(artifact.contract.target)
        spec, provenance = artifact.spec, artifact.contract.provenance
        predict = partial(run_logits, open_session(file, provider, threads), spec)
    mean, std = provenance.get("train_pixel_mean"), provenance.get("train_pixel_std")
    trained_on = (float(mean), float(std)) if isinstance(mean, int | float) and isinstance(std, int | float) else None
    return Subject(file.name, spec.classes, spec.temperature, predict, trained_on)


def comparison_faces(
    data: Path | None, split: str | None, classes: tuple[str, ...], drawn: int | None = None
) -> tuple[Faces, NDArray[np.int64] | None, str]:
    """Faces for parity, labels where they mean something, and a description for the table's title.

    Without data, `drawn` synthetic faces stand in (default: `SYNTHETIC_FACES`).
    """
    if data is None:
        if split is not None:
            raise InputError("--split needs --data")
        count = drawn or SYNTHETIC_FACES
        return synthetic_faces(count, SYNTHETIC_SEED), None, f"{count} synthetic faces"
    faces = labelled_faces(data, split)
    return faces, faces.labels_in(classes), describe(faces)


def warn_host(target: Target | None) -> None:
    """Say so when an INT8 file was made for another kind of CPU."""
    warning = detect_host().mismatch(target)
    if warning:
        note(warning, "warning")
