"""What ships inside the package: trained weights, their activation ranges, INT8 files made of both, and parity bundles; and two
tiny graphs of a large matrix product (`benchmarks/make_peaks.py`) that measure a machine's limit.

`export/build_release.py` makes the former. A device needs the INT8 file and the bundle only.
"""

import json
from importlib.resources import files
from pathlib import Path

from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.errors import InputError

SAFE_TARGET = Target.X86_AVX2
"""Its 7-bit weights are right on every CPU, with or without VNNI, x86 or Arm; so its file stands in for any other."""


def shipped_models() -> tuple[str, ...]:
    """Names of the models whose weights are in this package."""
    return tuple(sorted(path.name.removesuffix(".safetensors") for path in _folder().glob("*.safetensors")))


def shipped_weights(model: str) -> Path:
    """The weights file of `model`.

    Raises:
        InputError: none is shipped for it.
    """
    path = _folder() / f"{model}.safetensors"
    if not path.is_file():
        raise InputError(
            f"no weights of '{model}' are shipped (shipped: {', '.join(shipped_models()) or 'none'});"
            " pass --weights FILE, made by: rarn-edge train"
        )
    return path


def shipped_ranges(model: str) -> Path:
    """The activation ranges of `model`'s shipped weights.

    Raises:
        InputError: none are shipped for it.
    """
    path = _folder() / f"{model}.ranges.json"
    if not path.is_file():
        raise InputError(f"no activation ranges of '{model}' are shipped; measure them with --calib DATA")
    return path


def shipped_onnx_models() -> tuple[str, ...]:
    """Names of the models whose INT8 file is in this package."""
    suffix = f".{SAFE_TARGET.value}.int8.onnx"
    return tuple(sorted(path.name.removesuffix(suffix) for path in _folder().glob(f"*{suffix}")))


def shipped_onnx(model: str, target: Target | None = None) -> Path:
    """The INT8 file of `model` for `target` (default: this machine's), or the one that is right on every CPU.

    Raises:
        InputError: none is shipped for this model.
    """
    wanted = detect_host().target if target is None else target
    for each in (wanted, SAFE_TARGET):
        path = _folder() / onnx_name(model, each)
        if path.is_file():
            return path
    raise InputError(
        f"no INT8 file of '{model}' is shipped (shipped: {', '.join(shipped_onnx_models()) or 'none'});"
        f" make one: rarn-edge export --model {model} -o {model}.onnx, then rarn-edge quantize"
    )


def onnx_name(model: str, target: Target) -> str:
    """What the shipped INT8 file of `model` for `target` is called."""
    return f"{model}.{target.value}.int8.onnx"


def shipped_bundle(model: str) -> Path:
    """The parity bundle of `model`'s shipped weights.

    Raises:
        InputError: none is shipped for this model.
    """
    path = _folder() / f"{model}.rarn-parity"
    if not path.is_file():
        raise InputError(
            f"no parity bundle of '{model}' is shipped; make one: rarn-edge parity --model {model} --bundle FILE"
        )
    return path


def shipped_quality() -> dict[str, str]:
    """Measured accuracy of the shipped models, as text; from `quality.json`, which `export/build_release.py` writes."""
    quality: dict[str, dict[str, str]] = json.loads((_folder() / "quality.json").read_text(encoding="utf-8"))
    return {model: figures["summary"] for model, figures in quality.items()}


def asset(name: str) -> Path:
    """A file of this folder."""
    return _folder() / name


def _folder() -> Path:
    return Path(str(files(__name__)))
