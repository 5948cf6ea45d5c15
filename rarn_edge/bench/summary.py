"""From what was measured to what may be said: rows with medians, percentiles where allowed, ratios with intervals, doubts."""

from collections.abc import Sequence

from rarn_edge.bench.disturbance import judge_yardstick
from rarn_edge.bench.measured import Group, Measured
from rarn_edge.bench.memory import MemoryResult
from rarn_edge.bench.result import NOT_MEASURED, BenchReport, BenchRow
from rarn_edge.bench.rounds import Samples
from rarn_edge.bench.stats import MIN_SAMPLES, Ratio, median_s, percentile_s, ratio_over_starts
from rarn_edge.contract.targets import detect_host
from rarn_edge.runtime.providers import CPU

_WAITED = 1.15  # a latency so many times the processor time is not the model's own


def summarise(measured: Measured) -> BenchReport:
    """Judge a run, whole or cut short."""
    plan = measured.plan
    rows = []
    for group in plan.groups:
        samples = measured.samples.get(group, {})
        reference = samples.get(plan.reference_label)
        for case in plan.cases:
            ours = samples.get(case.label)
            if ours is not None and ours.seconds:
                rows.append(_row(measured, group, case.label, ours, reference))
    warnings = [*measured.notes, *judge_yardstick(measured.yardstick_s)]
    return BenchReport(
        environment=plan.environment,
        provider=plan.provider,
        reference_label=plan.reference_label,
        seed=plan.seed,
        rows=tuple(rows),
        failures=tuple(measured.failures),
        warnings=tuple(warnings),
        yardstick_s=tuple(measured.yardstick_s),
        overhead_s=measured.overhead_s,
        title=plan.title,
        profiles=tuple(measured.profiles),
        servers=tuple(measured.servers),
        multi_streams=tuple(measured.multi_streams),
        audits=tuple(measured.audits),
    )


def _row(measured: Measured, group: Group, label: str, samples: Samples, reference: Samples | None) -> BenchRow:
    plan = measured.plan
    case = plan.case(label)
    contract = case.contract
    latency_s = median_s(samples.seconds)
    found = measured.memory.get((label, group), MemoryResult(None, NOT_MEASURED))
    opened = measured.opened.get((label, group.threads))
    device_s = measured.device.get((label, group))
    cpu_s = measured.cpu.get((label, group))
    return BenchRow(
        label=label,
        provider=plan.provider,
        batch=group.batch,
        threads=group.threads,
        samples_s=tuple(samples.seconds),
        sample_rounds=tuple(samples.rounds),
        sample_starts=tuple(measured.starts[group][number] for number in samples.rounds),
        latency_median_s=latency_s,
        latency_p90_s=percentile_s(samples.seconds, 90),
        latency_p95_s=percentile_s(samples.seconds, 95),
        latency_p99_s=percentile_s(samples.seconds, 99),
        throughput_images_per_s=group.batch / latency_s,
        latency_ratio=_ratio(samples, reference, measured.starts[group], plan.seed),
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
        cpu_median_s=None if not cpu_s else median_s(cpu_s),
        device_median_s=None if not device_s else median_s(device_s),
        accuracy=measured.accuracy.get(label),
        warnings=row_warnings(measured, group, label, len(samples.seconds)),
    )


def _ratio(samples: Samples, reference: Samples | None, starts: Sequence[int], seed: int) -> Ratio | None:
    """`starts` holds the start of each round."""
    if reference is None:
        return None
    pairs: dict[int, tuple[list[float], list[float]]] = {}
    for number, ours_s, theirs_s in samples.paired(reference):
        ours, theirs = pairs.setdefault(starts[number], ([], []))
        ours.append(ours_s)
        theirs.append(theirs_s)
    return ratio_over_starts(list(pairs.values()), seed) if pairs else None


def row_warnings(measured: Measured, group: Group, label: str, samples: int) -> tuple[str, ...]:
    """What a reader must know before believing the row."""
    plan = measured.plan
    case = plan.case(label)
    contract, cores = case.contract, plan.environment.cores_available
    opened = measured.opened.get((label, group.threads))
    found: list[str | None] = []
    if plan.provider == CPU and contract is not None:
        found.append(detect_host().mismatch(contract.target))
    quantized = opened is not None and opened.quantized
    if plan.provider == "cuda" and (quantized or (contract is not None and contract.precision == "int8")):
        found.append("an INT8 (QDQ) file, and the CUDA provider has no INT8 convolution; use float16 or tensorrt")
    if opened is not None and opened.nodes_elsewhere:
        found.append(f"mixed run: {opened.nodes_elsewhere} of {opened.nodes} nodes were not on '{plan.provider}'")
    if measured.unstable[label, group] > len(set(measured.starts.get(group, ()))) / 2:
        found.append("its time per call was still changing after the warm-up; take more rounds or a quieter machine")
    found.append(_waiting(measured, group, label))
    found += few_samples(samples)
    if group.threads > cores:
        found.append(
            f"{group.threads} threads on {cores} available cores: they wait for each other; use --threads {cores}"
        )
    return tuple(text for text in found if text is not None)


def _waiting(measured: Measured, group: Group, label: str) -> str | None:
    """A call on one thread that takes longer than its processor time was kept waiting by other programs."""
    cpu_s = measured.cpu.get((label, group))
    if group.threads != 1 or measured.plan.provider != CPU or not cpu_s:
        return None
    latency_s = median_s(measured.samples[group][label].seconds)
    if latency_s <= _WAITED * median_s(cpu_s):
        return None
    return (
        "other programs kept its calls waiting for a processor, long calls more than short ones: its ratio is of this busy "
        "machine; the processor time (CPU ms) is nearer to a quiet one"
    )


def few_samples(samples: int) -> Sequence[str]:
    """Advice when even p90 is withheld."""
    if samples >= MIN_SAMPLES[90]:
        return []
    return [f"{samples} timed rounds, p90 needs {MIN_SAMPLES[90]}: raise --rounds or --budget"]
