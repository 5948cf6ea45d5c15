"""What a benchmark answers, as data and as versioned JSON with its raw samples, so that it can be judged again.

The format is described in docs/benchmarks.md.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rarn_edge.bench.audited import AuditFacts
from rarn_edge.bench.environment import Environment
from rarn_edge.bench.memory import Memory
from rarn_edge.bench.profile import Peaks, Profile, Share
from rarn_edge.bench.scenarios import MultiStream, Server
from rarn_edge.bench.stats import Ratio
from rarn_edge.boundary.documents import parse_json
from rarn_edge.boundary.paths import exists, read_text, require_file
from rarn_edge.errors import InputError

SCHEMA_VERSION = 4
"""1: the first. 2: rounds of samples, p95 and p99, memory in parts, failures, warnings, profiles, scenarios. 3: audits, weights
apart in memory, each node's distance to the limits. 4: the start of the processes each sample is of."""

NOT_MEASURED = "not asked for"
"""`peak_rss_missing` when the caller wanted no memory figures: nothing to warn about."""


@dataclass(frozen=True)
class Accuracy:
    """Measured on labelled faces by the same file that was timed."""

    value: float
    low: float  # 95 %
    high: float
    images: int
    faces: str  # which


@dataclass(frozen=True)
class BenchRow:
    """One model at one batch size and number of threads. A fact that is not known is None, never zero."""

    label: str
    provider: str
    batch: int
    threads: int
    samples_s: tuple[float, ...]  # seconds per call
    sample_rounds: tuple[int, ...]  # the round of each; rows of one batch and thread count share their rounds
    sample_starts: tuple[int, ...]  # of each, which start of the processes
    latency_median_s: float  # of one call, that is of `batch` images
    latency_p90_s: float | None  # None below 64 samples
    latency_p95_s: float | None  # below 130
    latency_p99_s: float | None  # below 662
    throughput_images_per_s: float
    latency_ratio: Ratio | None  # to the reference at the same batch size and threads; None: the reference failed
    peak_rss_bytes: int | None  # above an import-only process
    peak_rss_missing: str | None  # why peak_rss_bytes is None
    memory: Memory | None
    file_size_bytes: int
    model: str | None
    parameters: int | None
    multiply_adds: int | None  # one image
    precision: str | None
    target: str | None
    session_s: float | None  # opening the file: optimising the graph, on TensorRT building the engine
    nodes: int | None  # of the graph as the providers got it
    nodes_elsewhere: int | None  # of them, on another provider than the one asked for; above 0 is a mixed run
    cpu_median_s: float | None  # processor time of one call, all threads; well below the latency: the call had to wait
    device_median_s: float | None  # on a GPU: without the copies from and to the host
    accuracy: Accuracy | None
    warnings: tuple[str, ...]

    def samples_by_start(self) -> list[list[float]]:
        """The samples of each start of its process."""
        found: dict[int, list[float]] = {}
        for start, seconds in zip(self.sample_starts, self.samples_s, strict=True):
            found.setdefault(start, []).append(seconds)
        return list(found.values())


@dataclass(frozen=True)
class Failure:
    """A model that could not be measured; the others were."""

    label: str
    batch: int | None  # None: at any
    threads: int | None
    stage: str
    reason: str


