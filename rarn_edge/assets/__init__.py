"""What ships inside the package: trained weights, their activation ranges, INT8 files made of both, and parity bundles; and two
tiny graphs of a large matrix product (`benchmarks/make_peaks.py`) that measure a machine's limit.

Each model ships with weights for one or more label sets (`contract.spec.LABEL_CLASSES`): FER+, the votes of ten people, is the
default, and FER-2013 the other. `export/build_release.py` makes the files. A device needs the INT8 file and the bundle only.
"""

import json
from importlib.resources import files
from pathlib import Path

from rarn_edge.contract.spec import LABEL_CLASSES
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.errors import InputError

SAFE_TARGET = Target.X86_AVX2
"""Its 7-bit weights are right on every CPU, with or without VNNI, x86 or Arm; so its file stands in for any other."""


def shipped_models() -> tuple[str, ...]:
    """Names of the models whose weights are in this package, for any label set."""
    return _models(".safetensors")


def shipped_onnx_models() -> tuple[str, ...]:
    """Names of the models whose INT8 file is in this package, for any label set."""
    return _models(f".{SAFE_TARGET.value}.int8.onnx")


def shipped_labels(model: str) -> tuple[str, ...]:
    """The label sets for which weights of `model` are in this package, the default one first; none for other models."""
    return tuple(labels for labels in LABEL_CLASSES if (_folder() / f"{model}.{labels}.safetensors").is_file())


def default_labels(model: str, labels: str | None = None) -> str:
    """The label set asked for, or the first that `model` is shipped with.

    Raises:
        InputError: no weights of this model are shipped, or none for these labels.
    """
    there = shipped_labels(model)
    if not there:
        raise InputError(
            f"no weights of '{model}' are shipped (shipped: {', '.join(shipped_models()) or 'none'});"
            " pass --weights FILE, made by: rarn-edge train"
        )
    if labels is not None and labels not in there:
        raise InputError(
            f"no weights of '{model}' for the labels '{labels}' are shipped; there are: {', '.join(there)}"
        )
    return there[0] if labels is None else labels


def shipped_weights(model: str, labels: str | None = None) -> Path:
    """The weights file of `model` for a label set (default: its first).

    Raises:
        InputError: none is shipped for it.
    """
    return _folder() / f"{model}.{default_labels(model, labels)}.safetensors"


def shipped_ranges(model: str, labels: str | None = None) -> Path:
    """The activation ranges of `model`'s shipped weights.

    Raises:
        InputError: none are shipped for it.
    """
    if not shipped_labels(model):
        raise InputError(f"no activation ranges of '{model}' are shipped; measure them with --calib DATA")
    return _folder() / f"{model}.{default_labels(model, labels)}.ranges.json"


def shipped_onnx(model: str, target: Target | None = None, labels: str | None = None) -> Path:
    """The INT8 file of `model` for `target` (default: this machine's), or the one that is right on every CPU.

    Raises:
        InputError: none is shipped for this model or label set.
    """
    there = [each for each in LABEL_CLASSES if (_folder() / onnx_name(model, SAFE_TARGET, each)).is_file()]
    if labels is not None and there and labels not in there:
        raise InputError(
            f"no INT8 file of '{model}' for the labels '{labels}' is shipped; there are: {', '.join(there)}"
        )
    if not there:
        raise InputError(
            f"no INT8 file of '{model}' is shipped (shipped: {', '.join(shipped_onnx_models()) or 'none'});"
            f" make one: rarn-edge export --model {model} -o {model}.onnx, then rarn-edge quantize"
        )
    wanted = detect_host().target if target is None else target
    exact = _folder() / onnx_name(model, wanted, labels or there[0])
    return exact if exact.is_file() else _folder() / onnx_name(model, SAFE_TARGET, labels or there[0])


def shipped_files(labels: str | None = None) -> tuple[tuple[Path, Path], ...]:
    """(parity bundle, INT8 file) of every shipped model and label set, or of one label set."""
    return tuple(
        (shipped_bundle(model, each), shipped_onnx(model, labels=each))
        for model in shipped_onnx_models()
        for each in shipped_labels(model)
        if labels is None or each == labels
    )


def onnx_name(model: str, target: Target, labels: str) -> str:
    """What the shipped INT8 file of `model` for `target` and a label set is called."""
    return f"{model}.{labels}.{target.value}.int8.onnx"


def shipped_bundle(model: str, labels: str | None = None) -> Path:
    """The parity bundle of `model`'s shipped weights.

    Raises:
        InputError: none is shipped for this model, or not for these labels.
    """
    named = default_labels(model, labels) if shipped_labels(model) else ""
    path = _folder() / f"{model}.{named}.rarn-parity"
    if not path.is_file():
        raise InputError(
            f"no parity bundle of '{model}' is shipped; make one: rarn-edge parity --model {model} --bundle FILE"
        )
    return path


def shipped_quality() -> dict[str, dict[str, str]]:
    """Measured accuracy of the shipped models by label set, as text: `quality.json`, by `export/build_release.py`."""
    quality: dict[str, dict[str, str]] = json.loads((_folder() / "quality.json").read_text(encoding="utf-8"))
    return quality


def asset(name: str) -> Path:
    """A file of this folder."""
    return _folder() / name


def _models(suffix: str) -> tuple[str, ...]:
    names = {path.name.removesuffix(suffix).rpartition(".") for path in _folder().glob(f"*{suffix}")}
    return tuple(sorted({model for model, _, labels in names if labels in LABEL_CLASSES}))


def _folder() -> Path:
    return Path(str(files(__name__)))
