"""From a model's name to an ONNX file, for comparing it: shipped weights where there are some, seeded random ones elsewhere."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rarn_edge.assets import shipped_models, shipped_weights
from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import InputError, require_extras
from rarn_edge.files import file_sha256, make_folder
from rarn_edge.host.threads import default_threads
from rarn_edge.models.catalog import find_model


def named_models(names: list[str], folder: Path) -> list[Artifact]:
    """The float32 ONNX files of catalog models in `folder`; exported and simplified unless they are there already.

    Raises:
        InputError: no such model, torch is not installed, or `folder` cannot be written.
    """
    found = {name: _reusable(name, folder) for name in names}
    missing = [name for name, artifact in found.items() if artifact is None]
    if missing:
        require_extras("export")
        make_folder(folder)
        found |= dict(zip(missing, _export_all(missing, folder), strict=True))
    return [artifact for name in names if (artifact := found[name]) is not None]


def _export_all(names: list[str], folder: Path) -> list[Artifact]:
    """Export side by side, the longest first: torch's exporter uses one core."""
    workers = min(len(names), default_threads())
    if workers < 2:
        return [_export(name, folder) for name in names]
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        by_size = sorted(names, key=lambda name: find_model(name).parameters, reverse=True)
        jobs = {name: pool.submit(_export, name, folder) for name in by_size}
        return [jobs[name].result() for name in names]


def _export(name: str, folder: Path) -> Artifact:
    from rarn_edge.pipeline.simplify import simplify
    from rarn_edge.pipeline.to_onnx import export, export_untrained
    from rarn_edge.train.checkpoint import load_weights

    raw = folder / f".{name}.exported.onnx"
    try:
        shipped = name in shipped_models()
        exported = export(load_weights(shipped_weights(name), name), raw) if shipped else export_untrained(name, raw)
        return simplify(exported, folder / f"{name}.onnx").artifact
    finally:
        raw.unlink(missing_ok=True)


def _reusable(name: str, folder: Path) -> Artifact | None:
    """The file of an earlier call, if it is this model with these weights."""
    path = folder / f"{find_model(name).name}.onnx"
    if not path.is_file():
        return None
    try:
        artifact = Artifact.load(path)
    except InputError:
        return None  # damaged or foreign: it is made anew over it
    wanted = file_sha256(shipped_weights(name)) if name in shipped_models() else None
    same_weights = artifact.contract.provenance.get("weights_sha256") == wanted
    return artifact if artifact.spec.name == name and same_weights else None
