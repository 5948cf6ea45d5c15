"""What a benchmark answers, as data and as versioned JSON with its raw samples, so that it can be judged again.

`summarise` turns a record into it: medians, percentiles where allowed, ratios with intervals, doubts. The format is described in
docs/reference/schemas.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rarn_edge.bench.extras.accuracy import Accuracy
from rarn_edge.bench.extras.audit import AuditFacts
from rarn_edge.bench.extras.memory import Memory, MemoryResult
from rarn_edge.bench.extras.profile import Profile
from rarn_edge.bench.extras.scenarios import MultiStream, Server
from rarn_edge.bench.record import Failure, Group, Round, RunRecord, is_journal, read_journal
from rarn_edge.boundary.documents import parse_json
from rarn_edge.boundary.paths import exists, read_text, require_file
from rarn_edge.contract.targets import Target, mismatch
from rarn_edge.decode import decode, encode, key
from rarn_edge.errors import InputError
from rarn_edge.host.environment import Environment
from rarn_edge.host.noise import unsteady
from rarn_edge.runtime.providers import CPU
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.ratio import MIN_SAMPLES, median_s, percentile_s, ratio_over_launches

SCHEMA_VERSION = 4

NOT_MEASURED = "not asked for"
"""`peak_rss_missing` when the caller wanted no memory figures: nothing to warn about."""

_WAITED = 1.15  # a latency so many times the processor time is not the model's own


@dataclass(frozen=True)
class BenchRow:
    """One model at one batch size and number of threads. A fact that is not known is None, never zero."""

    label: str
    provider: str
    batch: int
    threads: int
    samples_s: tuple[float, ...]  # seconds per call
    sample_rounds: tuple[int, ...]  # the round of each; rows of one batch and thread count share their rounds
    sample_launches: tuple[int, ...] = field(metadata=key("sample_starts"))  # of each, which launch of the processes
    latency_median_s: float  # of one call, that is of `batch` images
    latency_p90_s: float | None  # None below 64 samples
    latency_p95_s: float | None  # below 130
    latency_p99_s: float | None  # below 662
    throughput_images_per_s: float
    latency_ratio: Interval | None  # to the reference's at the same batch size and threads; None: the reference failed
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

    def samples_by_launch(self) -> list[list[float]]:
        """The samples of each launch of its process."""
        found: dict[int, list[float]] = {}
        for launch, seconds in zip(self.sample_launches, self.samples_s, strict=True):
            found.setdefault(launch, []).append(seconds)
        return list(found.values())


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
    workload_s: tuple[float, ...] = field(
        default=(), metadata=key("yardstick_s")
    )  # the reference workload, timed in every round
    overhead_s: float | None = None  # what each sample contains of the harness
    title: str = "benchmark"
    profiles: tuple[Profile, ...] = ()
    servers: tuple[Server, ...] = ()
    multi_streams: tuple[MultiStream, ...] = ()
    audits: tuple[AuditFacts, ...] = ()  # of INT8 files, when asked for

    @property
    def launches(self) -> int:
        """How often the processes were launched."""
        return max((len(set(row.sample_launches)) for row in self.rows), default=0)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with the schema version."""
        return {"schema_version": SCHEMA_VERSION, "kind": "bench", **encode(self)}

    @classmethod
    def from_dict(cls, data: object) -> "BenchReport":
        """Read what `to_dict` wrote.

        Raises:
            InputError: another schema version, or keys missing, unknown or of a wrong type.
        """
        if not isinstance(data, dict) or data.get("kind") != "bench":
            raise InputError("not a benchmark result; make one with: rarn-edge bench MODEL --json")
        version = data.get("schema_version")
        if version != SCHEMA_VERSION:
            raise InputError(
                f"benchmark result of schema {version!r}, expected {SCHEMA_VERSION}; update rarn-edge, or run the benchmark again"
            )
        try:
            return decode(cls, {name: value for name, value in data.items() if name not in ("schema_version", "kind")})
        except InputError as error:
            raise InputError(f"damaged benchmark result: {error}") from error


def load_report(path: Path) -> BenchReport:
    """Read a result file, or what a killed run left in its journal.

    Raises:
        InputError: no such file, not a benchmark result, or one of an unknown schema.
    """
    left = path.with_name(f"{path.name}.partial")
    require_file(path, f"a run that was killed left {left}" if not exists(path) and exists(left) else "")
    if is_journal(path):
        return summarise(read_journal(path))
    try:
        data = parse_json(read_text(path), str(path))
        found = data.get("bench", data) if isinstance(data, dict) else data  # `run` keeps it in its own report
        return BenchReport.from_dict(found)
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def summarise(record: RunRecord) -> BenchReport:
    """Judge a run, whole or cut short."""
    plan = record.plan
    workload = tuple(each.workload_s for each in record.rounds)
    return BenchReport(
        environment=plan.environment,
        provider=plan.provider,
        reference_label=plan.reference_label,
        seed=plan.seed,
        rows=tuple(_row(record, case.label, group) for case, group in record.timed()),
        failures=tuple(record.failures),
        warnings=(*unsteady(record.load_at_start, workload), *record.notes),
        workload_s=workload,
        overhead_s=record.overhead_s,
        title=plan.title,
        profiles=tuple(record.profiles),
        servers=tuple(record.servers),
        multi_streams=tuple(record.multi_streams),
        audits=tuple(record.audits),
    )


