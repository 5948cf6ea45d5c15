"""Suites: what is claimed, written down as a TOML file, so that anyone can measure it again on their machine.

title = "RARN beside its peers"
reference = "rarn-s"
batches = [1, 8]
threads = [1]
rounds = 200            # or budget = "120s"
starts = 5              # launches of every process
models = ["rarn-s"]     # by name
int8 = ["rarn-s"]       # of these also the INT8 file for this machine
[[files]]               # ONNX files, looked for in the folder that --files names, else beside the suite
path = "mini_xception.onnx"
spec = "../peers/mini_xception.toml"   # optional: its contract, relative to the suite
"""

from dataclasses import dataclass, field
from pathlib import Path

from rarn_edge.bench.config import BenchConfig, read_seconds
from rarn_edge.boundary.documents import read_toml
from rarn_edge.boundary.paths import reason
from rarn_edge.decode import decode
from rarn_edge.errors import InputError


@dataclass(frozen=True)
class SuiteFile:
    """A foreign ONNX file and the description of its contract."""

    path: str
    spec: str | None = None


@dataclass(frozen=True)
class Suite:
    """What is measured, and how."""

    config: BenchConfig
    models: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    files: tuple[SuiteFile, ...] = ()
    path: Path = field(default_factory=Path)  # of the suite itself

    def source(self, file: SuiteFile, folder: Path | None) -> Path:
        """Where a file is looked for: in `folder`, else beside the suite."""
        return (folder or self.path.parent) / file.path

    def spec(self, file: SuiteFile) -> Path | None:
        """The description of its contract, where it has one."""
        return None if file.spec is None else self.path.parent / file.spec

    def reads(self, folder: Path | None) -> tuple[Path | None, ...]:
        """All that is read when the suite is measured."""
        return (self.path, *(path for each in self.files for path in (self.source(each, folder), self.spec(each))))


@dataclass(frozen=True)
class _Toml:
    """The keys of a suite file."""

    title: str
    models: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    files: tuple[SuiteFile, ...] = ()
    rounds: int | None = None  # as many as the budget allows
    budget: str | None = None
    reference: str | None = None
    starts: int = BenchConfig.launches
    batches: tuple[int, ...] = BenchConfig.batches
    threads: tuple[int, ...] = BenchConfig.threads
    memory: bool = BenchConfig.memory
    profile: bool = BenchConfig.profile


def load_suite(path: Path) -> Suite:
    """Read a suite.

    Raises:
        InputError: unreadable, an unknown key, a value of the wrong type, or nothing to measure.
    """
    try:
        data = read_toml(path)
    except InputError as error:
        raise InputError(f"{path}: not a readable suite ({reason(error, path)})") from error
    try:
        found = decode(_Toml, data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if not (found.models or found.files):
        raise InputError(f"{path}: names neither models nor files")
    if found.rounds is None and found.budget is None:
        raise InputError(f'{path}: needs rounds = 200 or budget = "120s"')
    if not set(found.int8) <= set(found.models):
        raise InputError(f"{path}: int8 names models that are not in models")
    config = BenchConfig(
        title=found.title,
        rounds=found.rounds,
        budget_s=None if found.budget is None else read_seconds(found.budget, f"{path}: budget"),
        reference_label=found.reference,
        launches=found.starts,
        batches=found.batches,
        threads=found.threads,
        memory=found.memory,
        profile=found.profile,
    )
    return Suite(config, found.models, found.int8, found.files, path)
