"""What ships inside the package: trained weights, the activation ranges that belong to them, and two tiny graphs of a large
matrix product (`benchmarks/make_peaks.py`) that measure a machine's limit."""

import json
from importlib.resources import files
from pathlib import Path

from rarn_edge.errors import InputError


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


def shipped_quality() -> dict[str, str]:
    """Measured accuracy of the shipped models, as text; from `quality.json`, which `export/build_release.py` writes."""
    quality: dict[str, dict[str, str]] = json.loads((_folder() / "quality.json").read_text(encoding="utf-8"))
    return {model: figures["summary"] for model, figures in quality.items()}


def asset(name: str) -> Path:
    """A file of this folder."""
    return _folder() / name


def _folder() -> Path:
    return Path(str(files(__name__)))
