"""From model names and suites to ONNX files on disk; what is exported is kept and reused.

Files are made in a process of their own: torch, onnx and whole graphs leave no trace in the one that measures.
"""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from rarn_edge.errors import InputError, require_extra

if TYPE_CHECKING:
    from rarn_edge.bench.suite import Suite, SuiteFile
    from rarn_edge.models.find import NetworkInput


T = TypeVar("T")


def bench_files(names: list[str], work: Path, takes: "NetworkInput | None" = None) -> list[Path]:
    """The file of each name, exported where it is a network's; `takes` is the input of networks of one's own."""
    unique = list(dict.fromkeys(names))
    models = [name for name in unique if not name.endswith(".onnx")]
    exported = _apart(partial(_export, models, work, takes)) if models else {}
    return [exported.get(name, Path(name)) for name in unique]


def suite_files(suite: "Suite", folder: Path | None, work: Path) -> list[Path]:
    """Every file of a suite: float32 models, their INT8 forms, then the foreign files stamped with their contracts.

    Raises:
        InputError: a foreign file is not where it was looked for, or cannot be stamped.
    """
    return _apart(partial(_make_suite, suite, folder, work))


def _apart(make: Callable[[], T]) -> T:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(make).result()


def _make_suite(suite: "Suite", folder: Path | None, work: Path) -> list[Path]:
    sources = [(each, _source(suite, each, folder)) for each in suite.files]  # first: a missing file costs no time
    given = [Path(os.path.abspath(source)) for _, source in sources]  # noqa: PTH100 (`resolve` would follow links)
    outs = [work / "stamped" / source.parent.name / source.name for source in given]
    _check_names([out for (each, _), out in zip(sources, outs, strict=True) if each.spec is not None])
    foreign = [_stamped(suite, each, source, out) for (each, source), out in zip(sources, outs, strict=True)]
    exported = _export(list(suite.models), work)
    paths = []
    for name in suite.models:
        paths.append(exported[name])
        if name in suite.int8:
            paths.append(_int8(name, exported[name]))
    return [*paths, *foreign]


def _export(names: list[str], work: Path, takes: "NetworkInput | None" = None) -> dict[str, Path]:
    if not names:
        return {}
    require_extra("torch", "export")
    from rarn_edge.models.find import AS_IT_SAYS
    from rarn_edge.workflow.model_files import named_models

    made = named_models(names, work, takes or AS_IT_SAYS)
    return {name: artifact.path for name, artifact in zip(names, made, strict=True)}


def _int8(name: str, float32: Path) -> Path:
    """The INT8 file for this machine from the shipped ranges.

    Made anew by every call, in seconds: nothing in a file says which version of this package quantized it.
    """
    require_extra("onnx", "export")
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.contract.targets import detect_host
    from rarn_edge.pipeline.calibrate import ranges_of
    from rarn_edge.pipeline.quantize import quantize

    source = Artifact.load(float32)
    ranges = ranges_of(name, source.contract.provenance.get("weights_sha256"))
    return quantize(source, detect_host().target, ranges, float32.with_name(f"{name}.int8.onnx")).artifact.path


def _source(suite: "Suite", file: "SuiteFile", folder: Path | None) -> Path:
    source = suite.source(file, folder)
    if not source.is_file():
        raise InputError(f"{source}: the suite needs this file; name its folder with --files FOLDER")
    return source


def _check_names(outs: list[Path]) -> None:
    """Raises InputError if two stamped files would be one."""
    for out, count in Counter(outs).items():
        if count > 1:
            raise InputError(f"the suite has {count} files {out.parent.name}/{out.name}; rename one, or its folder")


def _stamped(suite: "Suite", file: "SuiteFile", source: Path, out: Path) -> Path:
    spec = suite.spec(file)
    if spec is None:
        return source
    require_extra("onnx", "export")
    from rarn_edge.files import make_folder
    from rarn_edge.pipeline.stamp import stamp

    return stamp(source, make_folder(out.parent) / out.name, spec=spec).path
