"""Suites: what is claimed, written down as a TOML file, so that anyone can measure it again on their machine.

title = "RARN beside its peers"
reference = "rarn-s"
batches = [1, 8]
threads = [1]
rounds = 200            # or budget = "120s"
starts = 5              # times all processes are started anew
models = ["rarn-s"]     # by name
int8 = ["rarn-s"]       # of these also the INT8 file for this machine
[[files]]               # ONNX files, looked for in the folder that --files names, else beside the suite
path = "mini_xception.onnx"
spec = "../peers/mini_xception.toml"   # optional: its contract, relative to the suite
"""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rarn_edge.bench.request import Request, read_seconds
from rarn_edge.boundary.documents import read_toml
from rarn_edge.boundary.paths import reason
from rarn_edge.errors import InputError


@dataclass(frozen=True)
class SuiteFile:
    """A foreign ONNX file and the description of its contract."""

    path: str
    spec: str | None = None


@dataclass(frozen=True)
class Suite:
    """What is measured, and how."""

    request: Request
    models: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    files: tuple[SuiteFile, ...] = ()
    folder: Path = field(default_factory=Path)


_KINDS: dict[str, type] = {
    "title": str,
    "reference": str,
    "budget": str,
    "rounds": int,
    "starts": int,
    "memory": bool,
    "profile": bool,
    "models": list,
    "int8": list,
    "files": list,
    "batches": list,
    "threads": list,
}
_ELEMENTS: dict[str, type] = {"models": str, "int8": str, "files": dict, "batches": int, "threads": int}
_REQUEST_FIELDS = {"title": "title", "reference": "reference_label"} | {
    key: key for key in ("rounds", "starts", "memory", "profile", "batches", "threads")
}


def load_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        InputError: unreadable, an unknown key, a value of the wrong type, or nothing to measure.
    """
    data = _read(path)
    if "title" not in data:
        raise InputError(f"{path}: needs a title")
    if not (data.get("models") or data.get("files")):
        raise InputError(f"{path}: names neither models nor files")
    if "rounds" not in data and "budget" not in data:
        raise InputError(f'{path}: needs rounds = 200 or budget = "120s"')
    try:
        files = tuple(SuiteFile(**each) for each in data.get("files", ()))
        if wrong := [value for each in data.get("files", ()) for value in each.values() if not isinstance(value, str)]:
            raise TypeError(f"{wrong[0]!r} is no text")
    except TypeError as error:
        names = ", ".join(each.name for each in fields(SuiteFile))
        raise InputError(f"{path}: each of files has {names}; {error}") from error
    models, int8 = data.get("models", ()), data.get("int8", ())
    if not set(int8) <= set(models):
        raise InputError(f"{path}: int8 names models that are not in models")
    asked: dict[str, Any] = {"rounds": None}  # as many as the budget allows
    asked |= {_REQUEST_FIELDS[key]: value for key, value in data.items() if key in _REQUEST_FIELDS}
    if "budget" in data:
        asked["budget_s"] = read_seconds(data["budget"], f"{path}: budget")
    return Suite(Request(**asked), models, int8, files, path.parent)


def _read(path: Path) -> dict[str, Any]:
    """The file's values, each of a known key and of its type, lists as tuples."""
    try:
        data = read_toml(path)
    except InputError as error:
        raise InputError(f"{path}: not a readable suite ({reason(error, path)})") from error
    for key, value in data.items():
        if key not in _KINDS:
            raise InputError(f"{path}: unknown key '{key}'; known: {', '.join(_KINDS)}")
        elements = value if isinstance(value, list) else ()
        if type(value) is not _KINDS[key] or any(type(each) is not _ELEMENTS[key] for each in elements):
            raise InputError(f"{path}: {key} = {value!r} has the wrong type")
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
