"""The benchmark itself: cases x batch sizes on one provider, timed interleaved, each beside a named reference."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import onnxruntime as ort

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.environment import detect_environment
from rarn_edge.bench.memory import MemoryResult, ProbeRequest, measure_baseline, measure_memory
from rarn_edge.bench.result import NOT_MEASURED, BenchReport, BenchRow
from rarn_edge.bench.stats import MIN_SAMPLES, latency_ratio, median_s, percentile_s
from rarn_edge.bench.timing import Call, time_interleaved, warm_up
from rarn_edge.errors import InputError, first_line
from rarn_edge.providers import CPU, assigned_operators, check_provider, open_session
from rarn_edge.targets import detect_host
from rarn_edge.threads import default_threads

# A session's idle threads spin for a while in case more work comes. Between interleaved sessions that work is another
# session's, and the spinning would take its cores.
_SESSION_CONFIG = {"session.force_spinning_stop": "1"}


@dataclass(frozen=True)
class Progress:
    """How far a benchmark is, for a progress bar."""

    stage: Literal["memory", "warm-up", "timing"]
    label: str  # the model, or the batch size while timing
    done: int
    total: int


def benchmark(
    cases: Sequence[BenchCase],
    provider: str = CPU,
    batches: Sequence[int] = (1,),
    threads: int | None = None,
    rounds: int = 100,
    budget_s: float | None = None,
    reference_label: str | None = None,
    memory: bool = True,
    seed: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> BenchReport:
    """Measure every case at every batch size on one provider.

    Args:
        cases: From `load_cases`; their labels are unique.
        provider: A key of `rarn_edge.providers.PROVIDERS`.
        batches: Images per call.
        threads: Threads within an operator, default `default_threads()`.
        rounds: Timed calls of each case per batch size, at most.
        budget_s: About how long warm-up and timing may take, in equal shares per batch size; three rounds run anyway.
        reference_label: The case that ratios refer to, default the first.
        memory: Also measure peak memory, one fresh process per case and batch size.
        seed: Of the inputs, the order within rounds and the bootstrap.
        on_progress: Called between timed calls, never within one.

    Raises:
        InputError: an impossible option, a case that cannot be read or run, or a batch size a model does not take.
        ProviderError: the provider cannot be had for every case.
    """
    check_provider(provider)
    reference = _check_request(cases, batches, threads, rounds, budget_s, reference_label)
    count = default_threads() if threads is None else threads
    report_progress = on_progress or (lambda _: None)
    sessions = [open_session(case.path, provider, count, config=_SESSION_CONFIG) for case in cases]
    pairs = [(case, batch) for batch in batches for case in cases]
    peaks = _measure_memory(pairs, provider, count, report_progress) if memory else {}
    skipped = MemoryResult(None, NOT_MEASURED)
    end_s = None if budget_s is None else time.perf_counter() + budget_s
    rows: list[BenchRow] = []
    for position, batch in enumerate(batches):
        now_s = time.perf_counter()
        share_s = None if end_s is None else max(0.0, end_s - now_s) / (len(batches) - position)
        samples = _time_batch(cases, sessions, batch, rounds, share_s, seed, report_progress)
        reference_s = samples[reference]
        for case, session, samples_s in zip(cases, sessions, samples, strict=True):
            peak = peaks.get((case.label, batch), skipped)
            warnings = _warnings(case, session, provider, count, len(samples_s))
            rows.append(_row(case, provider, batch, count, samples_s, reference_s, peak, warnings, seed))
    return BenchReport(detect_environment(count), provider, cases[reference].label, seed, tuple(rows))


def _check_request(
    cases: Sequence[BenchCase],
    batches: Sequence[int],
    threads: int | None,
    rounds: int,
    budget_s: float | None,
    reference_label: str | None,
) -> int:
    """The index of the reference; every wrong option is found here, before any work."""
    if not cases:
        raise InputError("nothing to benchmark: name at least one model or ONNX file")
    if not batches:
        raise InputError("no batch size given; for example --batch 1,8")
    if len(set(batches)) != len(batches):
        raise InputError(f"a batch size is given twice: {', '.join(map(str, batches))}")
    if threads is not None and threads < 1:
        raise InputError(f"threads is at least 1, found {threads}")
    if rounds < 1:
        raise InputError(f"rounds is at least 1, found {rounds}")
    if budget_s is not None and not budget_s > 0:
        raise InputError(f"the time budget is more than 0 s, found {budget_s:g}")
    for batch in batches:
        for case in cases:
            case.shape(batch)
    labels = [case.label for case in cases]
    if len(set(labels)) != len(labels):
        raise InputError(f"two models have the same label: {', '.join(labels)}; give each its own")
    if reference_label is None:
        return 0
    if reference_label not in labels:
        raise InputError(f"no model '{reference_label}' to compare with; one of: {', '.join(labels)}")
    return labels.index(reference_label)


def _measure_memory(
    pairs: Sequence[tuple[BenchCase, int]], provider: str, threads: int, on_progress: Callable[[Progress], None]
) -> dict[tuple[str, int], MemoryResult]:
    """Peak memory above the import baseline by (label, batch)."""
    baseline = measure_baseline()
    results: dict[tuple[str, int], MemoryResult] = {}
    for done, (case, batch) in enumerate(pairs):
        on_progress(Progress("memory", case.label, done, len(pairs)))
        shape = case.shape(batch)
        request = ProbeRequest(str(case.path), provider, threads, case.input_name, case.input_dtype, shape)
        if baseline.peak_rss_bytes is None:
            results[case.label, batch] = MemoryResult(None, f"no baseline: {baseline.reason}")
        else:
            results[case.label, batch] = measure_memory(request, baseline.peak_rss_bytes)
    on_progress(Progress("memory", "", len(pairs), len(pairs)))
    return results


def _time_batch(
    cases: Sequence[BenchCase],
    sessions: Sequence[ort.InferenceSession],
    batch: int,
    rounds: int,
    budget_s: float | None,
    seed: int,
    on_progress: Callable[[Progress], None],
) -> list[list[float]]:
    """Seconds per call, `[len(cases)][rounds]`, after warming each up at this batch size."""
    deadline_s = None if budget_s is None else time.perf_counter() + budget_s
    warm_up_s = 1.0 if budget_s is None else min(1.0, 0.2 * budget_s / len(cases))
    calls = [_call(case, session, batch, seed) for case, session in zip(cases, sessions, strict=True)]
    for done, (case, call) in enumerate(zip(cases, calls, strict=True)):
        on_progress(Progress("warm-up", case.label, done, len(cases)))
        try:
            warm_up(call, warm_up_s)
        except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
            raise InputError(f"{case.label}: does not run at batch {batch} ({first_line(error)})") from error
    return time_interleaved(
        calls, rounds, deadline_s, seed, lambda done: on_progress(Progress("timing", f"batch {batch}", done, rounds))
    )


def _call(case: BenchCase, session: ort.InferenceSession, batch: int, seed: int) -> Call:
    feed = {case.input_name: case.random_input(batch, seed)}
    return lambda: session.run(None, feed)


def _row(
    case: BenchCase,
    provider: str,
    batch: int,
    threads: int,
    samples_s: Sequence[float],
    reference_s: Sequence[float],
    peak: MemoryResult,
    warnings: tuple[str, ...],
    seed: int,
) -> BenchRow:
    latency_s = median_s(samples_s)
    contract = case.contract
    return BenchRow(
        label=case.label,
        provider=provider,
        batch=batch,
        threads=threads,
        samples_s=tuple(samples_s),
        latency_median_s=latency_s,
        latency_p90_s=percentile_s(samples_s, 90),
        throughput_images_per_s=batch / latency_s,
        latency_ratio=latency_ratio(samples_s, reference_s, seed),
        peak_rss_bytes=peak.peak_rss_bytes,
        peak_rss_missing=peak.reason,
        file_size_bytes=case.file_size_bytes,
        model=None if contract is None else contract.spec.name,
        parameters=None if contract is None else contract.parameters,
        multiply_adds=None if contract is None else contract.multiply_adds,
        precision=None if contract is None else contract.precision,
        target=None if contract is None or contract.target is None else contract.target.value,
        warnings=warnings,
    )


def _warnings(
    case: BenchCase, session: ort.InferenceSession, provider: str, threads: int, rounds: int
) -> tuple[str, ...]:
    """What a reader must know before believing the row."""
    found = []
    quantized = any("DequantizeLinear" in operators for operators in assigned_operators(session).values())
    contract = case.contract
    if provider == CPU and contract is not None:
        found.append(detect_host().mismatch(contract.target))
    if provider == "cuda" and (quantized or (contract is not None and contract.precision == "int8")):
        found.append("an INT8 (QDQ) file, and the CUDA provider has no INT8 convolution; use float16 or tensorrt")
    if rounds < MIN_SAMPLES[90]:
        found.append(f"{rounds} timed rounds, p90 needs {MIN_SAMPLES[90]}: raise the rounds or the time budget")
    if threads > default_threads():
        found.append(f"{threads} threads on {default_threads()} available cores: they wait for each other")
    return tuple(text for text in found if text is not None)
