"""A run's raw samples, written after every round: a killed run loses one round, not the night.

One JSON object per line: first the plan, then what was measured, in the order it was. `run` removes the journal once the
result is written; `load_report` reads one that was left behind as if it were a result.
"""

from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from rarn_edge.bench.measured import Group, Measured, Opened, Plan, Round
from rarn_edge.bench.result import BenchReport, Failure
from rarn_edge.bench.summary import summarise
from rarn_edge.boundary.documents import parse_json, to_json
from rarn_edge.boundary.lock import lock_handle
from rarn_edge.boundary.paths import MAX_TEXT_BYTES, read_bytes
from rarn_edge.errors import InputError
from rarn_edge.files import check_output

JOURNAL_VERSION = 2


class Journal:
    """The open file; every line is handed to the operating system at once."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._file: TextIO | None = None
        if path is not None:
            check_output(path)
            self._file = path.open("a", encoding="utf-8")  # not "w": it may be another run's
            if not lock_handle(self._file.fileno()):
                self._file.close()
                raise InputError(f"{path}: another run is writing this; wait for it, or name another output")
            self._file.truncate(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def plan(self, plan: Plan) -> None:
        self._write({"kind": "bench-journal", "journal_version": JOURNAL_VERSION, "plan": plan.to_dict()})

    def opened(self, label: str, threads: int, opened: Opened) -> None:
        self._write({"opened": label, "threads": threads, **asdict(opened)})

    def round(self, group: Group, taken: Round) -> None:
        self._write({**asdict(group), "round": asdict(taken)})

    def failure(self, failure: Failure) -> None:
        self._write({"failure": asdict(failure)})

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            self._file.write(to_json(line) + "\n")
            self._file.flush()


def is_journal(path: Path) -> bool:
    """Whether the file begins as a journal does."""
    try:
        with path.open(encoding="utf-8") as file:
            return '"bench-journal"' in file.readline(200)
    except (OSError, UnicodeDecodeError):
        return False


def read_journal(path: Path) -> BenchReport:
    """The report of what a killed run had measured; memory and accuracy, which come last, are missing.

    Raises:
        InputError: not a journal of this version, or nothing was measured yet.
    """
    whole, _, _cut = (
        read_bytes(path, MAX_TEXT_BYTES).decode("utf-8", "replace").rpartition("\n")
    )  # a kill cuts the last line
    lines = whole.splitlines()
    try:
        first = parse_json(lines[0], "its plan")
        if first.get("journal_version") != JOURNAL_VERSION:
            raise InputError(
                f"{path}: a journal of version {first.get('journal_version')!r}, expected {JOURNAL_VERSION}"
            )
        measured = Measured(Plan.from_dict(first["plan"]))
        for text in lines[1:]:
            _apply(measured, parse_json(text, "a line"))
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: a damaged journal ({error})") from error
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: a damaged journal ({error})") from error
    if not any(samples.seconds for group in measured.samples.values() for samples in group.values()):
        raise InputError(f"{path}: the run was ended before its first round; run it again")
    measured.notes.append("the run was killed; this is what it had measured until then, without memory and accuracy")
    return summarise(measured)


def _apply(measured: Measured, line: dict[str, Any]) -> None:
    if "failure" in line:
        measured.failures.append(Failure(**line["failure"]))
    elif "opened" in line:
        label, threads = line.pop("opened"), line.pop("threads")
        measured.opened[label, threads] = Opened(**line)
    else:
        measured.add(Group(line["batch"], line["threads"]), Round(**line["round"]))
