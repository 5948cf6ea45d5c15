"""What a run measures, before anything is concluded from it: the plan and every round, kept once and saved as it comes in.

The journal holds one JSON object per line: the plan, then what was measured, in the order it was. A killed run loses one round,
not the night: `read_journal` gives back the record.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from typing import Any, TextIO

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.config import BenchConfig, Progress, Stage
from rarn_edge.bench.extras.accuracy import Accuracy
from rarn_edge.bench.extras.audit import AuditFacts
from rarn_edge.bench.extras.memory import MemoryResult
from rarn_edge.bench.extras.profile import Profile
from rarn_edge.bench.extras.scenarios import MultiStream, Server
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.bench.worker.timing import CallTime
from rarn_edge.boundary.documents import parse_json, to_json
from rarn_edge.boundary.lock import lock_handle
from rarn_edge.boundary.paths import MAX_TEXT_BYTES, read_bytes, why
from rarn_edge.decode import decode, encode
from rarn_edge.errors import InputError
from rarn_edge.files import check_output
from rarn_edge.host.environment import Environment

JOURNAL_VERSION = 3


@dataclass(frozen=True)
class Group:
    """Rows that are compared with each other: the same batch size and number of threads."""

    batch: int
    threads: int


@dataclass(frozen=True)
class Opened:
    """What a worker said when it had opened its model."""

    session_s: float  # on TensorRT with building the engine
    nodes: int  # of the graph as the providers got it; 0: this ONNX Runtime cannot tell
    nodes_elsewhere: int  # of them, on another provider than the one asked for
    quantized: bool


@dataclass(frozen=True)
class Plan:
    """What is going to be measured, and where."""

    environment: Environment
    provider: str
    reference_label: str
    seed: int
    groups: tuple[Group, ...]
    cases: tuple[BenchCase, ...]
    title: str = "benchmark"

    def case(self, label: str) -> BenchCase:
        """The case of that label, which is unique."""
        return next(case for case in self.cases if case.label == label)


@dataclass(frozen=True)
class Round:
    """One round of a group."""

    group: Group
    launch: int  # of the processes, counted from 0
    calls: dict[str, CallTime]  # of each model that took part
    workload_s: float  # of the reference workload, see `rarn_edge.host.noise`


@dataclass(frozen=True)
class Failure:
    """A model that could not be measured; the others were."""

    label: str
    batch: int | None  # None: at any
    threads: int | None
    stage: str
    reason: str


@dataclass
class RunRecord:
    """Everything that came in so far; `rounds` is the only store of samples."""

    plan: Plan
    rounds: list[Round] = field(default_factory=list)  # in the order they were taken
    opened: dict[tuple[str, int], Opened] = field(default_factory=dict)  # by label and threads
    unstable: Counter[tuple[str, Group]] = field(default_factory=Counter)  # launches still changing after the warm-up
    failures: list[Failure] = field(default_factory=list)
    memory: dict[tuple[str, Group], MemoryResult] = field(default_factory=dict)
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    overhead_s: float | None = None
    load_at_start: float | None = None  # processes that wanted a core
    notes: list[str] = field(default_factory=list)  # warnings about the whole run
    profiles: list[Profile] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    multi_streams: list[MultiStream] = field(default_factory=list)
    audits: list[AuditFacts] = field(default_factory=list)

    def rounds_of(self, group: Group) -> list[Round]:
        """Of one batch size and thread count."""
        return [each for each in self.rounds if each.group == group]

    def calls(self, label: str, group: Group) -> dict[int, CallTime]:
        """Of one model, by the number of the round in its group."""
        return {n: each.calls[label] for n, each in enumerate(self.rounds_of(group)) if label in each.calls}

    def timed(self) -> list[tuple[BenchCase, Group]]:
        """What was timed at least once."""
        found = {(label, each.group) for each in self.rounds for label in each.calls}
        return [(case, g) for g in self.plan.groups for case in self.plan.cases if (case.label, g) in found]


def check_journal(path: Path) -> None:
    """Before any work. Raises InputError if the file holds the rounds of a run that was stopped, or cannot be read."""
    if path.exists():
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                _check_rounds(path, file)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({why(error)})") from error


def _check_rounds(path: Path, lines: Iterable[str]) -> None:
    rounds = sum(line.startswith('{"round"') for line in lines)
    if rounds:
        raise InputError(
            f"{path}: holds {rounds} rounds of a run that was stopped, which `rarn-edge compare` reads; move it away"
            " or remove it, or name another output"
        )


class Journal:
    """The open file; every line is handed to the operating system at once. Without a path nothing is written.

    Raises:
        InputError: another run writes it, it holds the rounds of one that was stopped, or it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: TextIO | None = None
        if path is not None:
            check_output(path)
            self._file = path.open("a+", encoding="utf-8", errors="replace")  # not "w": it may be another run's
            self._file.seek(0)  # on Windows a lock is of the byte at hand
            try:
                if not lock_handle(self._file.fileno()):
                    raise InputError(f"{path}: another run is writing this; wait for it, or name another output")
                _check_rounds(path, self._file)
            except InputError:
                self._file.close()
                raise
            self._file.truncate(0)

    def write(self, plan: Plan | None = None, **found: Any) -> None:
        """The plan as the first line, or one thing that was found."""
        if self._file is None:
            return
        head = (
            {} if plan is None else {"kind": "bench-journal", "journal_version": JOURNAL_VERSION, "plan": encode(plan)}
        )
        values = {name: encode(value) if is_dataclass(value) else value for name, value in found.items()}
        self._file.write(to_json({**head, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


Job = tuple[str, int | None, Callable[[], None]]
"""Something to measure of one model: its label, the batch size (None: at any), and the work, which may raise `WorkerError`."""


class Run:
    """One benchmark while it runs: what is asked for, what came in, and who hears of it."""

    def __init__(
        self, config: BenchConfig, record: RunRecord, log: Journal, on_progress: Callable[[Progress], None]
    ) -> None:
        self.config, self.record, self.log, self.on_progress = config, record, log, on_progress
        self.first_error: WorkerError | None = None

    def each(self, stage: Stage, jobs: Sequence[Job], threads: int | None = None) -> None:
        """Do the jobs one after the other; one that fails is a failure in the report, and the others are done."""
        for done, (label, batch, work) in enumerate(jobs):
            self.on_progress(Progress(stage, label, done, len(jobs)))
            try:
                work()
            except WorkerError as failed:
                self.fail(label, batch, threads, stage, failed)

    def fail(self, label: str, batch: int | None, threads: int | None, stage: str, error: WorkerError) -> None:
        failure = Failure(label, batch, threads, stage, str(error))
        self.record.failures.append(failure)
        self.log.write(failure=failure)
        self.first_error = self.first_error or error

    def open(self, worker: Worker, case: BenchCase, threads: int, **more: Any) -> Opened:
        """Let a worker open the case; `more` is for `worker.process.open_model`.

        Raises:
            WorkerError: it cannot be opened.
        """
        provider, allow_fallback = self.config.provider, self.config.allow_fallback
        asked = {"path": str(case.path), "provider": provider, "threads": threads, "allow_fallback": allow_fallback}
        return decode(Opened, worker.ask("open", **asked, **more))

    def prepare(self, worker: Worker, case: BenchCase, batch: int, limit_s: float) -> bool:
        """Input made and warmed up for at most about `limit_s` seconds; False: its time was still changing.

        Raises:
            WorkerError: the model does not run, or took its process with it.
        """
        return bool(worker.ask("prepare", **case.input_of(batch), seed=self.config.seed, limit_s=limit_s)["stable"])


def is_journal(path: Path) -> bool:
    """Whether the file begins as a journal does."""
    try:
        with path.open(encoding="utf-8") as file:
            return '"bench-journal"' in file.readline(200)
    except (OSError, UnicodeDecodeError):
        return False


def read_journal(path: Path) -> RunRecord:
    """What a killed run had measured; memory and accuracy, which come last, are missing.

    Raises:
        InputError: not a journal of this version, or nothing was measured yet.
    """
    whole, _, _cut = (
        read_bytes(path, MAX_TEXT_BYTES).decode("utf-8", "replace").rpartition("\n")
    )  # a kill cuts the last line
    try:
        first, *lines = (parse_json(line, "a line") for line in whole.splitlines())
        version = first.get("journal_version")
        if version == JOURNAL_VERSION:
            record = RunRecord(decode(Plan, first["plan"]))
            for line in lines:
                _apply(record, line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, InputError) as error:
        raise InputError(f"{path}: a damaged journal ({error})") from error
    if version != JOURNAL_VERSION:
        raise InputError(f"{path}: a journal of version {version!r}, expected {JOURNAL_VERSION}")
    if not record.timed():
        raise InputError(f"{path}: the run was ended before its first round; run it again")
    record.notes.append("the run was killed: these are its rounds until then; run it again for memory and accuracy")
    return record


def _apply(record: RunRecord, line: dict[str, Any]) -> None:
    if "failure" in line:
        record.failures.append(decode(Failure, line["failure"]))
    elif "opened" in line:
        record.opened[line["label"], line["threads"]] = decode(Opened, line["opened"])
    else:
        record.rounds.append(decode(Round, line["round"]))
