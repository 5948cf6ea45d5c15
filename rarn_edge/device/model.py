"""Which file `rarn-s` or `path/to/model.onnx` means."""

from pathlib import Path

from rarn_edge.assets import shipped_onnx, shipped_onnx_models
from rarn_edge.boundary.paths import exists
from rarn_edge.errors import InputError


def find_model_file(model: str | Path, labels: str | None = None) -> Path:
    """The shipped INT8 file for this machine when `model` is a shipped model's name, else the path as it is.

    `labels` chooses between a shipped model's label sets (default: its first, FER+).

    Raises:
        InputError: neither a shipped name nor, by its look, a path; labels that are not shipped, or of a file.
    """
    if is_shipped(model):
        return shipped_onnx(str(model), labels=labels)
    path = Path(model)
    if path.suffix or exists(path) or len(path.parts) > 1:
        if labels is not None:
            raise InputError(
                f"--labels chooses between shipped models; {model} is a file and has the labels that it has"
            )
        return path
    raise InputError(f"no model '{model}' is shipped ({', '.join(shipped_onnx_models())}); give an ONNX file's path")


def is_shipped(model: str | Path) -> bool:
    """A file of that name in the working folder is meant only by a longer path, such as its absolute one."""
    return str(model) in shipped_onnx_models()
