"""The benchmark itself: cases x batch sizes x thread counts on one provider, timed interleaved, each in a process of its own.

All processes are started anew several times: two of the same file differ for as long as they live (see `stats`).
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rarn_edge.bench.after import WARM_UP_S, After, prepare
from rarn_edge.bench.budget import Budget
from rarn_edge.bench.cases import BenchCase, load_cases
from rarn_edge.bench.client import Worker, WorkerError
from rarn_edge.bench.disturbance import Counters, busy_at_start, yardstick_s
from rarn_edge.bench.environment import detect_environment
from rarn_edge.bench.journal import Journal
from rarn_edge.bench.measured import Group, Measured, Opened, Plan, Round
from rarn_edge.bench.request import Progress, Request
from rarn_edge.bench.result import BenchReport, Failure
from rarn_edge.bench.rounds import Turn, TurnFailed, run_rounds
from rarn_edge.bench.scenarios import MULTI_STREAM_IMAGES
from rarn_edge.bench.stats import MIN_ROUNDS, MIN_SAMPLES, Ratio
from rarn_edge.bench.summary import few_samples, summarise
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.host.threads import default_threads
from rarn_edge.runtime.providers import check_provider


def benchmark(
    cases: Sequence[BenchCase],
    request: Request,
    journal: Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> BenchReport:
    """Measure every case at every batch size and thread count; one that crashes is a failure in the report.

    Args:
        cases: From `load_cases`; their labels are unique.
        request: What to measure.
        journal: Where raw samples go after every round; removed at the end by the caller, who then has the report.
        on_progress: Called between timed calls, never within one.

    Raises:
        InputError: an impossible option, a batch size a model does not take, or nothing at all could be measured.
        ProviderError: the provider cannot be had for any case.
    """
    check_provider(request.provider)
    reference = _check_request(cases, request)
    groups = tuple(Group(b, t) for t in request.threads or (default_threads(),) for b in request.batches)
    plan = Plan(
        detect_environment(), request.provider, reference.label, request.seed, groups, tuple(cases), request.title
    )
    measured = Measured(plan)
    measured.failures += [Failure(c.label, None, None, "load", c.broken) for c in cases if c.broken is not None]
    measured.notes += busy_at_start()
    with Journal(journal) as log:
        log.plan(plan)
        for failure in measured.failures:
            log.failure(failure)
        run = _Run(request, measured, log, on_progress or (lambda _: None))
        counters = Counters()
        run.time_all()
        measured.notes += counters.warnings()
    run.raise_if_nothing()
    if request.memory:
        run.after.memory()
    if request.audit:
        run.after.audit()
    return summarise(measured)


@dataclass(frozen=True)
class FileTimes:
    """Median seconds of each file and its ratio to the first, in the order given; what to doubt about them."""

    files: tuple[tuple[float, Ratio], ...]
    warnings: tuple[str, ...]


def time_files(paths: Sequence[Path], threads: int, rounds: int, starts: int) -> FileTimes:
    """Time files beside each other: batch 1, on the CPU.

    Raises:
        InputError: one of them does not run.
    """
    request = Request(threads=(threads,), rounds=rounds, starts=starts, memory=False)
    report = benchmark(load_cases(paths), request)
    for failure in report.failures:
        raise InputError(f"{failure.label}: does not run ({failure.reason})")
    found = tuple((row.latency_median_s, row.latency_ratio) for row in report.rows if row.latency_ratio is not None)
    assert len(found) == len(paths), "nothing failed, so each has a row and a ratio"
    of_rows = dict.fromkeys(
        text for row in report.rows for text in row.warnings if text not in few_samples(len(row.samples_s))
    )
    return FileTimes(found, (*report.warnings, *of_rows))


def _check_request(cases: Sequence[BenchCase], request: Request) -> BenchCase:
    """The reference; every wrong option is found here, before any work."""
    if not cases:
        raise InputError("nothing to benchmark: name at least one model or ONNX file")
    if not request.batches:
        raise InputError("no batch size given; for example --batch 1,8")
    for what, values in (("batch size", request.batches), ("number of threads", request.threads)):
        if len(set(values)) != len(values):
            raise InputError(f"a {what} is given twice: {', '.join(map(str, values))}")
    for threads in request.threads:
        if threads < 1:
            raise InputError(f"threads is at least 1, found {threads}")
    if request.rounds is not None and request.rounds < 1:
        raise InputError(f"rounds is at least 1, found {request.rounds}")
    if request.starts < 1:
        raise InputError(f"starts is at least 1, found {request.starts}")
    if request.rounds is None and request.budget_s is None:
        raise InputError("give a number of rounds or a time budget")
    if request.budget_s is not None and not request.budget_s > 0:
        raise InputError(f"the time budget is more than 0 s, found {request.budget_s:g}")
    working = [case for case in cases if case.broken is None]
    if not working:
        raise InputError(f"{cases[0].label}: cannot be benchmarked: {cases[0].broken}")
    batches = {
        *request.batches,
        *((1,) if request.server else ()),
        *((MULTI_STREAM_IMAGES,) if request.multi_stream else ()),
    }
    for batch in sorted(batches):
        for case in working:
            case.shape(batch)
    labels = [case.label for case in cases]
    if len(set(labels)) != len(labels):
        raise InputError(f"two models have the same label: {', '.join(labels)}; give each its own")
    if request.reference_label is None:
        return working[0]
    if request.reference_label not in labels:
        raise InputError(f"no model '{request.reference_label}' to compare with; one of: {', '.join(labels)}")
    return cases[labels.index(request.reference_label)]


class _Run:
    """One benchmark while it runs: the request, what came in, and who hears of it."""

    def __init__(
        self, request: Request, measured: Measured, log: Journal, on_progress: Callable[[Progress], None]
    ) -> None:
        self.request, self.measured, self.log, self.on_progress = request, measured, log, on_progress
        self.first_error: tuple[str, WorkerError] | None = None
        self.after = After(request, measured, on_progress, self.fail)
        self.starts = (
            request.starts if request.rounds is None else min(request.starts, request.rounds // MIN_ROUNDS) or 1
        )

    def time_all(self) -> None:
        """Every thread count with several starts of fresh workers, every batch size on each."""
        groups = self.measured.plan.groups
        sweep = tuple(dict.fromkeys(group.threads for group in groups))
        budget = Budget(self.request.budget_s, self.starts * len(sweep), self.starts * len(groups))
        for threads in sweep:
            for start in range(self.starts):
                with self.workers(threads, budget) as workers:
                    for group in (each for each in groups if each.threads == threads):
                        with budget.timing() as share_s:
                            self.revive(workers, threads)
                            self.time_group(workers, group, start, share_s)
                    if start == self.starts - 1:
                        self.after.scenarios(workers, threads)
            if self.request.profile:
                self.after.profile(threads)

    @contextmanager
    def workers(self, threads: int, budget: Budget) -> Iterator[dict[str, Worker]]:
        """A fresh worker with its model open for each case that lets itself be opened, unless nothing of it runs anyway."""
        held: dict[str, Worker] = {}
        cases = [case for case in self.measured.plan.cases if case.broken is None and not self.is_lost(case, threads)]
        opening_s = time.perf_counter()
        try:
            for done, case in enumerate(cases):
                self.on_progress(Progress("open", case.label, done, len(cases)))
                worker = self.open_worker(case, threads)
                if worker is not None:
                    held[case.label] = worker
            if held and self.measured.overhead_s is None:
                self.measured.overhead_s = next(iter(held.values())).ask("overhead")["overhead_s"]
            budget.opened(time.perf_counter() - opening_s)
            yield held
        finally:
            for worker in held.values():
                worker.close()

    def is_lost(self, case: BenchCase, threads: int) -> bool:
        """Whether it could not be opened with so many threads, or failed at every batch size."""
        batches = {f.batch for f in self.measured.failures if (f.label, f.threads) == (case.label, threads)}
        return None in batches or batches.issuperset(g.batch for g in self.measured.plan.groups if g.threads == threads)

    def open_worker(self, case: BenchCase, threads: int) -> Worker | None:
        """A worker that holds the case, or None and a failure in the report."""
        worker = Worker()
        try:
            answer = worker.ask(
                "open",
                path=str(case.path),
                provider=self.request.provider,
                threads=threads,
                allow_fallback=self.request.allow_fallback,
                cuda_graph=self.request.cuda_graph,
            )
        except WorkerError as failed:
            worker.close()
            self.fail(case.label, None, threads, "open", failed)
            return None
        # Kept of the first start alone: there an engine may have to be built.
        keys = ("session_s", "nodes", "nodes_elsewhere", "quantized")
        if (case.label, threads) not in self.measured.opened:
            opened = Opened(**{key: answer[key] for key in keys})
            self.measured.opened[case.label, threads] = opened
            self.log.opened(case.label, threads, opened)
        return worker

    def revive(self, workers: dict[str, Worker], threads: int) -> None:
        """A worker that died at one batch size gets another chance at the next."""
        for case in self.measured.plan.cases:
            worker = workers.get(case.label)
            if worker is not None and not worker.alive:
                worker.close()
                del workers[case.label]
                fresh = self.open_worker(case, threads)
                if fresh is not None:
                    workers[case.label] = fresh

    def time_group(self, workers: Mapping[str, Worker], group: Group, start: int, budget_s: float | None) -> None:
        """Warm every case up at this batch size, then take this start's share of the rounds; not what failed at it before."""
        failed = {f.label for f in self.measured.failures if (f.threads, f.batch) == (group.threads, group.batch)}
        workers = {label: worker for label, worker in workers.items() if label not in failed}
        deadline_s = None if budget_s is None else time.perf_counter() + budget_s
        limit_s = WARM_UP_S if budget_s is None else min(WARM_UP_S, 0.2 * budget_s / max(1, len(workers)))
        turns: dict[str, Turn] = {}
        device_s: dict[str, float] = {}
        cpu_s: dict[str, float] = {}
        for done, (label, worker) in enumerate(workers.items()):
            self.on_progress(Progress("warm-up", label, done, len(workers)))
            try:
                if not prepare(worker, self.measured.plan.case(label), group.batch, self.request.seed, limit_s):
                    self.measured.unstable[label, group] += 1
            except WorkerError as failed:
                self.fail(label, group.batch, group.threads, "warm-up", failed)
                continue
            turns[label] = _turn(worker, label, device_s, cpu_s)
        if not turns:
            return

        def on_round(samples: Mapping[str, float]) -> None:
            taken = Round(start, dict(samples), dict(device_s), dict(cpu_s), yardstick_s())
            device_s.clear()
            cpu_s.clear()
            number = self.measured.add(group, taken)
            self.log.round(group, taken)
            total = self.request.rounds if self.request.budget_s is None else None
            self.on_progress(Progress("timing", f"batch {group.batch}", number + 1, total))

        rounds = None if self.request.rounds is None else _share(self.request.rounds, self.starts, start)
        seed = self.request.seed + start  # another order of turns
        enough = _share(MIN_SAMPLES[95], self.starts, 0)
        outcome = run_rounds(turns, self.measured.plan.reference_label, rounds, deadline_s, seed, on_round, enough)
        for label, reason in outcome.failures.items():
            self.fail(label, group.batch, group.threads, "timing", WorkerError(reason))

    def fail(self, label: str, batch: int | None, threads: int, stage: str, failed: TurnFailed) -> None:
        failure = Failure(label, batch, threads, stage, str(failed))
        self.measured.failures.append(failure)
        self.log.failure(failure)
        if isinstance(failed, WorkerError):
            self.first_error = self.first_error or (label, failed)

    def raise_if_nothing(self) -> None:
        """A run without one row is an error, with the first reason.

        Raises:
            ProviderError: that reason is the provider.
            InputError: it is another.
        """
        if any(s.seconds for samples in self.measured.samples.values() for s in samples.values()):
            return
        failure = self.measured.failures[0]
        if self.first_error is not None and self.first_error[1].is_provider:
            raise ProviderError(failure.reason)
        where = "" if failure.batch is None else f" at batch {failure.batch}"
        raise InputError(f"{failure.label}: does not run{where} ({failure.reason})")


def _share(total: int, starts: int, start: int) -> int:
    """Of so many rounds, those of that start; the first ones take what does not divide."""
    return total // starts + (start < total % starts)


def _turn(worker: Worker, label: str, device_s: dict[str, float], cpu_s: dict[str, float]) -> Turn:
    """One turn of that worker; it leaves its processor time in `cpu_s`, and on a GPU the time without copies in `device_s`."""

    def turn() -> float:
        answer = worker.ask("turn")
        if "device_s" in answer:
            device_s[label] = answer["device_s"]
        if "cpu_s" in answer:
            cpu_s[label] = answer["cpu_s"]
        return float(answer["seconds"])

    return turn
