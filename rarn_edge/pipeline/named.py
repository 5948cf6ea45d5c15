"""From a model's name to an ONNX file, for comparing it: shipped weights where there are some, seeded random ones elsewhere."""

import hashlib
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rarn_edge.artifact import Artifact
from rarn_edge.assets import shipped_models, shipped_weights
from rarn_edge.errors import InputError, require_extra
from rarn_edge.files import make_folder
from rarn_edge.models.catalog import find_model


def named_model(name: str, folder: Path) -> Artifact:
    """The float32 ONNX file of a catalog model in `folder`; exported and simplified unless it is there already.

    Raises:
        InputError: no such model, torch is not installed, or `folder` cannot be written.
    """
    entry = find_model(name)
    path = make_folder(folder) / f"{entry.name}.onnx"
    shipped = shipped_weights(name) if name in shipped_models() else None
    wanted = hashlib.sha256(shipped.read_bytes()).hexdigest() if shipped else None
    found = _reusable(path, name, wanted)
    if found is not None:
        return found
    require_extra("torch", "export")
    from rarn_edge.pipeline.simplify import simplify
    from rarn_edge.pipeline.to_onnx import export, export_untrained
    from rarn_edge.train.checkpoint import load_weights

    raw = folder / f".{entry.name}.exported.onnx"
    try:
        exported = export(load_weights(shipped, name), raw) if shipped else export_untrained(name, raw)
        return simplify(exported, path).artifact
    finally:
        raw.unlink(missing_ok=True)


def named_models(names: list[str], folder: Path) -> list[Artifact]:
    """`named_model` for several names, exported side by side: torch's exporter uses one core."""
    for module in ("torch", "onnx", "onnxsim"):
        require_extra(module, "export")
    missing = sorted(set(names), key=lambda name: find_model(name).parameters, reverse=True)  # the longest first
    workers = min(len(missing), os.cpu_count() or 1)
    if workers < 2:
        return [named_model(name, folder) for name in names]
    make_folder(folder)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        jobs = {name: pool.submit(named_model, name, folder) for name in missing}
        return [jobs[name].result() for name in names]


def _reusable(path: Path, name: str, weights_sha256: str | None) -> Artifact | None:
    """The file of an earlier call, if it is this model with these weights."""
    if not path.is_file():
        return None
    try:
        artifact = Artifact.load(path)
    except InputError:
        return None  # damaged or foreign: it is made anew over it
    same_weights = artifact.contract.provenance.get("weights_sha256") == weights_sha256
    return artifact if artifact.spec.name == name and same_weights else None
