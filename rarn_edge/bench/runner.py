"""The benchmark itself: cases x batch sizes x thread counts on one provider, timed interleaved, each in a process of its own.

All processes are launched several times: two of the same file differ for as long as they live (see `rarn_edge.stats.ratio`).
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from rarn_edge.bench.cases import BenchCase, load_cases
from rarn_edge.bench.config import BenchConfig, Progress, find_reference
from rarn_edge.bench.extras.measure import WARM_UP_S, measure_after_timing, measure_profiles, measure_scenarios
from rarn_edge.bench.record import Failure, Group, Journal, Plan, Round, Run, RunRecord
from rarn_edge.bench.result import BenchReport, few_samples, summarise
from rarn_edge.bench.schedule import Budget, Calls, run_rounds
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.bench.worker.timing import CallTime
from rarn_edge.decode import decode
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.host.environment import detect_environment
from rarn_edge.host.noise import Counters, load_average, workload_s
from rarn_edge.host.threads import default_threads
from rarn_edge.runtime.providers import check_provider
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.ratio import MIN_ROUNDS, MIN_SAMPLES


def benchmark(
    cases: Sequence[BenchCase],
    config: BenchConfig | None = None,
    journal: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BenchReport:
    """Measure every case at every batch size and thread count; one that crashes is a failure in the report.

    Times in the report are in seconds per call, memory in bytes, throughput in images per second; a ratio is the latency over
    that of the reference with its 95 % interval, below 1 is faster.

    Args:
        cases: From `load_cases`; their labels are unique.
        config: What to measure and how; default: batch 1, 100 rounds on the CPU, memory too.
        journal: Where raw samples go after every round; removed at the end by the caller, who then has the report.
        on_progress: Called between timed calls, never within one.

    Raises:
        InputError: an impossible option, a batch size a model does not take, or nothing at all could be measured.
        ProviderError: the provider cannot be had for any case.

    Example:
        >>> report = benchmark(load_cases([Path("a.onnx"), Path("b.onnx")]), BenchConfig(threads=(1,), rounds=200))
        >>> [(row.label, row.latency_median_s, row.latency_ratio) for row in report.rows]
    """
    config = config or BenchConfig()
    check_provider(config.provider)
    reference = find_reference(cases, config)
    groups = tuple(Group(b, t) for t in config.threads or (default_threads(),) for b in config.batches)
    plan = Plan(detect_environment(), config.provider, reference.label, config.seed, groups, tuple(cases), config.title)
    record = RunRecord(plan)
    record.failures += [Failure(c.label, None, None, "load", c.broken) for c in cases if c.broken is not None]
    record.load_at_start = load_average()
    with closing(Journal(journal)) as log:
        log.write(plan)
        for failure in record.failures:
            log.write(failure=failure)
        run = Run(config, record, log, on_progress or (lambda _: None))
        counters = Counters()
        _time_all(run)
        record.notes += counters.warnings()
        _raise_if_nothing(run)
        measure_after_timing(run)
    return summarise(record)


@dataclass(frozen=True)
class FileTimes:
    """Median seconds of each file and its ratio to the first, in the order given; what to doubt about them."""

    files: tuple[tuple[float, Interval], ...]
    warnings: tuple[str, ...]


def time_files(paths: Sequence[Path], threads: int, rounds: int, launches: int) -> FileTimes:
    """Time files beside each other: batch 1, on the CPU.

    Raises:
        InputError: one of them does not run.
    """
    config = BenchConfig(threads=(threads,), rounds=rounds, launches=launches, memory=False)
    report = benchmark(load_cases(paths), config)
    for failure in report.failures:
        raise InputError(f"{failure.label}: does not run ({failure.reason})")
    found = tuple((row.latency_median_s, row.latency_ratio) for row in report.rows if row.latency_ratio is not None)
    assert len(found) == len(paths), "nothing failed, so each has a row and a ratio"
    of_rows = dict.fromkeys(
        text for row in report.rows for text in row.warnings if text not in few_samples(len(row.samples_s))
    )
    return FileTimes(found, (*report.warnings, *of_rows))


def _time_all(run: Run) -> None:
    """Every thread count with several launches of fresh workers, every batch size on each."""
    config, groups = run.config, run.record.plan.groups
    most = config.launches if config.rounds is None else min(config.launches, config.rounds // MIN_ROUNDS)
    launches = max(1, most)
    sweep = tuple(dict.fromkeys(group.threads for group in groups))
    budget = Budget(config.budget_s, launches * len(sweep), launches * len(groups))
    for threads in sweep:
        for launch in range(launches):
            with _workers(run, threads, budget) as workers:
                for group in (each for each in groups if each.threads == threads):
                    with budget.timing() as share_s:
                        _revive(run, workers, threads)
                        _time_group(run, workers, group, (launch, launches), share_s)
                if launch == launches - 1:
                    measure_scenarios(run, workers, threads)
        measure_profiles(run, threads)


@contextmanager
def _workers(run: Run, threads: int, budget: Budget) -> Iterator[dict[str, Worker]]:
    """A fresh worker with its model open for each case that lets itself be opened, unless nothing of it runs anyway."""
    held: dict[str, Worker] = {}
    plan, record = run.record.plan, run.record
    failed = {(f.label, f.batch) for f in record.failures if f.threads == threads}
    batches = [group.batch for group in plan.groups if group.threads == threads]
    opening_s = time.perf_counter()
    try:
        cases = [
            case
            for case in plan.cases
            if case.broken is None
            and (case.label, None) not in failed  # could not be opened
            and not all((case.label, batch) in failed for batch in batches)
        ]
        run.each("open", [(case.label, None, partial(_open, run, held, case, threads)) for case in cases], threads)
        if held and record.overhead_s is None:
            record.overhead_s = _overhead_s(held.values())
        budget.opened(time.perf_counter() - opening_s)
        yield held
    finally:
        for worker in held.values():
            worker.close()


def _overhead_s(workers: Iterable[Worker]) -> float | None:
    """Of a question to a worker; None if none answers, which then fails at its next step."""
    for worker in workers:
        try:
            return float(worker.ask("overhead")["overhead_s"])
        except WorkerError:
            continue
    return None


def _open(run: Run, held: dict[str, Worker], case: BenchCase, threads: int) -> None:
    """Put a worker that has the case open into `held`.

    Raises:
        WorkerError: it cannot be opened.
    """
    worker = Worker()
    try:
        opened = run.open(worker, case, threads, cuda_graph=run.config.cuda_graph)
    except WorkerError:
        worker.close()
        raise
    held[case.label] = worker
    if (case.label, threads) not in run.record.opened:  # of the first launch: there an engine may have to be built
        run.record.opened[case.label, threads] = opened
        run.log.write(label=case.label, threads=threads, opened=opened)


def _revive(run: Run, workers: dict[str, Worker], threads: int) -> None:
    """A worker that died at one batch size gets another chance at the next."""
    dead = [case for case in run.record.plan.cases if case.label in workers and not workers[case.label].alive]
    for case in dead:
        workers.pop(case.label).close()
    if dead:
        run.each("open", [(case.label, None, partial(_open, run, workers, case, threads)) for case in dead], threads)


def _time_group(
    run: Run, workers: Mapping[str, Worker], group: Group, launch: tuple[int, int], budget_s: float | None
) -> None:
    """Warm every case up at this batch size, then take this launch's share of the rounds; not what failed at it before.

    `launch` is its number, from 0, and how many there are.
    """
    config, record, (number, launches) = run.config, run.record, launch
    failed = {f.label for f in record.failures if (f.threads, f.batch) == (group.threads, group.batch)}
    workers = {label: worker for label, worker in workers.items() if label not in failed}
    deadline_s = None if budget_s is None else time.perf_counter() + budget_s
    limit_s = WARM_UP_S if budget_s is None else min(WARM_UP_S, 0.2 * budget_s / max(1, len(workers)))
    models: dict[str, Callable[[], CallTime]] = {}

    def warm_up(label: str, worker: Worker) -> None:
        if not run.prepare(worker, record.plan.case(label), group.batch, limit_s):
            record.unstable[label, group] += 1
        models[label] = lambda: decode(CallTime, worker.ask("call"))

    run.each("warm-up", [(n, group.batch, partial(warm_up, n, worker)) for n, worker in workers.items()], group.threads)
    if not models:
        return
    numbers = count(len(record.rounds_of(group)) + 1)
    total = config.rounds if config.budget_s is None else None

    def on_round(calls: Calls) -> None:
        taken = Round(group, number, calls, workload_s())
        record.rounds.append(taken)
        run.log.write(round=taken)
        run.on_progress(Progress("timing", f"batch {group.batch}", next(numbers), total))

    rounds = None if config.rounds is None else _share(config.rounds, launches, number)
    seed = config.seed + number  # another order within the rounds
    enough = _share(MIN_SAMPLES[95], launches, 0)
    failures = run_rounds(models, record.plan.reference_label, rounds, deadline_s, seed, on_round, enough)
    for label, reason in failures.items():
        run.fail(label, group.batch, group.threads, "timing", WorkerError(reason))


def _raise_if_nothing(run: Run) -> None:
    """A run without one row is an error, with the first reason.

    Raises:
        ProviderError: that reason is the provider.
        InputError: it is another.
    """
    if run.record.timed():
        return
    failure = run.record.failures[0]
    if run.first_error is not None and run.first_error.is_provider:
        raise ProviderError(failure.reason)
    where = "" if failure.batch is None else f" at batch {failure.batch}"
    raise InputError(f"{failure.label}: does not run{where} ({failure.reason})")


def _share(total: int, launches: int, launch: int) -> int:
    """Of so many rounds, those of that launch; the first ones take what does not divide."""
    return total // launches + (launch < total % launches)