def _row(record: RunRecord, label: str, group: Group) -> BenchRow:
    plan = record.plan
    case, contract = plan.case(label), plan.case(label).contract
    rounds, calls = record.rounds_of(group), record.calls(label, group)
    samples_s = tuple(call.wall_s for call in calls.values())
    latency_s = median_s(samples_s)
    found = record.memory.get((label, group), MemoryResult(None, NOT_MEASURED))
    opened = record.opened.get((label, group.threads))
    return BenchRow(
        label=label,
        provider=plan.provider,
        batch=group.batch,
        threads=group.threads,
        samples_s=samples_s,
        sample_rounds=tuple(calls),
        sample_launches=tuple(rounds[number].launch for number in calls),
        latency_median_s=latency_s,
        latency_p90_s=percentile_s(samples_s, 90),
        latency_p95_s=percentile_s(samples_s, 95),
        latency_p99_s=percentile_s(samples_s, 99),
        throughput_images_per_s=group.batch / latency_s,
        latency_ratio=_ratio(rounds, label, plan.reference_label, plan.seed),
        peak_rss_bytes=None if found.memory is None else found.memory.peak_bytes,
        peak_rss_missing=found.reason,
        memory=found.memory,
        file_size_bytes=case.file_size_bytes,
        model=None if contract is None else contract.spec.name,
        parameters=None if contract is None else contract.parameters,
        multiply_adds=None if contract is None else contract.multiply_adds,
        precision=None if contract is None else contract.precision,
        target=None if contract is None or contract.target is None else contract.target.value,
        session_s=None if opened is None else opened.session_s,
        nodes=None if opened is None else opened.nodes or None,
        nodes_elsewhere=None if opened is None else opened.nodes_elsewhere,
        cpu_median_s=_median(call.cpu_s for call in calls.values()),
        device_median_s=_median(call.device_s for call in calls.values()),
        accuracy=record.accuracy.get(label),
        warnings=row_warnings(record, label, group),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median_s(known) if known else None


def _ratio(rounds: Sequence[Round], label: str, reference: str, seed: int) -> Interval | None:
    """Over the rounds that both took part in, launch by launch; None: there is none."""
    pairs: dict[int, tuple[list[float], list[float]]] = {}
    for each in rounds:
        if label in each.calls and reference in each.calls:
            ours, theirs = pairs.setdefault(each.launch, ([], []))
            ours.append(each.calls[label].wall_s)
            theirs.append(each.calls[reference].wall_s)
    return ratio_over_launches(list(pairs.values()), seed) if pairs else None


def row_warnings(record: RunRecord, label: str, group: Group) -> tuple[str, ...]:
    """What a reader must know before believing the row."""
    plan, contract = record.plan, record.plan.case(label).contract
    cores, opened = plan.environment.cores_available, record.opened.get((label, group.threads))
    calls = record.calls(label, group).values()
    found: list[str | None] = []
    if plan.provider == CPU and contract is not None:
        runs_on = plan.environment.int8_target  # of the machine that measured, which need not be this one
        found.append(mismatch(contract.target, Target(runs_on)) if runs_on in list(Target) else None)
    if contract is not None:
        found.append(contract.made_elsewhere)
    quantized = opened is not None and opened.quantized
    if plan.provider == "cuda" and (quantized or (contract is not None and contract.precision == "int8")):
        found.append("CUDA has no INT8 convolutions: use float16 or tensorrt")
    if opened is not None and opened.nodes_elsewhere:
        found.append(f"{opened.nodes_elsewhere} of {opened.nodes} nodes not on {plan.provider}: drop --allow-fallback")
    if record.unstable[label, group] > len({each.launch for each in record.rounds_of(group)}) / 2:
        found.append("times still changed after the warm-up: take more rounds")
    cpu_s = _median(call.cpu_s for call in calls)
    # a call on one thread that takes longer than its processor time was kept waiting by other programs
    alone = group.threads == 1 and plan.provider == CPU
    if alone and cpu_s is not None and median_s([call.wall_s for call in calls]) > _WAITED * cpu_s:
        found.append("calls waited for a core: trust CPU ms, or close programs")
    found += few_samples(len(calls))
    if group.threads > cores:
        found.append(f"{group.threads} threads on {cores} cores wait for each other: --threads {cores}")
    return tuple(text for text in found if text is not None)


def few_samples(samples: int) -> Sequence[str]:
    """Advice when even p90 is withheld."""
    if samples >= MIN_SAMPLES[90]:
        return []
    return [f"{samples} rounds, p90 needs {MIN_SAMPLES[90]}: raise --rounds or --budget"]
