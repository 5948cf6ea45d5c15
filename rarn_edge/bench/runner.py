"""The benchmark itself: cases x batch sizes x thread counts on one provider, timed interleaved, each in a process of its own.

All processes are launched several times: two of the same file differ for as long as they live (see `rarn_edge.stats.ratio`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from rarn_edge.bench.cases import BenchCase, load_cases
from rarn_edge.bench.config import BenchConfig, Progress, find_reference
from rarn_edge.bench.extras.measure import WARM_UP_S, Extras, prepare
from rarn_edge.bench.record import Failure, Group, Journal, Opened, Plan, Round, RunRecord
from rarn_edge.bench.result import BenchReport, few_samples, summarise
from rarn_edge.bench.schedule import Budget, Calls, run_rounds
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.bench.worker.timing import CallTime
from rarn_edge.decode import decode
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.host.environment import detect_environment
from rarn_edge.host.noise import Counters, busy_at_start, workload_s
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
    record.notes += busy_at_start()
    with Journal(journal) as log:
        log.plan(plan)
        for failure in record.failures:
            log.failure(failure)
        run = _Run(config, record, log, on_progress or (lambda _: None))
        counters = Counters()
        run.time_all()
        record.notes += counters.warnings()
        run.raise_if_nothing()
        run.extras.after_timing()
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


class _Run:
    """One benchmark while it runs: what is asked for, what came in, and who hears of it."""

    def __init__(
        self, config: BenchConfig, record: RunRecord, log: Journal, on_progress: Callable[[Progress], None]
    ) -> None:
        self.config, self.record, self.log, self.on_progress = config, record, log, on_progress
        self.first_error: WorkerError | None = None
        self.extras = Extras(config, record, on_progress, self.fail)
        most = config.launches if config.rounds is None else min(config.launches, config.rounds // MIN_ROUNDS)
        self.launches = max(1, most)

    def time_all(self) -> None:
        """Every thread count with several launches of fresh workers, every batch size on each."""
        groups = self.record.plan.groups
        sweep = tuple(dict.fromkeys(group.threads for group in groups))
        budget = Budget(self.config.budget_s, self.launches * len(sweep), self.launches * len(groups))
        for threads in sweep:
            for launch in range(self.launches):
                with self.workers(threads, budget) as workers:
                    for group in (each for each in groups if each.threads == threads):
                        with budget.timing() as share_s:
                            self.revive(workers, threads)
                            self.time_group(workers, group, launch, share_s)
                    if launch == self.launches - 1:
                        self.extras.scenarios(workers, threads)
            if self.config.profile:
                self.extras.profile(threads)

    @contextmanager
    def workers(self, threads: int, budget: Budget) -> Iterator[dict[str, Worker]]:
        """A fresh worker with its model open for each case that lets itself be opened, unless nothing of it runs anyway."""
        held: dict[str, Worker] = {}
        cases = [case for case in self.record.plan.cases if case.broken is None and not self.is_lost(case, threads)]
        opening_s = time.perf_counter()
        try:
            for done, case in enumerate(cases):
                self.on_progress(Progress("open", case.label, done, len(cases)))
                worker = self.open_worker(case, threads)
                if worker is not None:
                    held[case.label] = worker
            if held and self.record.overhead_s is None:
                self.record.overhead_s = next(iter(held.values())).ask("overhead")["overhead_s"]
            budget.opened(time.perf_counter() - opening_s)
            yield held
        finally:
            for worker in held.values():
                worker.close()

    def is_lost(self, case: BenchCase, threads: int) -> bool:
        """Whether it could not be opened with so many threads, or failed at every batch size."""
        batches = {f.batch for f in self.record.failures if (f.label, f.threads) == (case.label, threads)}
        return None in batches or batches.issuperset(g.batch for g in self.record.plan.groups if g.threads == threads)

    def open_worker(self, case: BenchCase, threads: int) -> Worker | None:
        """A worker that holds the case, or None and a failure in the report."""
        worker = Worker()
        try:
            options = self.extras.open_options(case, threads)
            opened = decode(Opened, worker.ask("open", **options, cuda_graph=self.config.cuda_graph))
        except WorkerError as failed:
            worker.close()
            self.fail(case.label, None, threads, "open", failed)
            return None
        if (case.label, threads) not in self.record.opened:  # of the first launch: there an engine may have to be built
            self.record.opened[case.label, threads] = opened
            self.log.opened(case.label, threads, opened)
        return worker

    def revive(self, workers: dict[str, Worker], threads: int) -> None:
        """A worker that died at one batch size gets another chance at the next."""
        for case in self.record.plan.cases:
            worker = workers.get(case.label)
            if worker is not None and not worker.alive:
                worker.close()
                del workers[case.label]
                fresh = self.open_worker(case, threads)
                if fresh is not None:
                    workers[case.label] = fresh

    def time_group(self, workers: Mapping[str, Worker], group: Group, launch: int, budget_s: float | None) -> None:
        """Warm every case up at this batch size, then take this launch's share of the rounds; not what failed at it before."""
        failed = {f.label for f in self.record.failures if (f.threads, f.batch) == (group.threads, group.batch)}
        workers = {label: worker for label, worker in workers.items() if label not in failed}
        deadline_s = None if budget_s is None else time.perf_counter() + budget_s
        limit_s = WARM_UP_S if budget_s is None else min(WARM_UP_S, 0.2 * budget_s / max(1, len(workers)))
        models: dict[str, Callable[[], CallTime]] = {}
        for done, (label, worker) in enumerate(workers.items()):
            self.on_progress(Progress("warm-up", label, done, len(workers)))
            try:
                if not prepare(worker, self.record.plan.case(label), group.batch, self.config.seed, limit_s):
                    self.record.unstable[label, group] += 1
            except WorkerError as error:
                self.fail(label, group.batch, group.threads, "warm-up", error)
                continue
            models[label] = partial(_timed_call, worker)
        if not models:
            return
        number = count(len(self.record.rounds_of(group)) + 1)

        def on_round(calls: Calls) -> None:
            taken = Round(group, launch, calls, workload_s())
            self.record.rounds.append(taken)
            self.log.round(taken)
            total = self.config.rounds if self.config.budget_s is None else None
            self.on_progress(Progress("timing", f"batch {group.batch}", next(number), total))

        rounds = None if self.config.rounds is None else _share(self.config.rounds, self.launches, launch)
        seed = self.config.seed + launch  # another order within the rounds
        enough = _share(MIN_SAMPLES[95], self.launches, 0)
        failures = run_rounds(models, self.record.plan.reference_label, rounds, deadline_s, seed, on_round, enough)
        for label, reason in failures.items():
            self.fail(label, group.batch, group.threads, "timing", WorkerError(reason))

    def fail(self, label: str, batch: int | None, threads: int | None, stage: str, error: WorkerError) -> None:
        failure = Failure(label, batch, threads, stage, str(error))
        self.record.failures.append(failure)
        self.log.failure(failure)
        self.first_error = self.first_error or error

    def raise_if_nothing(self) -> None:
        """A run without one row is an error, with the first reason.

        Raises:
            ProviderError: that reason is the provider.
            InputError: it is another.
        """
        if self.record.timed():
            return
        failure = self.record.failures[0]
        if self.first_error is not None and self.first_error.is_provider:
            raise ProviderError(failure.reason)
        where = "" if failure.batch is None else f" at batch {failure.batch}"
        raise InputError(f"{failure.label}: does not run{where} ({failure.reason})")


def _share(total: int, launches: int, launch: int) -> int:
    """Of so many rounds, those of that launch; the first ones take what does not divide."""
    return total // launches + (launch < total % launches)


def _timed_call(worker: Worker) -> CallTime:
    return decode(CallTime, worker.ask("call"))
