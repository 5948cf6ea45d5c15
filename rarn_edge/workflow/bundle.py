"""What goes on the board, to a server, or into a browser."""

from pathlib import Path
from typing import get_args

from rarn_edge.assets import default_labels, shipped_bundle, shipped_labels, shipped_quality, shipped_weights
from rarn_edge.board.make import Format, make_bundle
from rarn_edge.boundary.names import one_of
from rarn_edge.contract.artifact import Artifact
from rarn_edge.device.model import find_model_file, is_shipped
from rarn_edge.errors import InputError
from rarn_edge.files import file_sha256
from rarn_edge.workflow.callbacks import AnyPath


def bundle(
    model: AnyPath,
    output: AnyPath,
    *,
    form: Format = "board",
    parity: AnyPath | None = None,
    labels: str | None = None,
    ort_web: AnyPath | None = None,
) -> tuple[str, ...]:
    """Pack a model for a board, a server or a browser, with model card and licence; for a board and a browser also with checks.

    Args:
        model: A shipped model's name, or an ONNX file.
        output: A new folder, or a `.zip`; for `web` also one `.html` file.
        form: `board`, `triton`: a model repository for a server, or `web`: a page.
        parity: A parity bundle to put beside it (shipped models have their own).
        labels: Of a shipped model: `ferplus` (default) or `fer2013`.
        ort_web: For `web`: the npm package onnxruntime-web, of the version that the page is tested with.

    Returns:
        The paths in the bundle, sorted.

    Raises:
        InputError: the model or `ort_web` cannot be used, or `output` is taken or cannot be written; nothing is left there.

    Example:
        >>> import rarn_edge, tempfile
        >>> names = rarn_edge.bundle("rarn-n", f"{tempfile.mkdtemp()}/board.zip")
        >>> "predict.py" in names, "model.onnx" in names
        (True, True)
    """
    one_of(form, get_args(Format), "format")
    if ort_web is not None and form != "web":
        raise InputError("--ort-web is for --format web")
    if parity is not None and form == "triton":
        raise InputError("--parity is for --format board and web; a model repository has no place for it")
    measured, ours, evidence = None, is_shipped(model), None if parity is None else Path(parity)
    if ours:
        evidence = evidence or shipped_bundle(str(model), labels)
        measured = shipped_quality().get(str(model), {}).get(default_labels(str(model), labels))
    return make_bundle(
        find_model_file(model, labels),
        Path(output),
        form,
        evidence,
        measured,
        None if ort_web is None else Path(ort_web),
        ours or _has_shipped_weights(Path(model)),
    )


def _has_shipped_weights(file: Path) -> bool:
    """Whether a file was made of weights of this package."""
    contract = Artifact.load(file).contract
    name, weights = contract.spec.name, contract.provenance.get("weights_sha256")
    return any(file_sha256(shipped_weights(name, labels)) == weights for labels in shipped_labels(name))