@dataclass(frozen=True)
class BenchReport:
    """One run: where, against what, and the rows, grouped by threads and batch size in the order asked for."""

    environment: Environment
    provider: str
    reference_label: str
    seed: int
    rows: tuple[BenchRow, ...]
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()  # about the machine during the run
    yardstick_s: tuple[float, ...] = ()  # a fixed piece of work, timed in every round
    overhead_s: float | None = None  # what each sample contains of the harness
    title: str = "benchmark"
    profiles: tuple[Profile, ...] = ()
    servers: tuple[Server, ...] = ()
    multi_streams: tuple[MultiStream, ...] = ()
    audits: tuple[AuditFacts, ...] = ()  # of INT8 files, when asked for

    @property
    def starts(self) -> int:
        """How often the processes were started anew."""
        return max((len(set(row.sample_starts)) for row in self.rows), default=0)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with the schema version."""
        return {"schema_version": SCHEMA_VERSION, "kind": "bench", **asdict(self)}

    @classmethod
    def from_dict(cls, data: object) -> "BenchReport":
        """Read what `to_dict` wrote, in this version or an earlier one.

        Raises:
            InputError: another schema version, or keys missing or unknown.
        """
        if not isinstance(data, dict) or data.get("kind") != "bench":
            raise InputError("not a benchmark result; make one with: rarn-edge bench MODEL --json")
        version = data.get("schema_version")
        if version not in range(1, SCHEMA_VERSION + 1):
            raise InputError(
                f"benchmark result of schema {version!r}, expected 1 to {SCHEMA_VERSION}; "
                "update rarn-edge, or run the benchmark again"
            )
        try:
            found = _from_version_1(data) if version == 1 else data
            return _report(found if version == SCHEMA_VERSION else _from_version_3(found))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"damaged benchmark result: {error}") from error


def load_report(path: Path) -> BenchReport:
    """Read a result file, or what a killed run left in its journal.

    Raises:
        InputError: no such file, not a benchmark result, or one of an unknown schema.
    """
    from rarn_edge.bench.journal import is_journal, read_journal

    left = path.with_name(f"{path.name}.partial")
    require_file(path, f"a run that was killed left {left}" if not exists(path) and exists(left) else "")
    if is_journal(path):
        return read_journal(path)
    try:
        data = parse_json(read_text(path), str(path))
        found = data.get("bench", data) if isinstance(data, dict) else data  # `run` keeps it in its own report
        return BenchReport.from_dict(found)
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _report(data: Mapping[str, Any]) -> BenchReport:
    fields = {key: value for key, value in data.items() if key not in ("schema_version", "kind")}
    fields["environment"] = Environment(**fields["environment"])
    fields["rows"] = tuple(_row(row) for row in fields["rows"])
    fields["failures"] = tuple(Failure(**each) for each in fields["failures"])
    fields["warnings"] = tuple(fields["warnings"])
    fields["yardstick_s"] = tuple(fields["yardstick_s"])
    fields["profiles"] = tuple(_profile(each) for each in fields["profiles"])
    fields["servers"] = tuple(Server.from_dict(each) for each in fields["servers"])
    fields["multi_streams"] = tuple(MultiStream(**each) for each in fields["multi_streams"])
    fields["audits"] = tuple(AuditFacts.from_dict(each) for each in fields.get("audits", ()))
    return BenchReport(**fields)


def _row(data: Mapping[str, Any]) -> BenchRow:
    fields = dict(data)
    for key in ("samples_s", "sample_rounds", "sample_starts", "warnings"):
        fields[key] = tuple(fields[key])
    for key, kind in (("latency_ratio", Ratio), ("memory", Memory), ("accuracy", Accuracy)):
        fields[key] = None if fields[key] is None else kind(**fields[key])
    return BenchRow(**fields)


def _profile(data: Mapping[str, Any]) -> Profile:
    fields = dict(data)
    fields["operators"] = tuple(Share(**each) for each in fields["operators"])
    fields["slowest_nodes"] = tuple(Share(**each) for each in fields["slowest_nodes"])
    fields["peaks"] = Peaks(**fields["peaks"])
    return Profile(**fields)


def _from_version_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 numbered its rounds by position, kept the threads in the environment, and knew nothing of the rest."""
    environment = {key: value for key, value in data["environment"].items() if key != "threads"}
    new = dict.fromkeys(
        (
            "latency_p95_s",
            "latency_p99_s",
            "memory",
            "session_s",
            "nodes",
            "nodes_elsewhere",
            "cpu_median_s",
            "device_median_s",
            "accuracy",
        )
    )
    rows = [{**row, **new, "sample_rounds": range(len(row["samples_s"]))} for row in data["rows"]]
    empty = dict.fromkeys(("failures", "warnings", "yardstick_s", "profiles", "servers", "multi_streams"), ())
    return {**data, "environment": environment, "rows": rows, **empty}


def _from_version_3(data: Mapping[str, Any]) -> dict[str, Any]:
    """Until schema 3 there was one start."""
    return {**data, "rows": [{**row, "sample_starts": [0] * len(row["samples_s"])} for row in data["rows"]]}
