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

import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from rarn_edge.bench.request import Request, read_seconds
from rarn_edge.errors import InputError


@dataclass(frozen=True)
class SuiteFile:
    """A foreign ONNX file and the description of its contract."""

    path: str
    spec: str | None = None


@dataclass(frozen=True)
class Suite:
    """One suite."""

    title: str
    models: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    files: tuple[SuiteFile, ...] = ()
    reference: str | None = None
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = ()
    rounds: int | None = None
    budget_s: float | None = None
    starts: int = Request.starts
    memory: bool = True
    profile: bool = False
    name: str = ""
    folder: Path = field(default_factory=Path)

    def request(self) -> Request:
        """What it asks to be measured."""
        return Request(
            batches=self.batches,
            threads=self.threads,
            rounds=self.rounds,
            starts=self.starts,
            budget_s=self.budget_s,
            reference_label=self.reference,
            memory=self.memory,
            profile=self.profile,
            title=self.title,
        )


_KINDS: dict[str, type | tuple[type, ...]] = {
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


def load_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        InputError: unreadable, an unknown key, a value of the wrong type, or nothing to measure.
    """
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: not a readable suite ({error})") from error
    for key, value in data.items():
        if key not in _KINDS:
            raise InputError(f"{path}: unknown key '{key}'; known: {', '.join(_KINDS)}")
        if not isinstance(value, _KINDS[key]) or (_KINDS[key] is int and isinstance(value, bool)):
            raise InputError(f"{path}: {key} = {value!r} has the wrong type")
    if "title" not in data:
        raise InputError(f"{path}: needs a title")
    if not (data.get("models") or data.get("files")):
        raise InputError(f"{path}: names neither models nor files")
    if "rounds" not in data and "budget" not in data:
        raise InputError(f'{path}: needs rounds = 200 or budget = "120s"')
    try:
        files = tuple(SuiteFile(**each) for each in data.get("files", ()))
    except TypeError as error:
        names = ", ".join(each.name for each in fields(SuiteFile))
        raise InputError(f"{path}: each of files has {names}; {error}") from error
    lists: dict[str, Any] = {key: tuple(data[key]) for key in ("models", "int8", "batches", "threads") if key in data}
    if not set(lists.get("int8", ())) <= set(lists.get("models", ())):
        raise InputError(f"{path}: int8 names models that are not in models")
    if "budget" in data:
        lists["budget_s"] = read_seconds(data.pop("budget"), f"{path}: budget")
    values: dict[str, Any] = {**data, **lists, "files": files, "name": path.stem, "folder": path.parent}
    return Suite(**values)
