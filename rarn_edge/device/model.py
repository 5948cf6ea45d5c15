"""Which file `rarn-s` or `path/to/model.onnx` means."""

from pathlib import Path

from rarn_edge.errors import InputError


def find_model_file(model: str | Path) -> Path:
    """A path as it is; a name without folder or suffix is a shipped model's.

    Raises:
        InputError: neither.
    """
    path = Path(model)
    if path.suffix or path.exists() or len(path.parts) > 1:
        return path
    raise InputError(f"no model '{model}'; give the path of an ONNX file")
