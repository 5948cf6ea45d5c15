"""The benchmark itself: cases x batch sizes x thread counts on one provider, timed interleaved, each in a process of its own."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rarn_edge.bench.after import WARM_UP_S, After, prepare
from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.client import Worker, WorkerError
from rarn_edge.bench.disturbance import Counters, busy_at_start, yardstick_s
from rarn_edge.bench.environment import detect_environment
from rarn_edge.bench.journal import Journal
from rarn_edge.bench.measured import Group, Measured, Opened, Plan
from rarn_edge.bench.request import Progress, Request
from rarn_edge.bench.result import BenchReport, Failure
from rarn_edge.bench.rounds import Turn, TurnFailed, run_rounds
from rarn_edge.bench.scenarios import MULTI_STREAM_IMAGES
from rarn_edge.bench.summary import summarise
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.providers import check_provider
from rarn_edge.threads import default_threads


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

    def time_all(self) -> None:
        """Every thread count with fresh workers, every batch size on them."""
        groups = self.measured.plan.groups
        end_s = None if self.request.budget_s is None else time.perf_counter() + self.request.budget_s
        for threads in dict.fromkeys(group.threads for group in groups):
            with self.workers(threads) as workers:
                for group in (each for each in groups if each.threads == threads):
                    left = len(groups) - groups.index(group)
                    share_s = None if end_s is None else max(0.0, end_s - time.perf_counter()) / left
                    self.revive(workers, threads)
                    self.time_group(workers, group, share_s)
                self.after.scenarios(workers, threads)
            if self.request.profile:
                self.after.profile(threads)

    @contextmanager
    def workers(self, threads: int) -> Iterator[dict[str, Worker]]:
        """A worker with its model open for each case that lets itself be opened."""
        held: dict[str, Worker] = {}
        cases = [case for case in self.measured.plan.cases if case.broken is None]
        try:
            for done, case in enumerate(cases):
                self.on_progress(Progress("open", case.label, done, len(cases)))
                worker = self.open_worker(case, threads)
                if worker is not None:
                    held[case.label] = worker
            if held and self.measured.overhead_s is None:
                self.measured.overhead_s = next(iter(held.values())).ask("overhead")["overhead_s"]
            yield held
        finally:
            for worker in held.values():
                worker.close()

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
        keys = ("session_s", "nodes", "nodes_elsewhere", "quantized")
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

    def time_group(self, workers: Mapping[str, Worker], group: Group, budget_s: float | None) -> None:
        """Warm every case up at this batch size, then take rounds."""
        deadline_s = None if budget_s is None else time.perf_counter() + budget_s
        limit_s = WARM_UP_S if budget_s is None else min(WARM_UP_S, 0.2 * budget_s / max(1, len(workers)))
        turns: dict[str, Turn] = {}
        device_s: dict[str, float] = {}
        cpu_s: dict[str, float] = {}
        for done, (label, worker) in enumerate(workers.items()):
            self.on_progress(Progress("warm-up", label, done, len(workers)))
            try:
                if not prepare(worker, self.measured.plan.case(label), group.batch, self.request.seed, limit_s):
                    self.measured.unstable.add((label, group))
            except WorkerError as failed:
                self.fail(label, group.batch, group.threads, "warm-up", failed)
                continue
            turns[label] = _turn(worker, label, device_s, cpu_s)
        if not turns:
            return

        def on_round(number: int, samples: Mapping[str, float]) -> None:
            yard_s = yardstick_s()
            self.measured.yardstick_s.append(yard_s)
            for kept, found in ((self.measured.device, device_s), (self.measured.cpu, cpu_s)):
                for label, seconds in found.items():
                    kept.setdefault((label, group), []).append(seconds)
            self.log.round(group, number, dict(samples), dict(device_s), dict(cpu_s), yard_s)
            device_s.clear()
            cpu_s.clear()
            total = self.request.rounds if self.request.budget_s is None else None
            self.on_progress(Progress("timing", f"batch {group.batch}", number + 1, total))

        outcome = run_rounds(
            turns, self.measured.plan.reference_label, self.request.rounds, deadline_s, self.request.seed, on_round
        )
        self.measured.samples[group] = outcome.samples
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
