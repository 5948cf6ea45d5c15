"""What is measured beside the timed rounds: scenarios, where the time goes, memory, the INT8 audit; one model at a time."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from rarn_edge.bench.audited import AuditFacts
from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.client import Worker, WorkerError
from rarn_edge.bench.measured import Group, Measured
from rarn_edge.bench.memory import measure_memory
from rarn_edge.bench.profile import Peaks, build_profile
from rarn_edge.bench.request import Progress, Request
from rarn_edge.bench.scenarios import MULTI_STREAM_IMAGES, MultiStream, find_server_rate
from rarn_edge.bench.stats import MIN_SAMPLES, median_s, percentile_s
from rarn_edge.runtime.providers import CPU, find_provider

WARM_UP_S = 3.0
_PROFILE_WARM_UP_S = 1.0
_PROFILE_CALLS = 30


def prepare(worker: Worker, case: BenchCase, batch: int, seed: int, limit_s: float) -> bool:
    """Input made and warmed up; False: its time was still changing.

    Raises:
        WorkerError: the model does not run, or took its process with it.
    """
    answer = worker.ask(
        "prepare",
        input_name=case.input_name,
        dtype=case.input_dtype,
        shape=case.shape(batch),
        seed=seed,
        limit_s=limit_s,
    )
    return bool(answer["stable"])


class After:
    """The measurements that follow; a model that fails at one is reported by `fail`, and the others are measured."""

    def __init__(
        self,
        request: Request,
        measured: Measured,
        on_progress: Callable[[Progress], None],
        fail: Callable[[str, int | None, int, str, WorkerError], None],
    ) -> None:
        self.request, self.measured, self.on_progress, self.fail = request, measured, on_progress, fail

    def scenarios(self, workers: Mapping[str, Worker], threads: int) -> None:
        """Server and multi-stream, model after model: each needs the machine for itself."""
        asked: list[tuple[Literal["server", "multi-stream"], int, Callable[[Worker, str, int], None]]] = []
        if self.request.server:
            asked.append(("server", 1, self._serve))
        if self.request.multi_stream:
            asked.append(("multi-stream", MULTI_STREAM_IMAGES, self._stream))
        for scenario, batch, measure in asked:
            for done, (label, worker) in enumerate(workers.items()):
                if not worker.alive:
                    continue
                self.on_progress(Progress(scenario, label, done, len(workers)))
                try:
                    measure(worker, label, threads)
                except WorkerError as failed:
                    self.fail(label, batch, threads, scenario, failed)

    def _serve(self, worker: Worker, label: str, threads: int) -> None:
        prepare(worker, self.measured.plan.case(label), 1, self.request.seed, WARM_UP_S)
        latency_s = median_s([worker.ask("turn")["seconds"] for _ in range(20)])
        found = find_server_rate(worker, label, threads, latency_s, self.request.server_bound_s, self.request.seed)
        self.measured.servers.append(found)

    def _stream(self, worker: Worker, label: str, threads: int) -> None:
        prepare(worker, self.measured.plan.case(label), MULTI_STREAM_IMAGES, self.request.seed, WARM_UP_S)
        samples_s = [worker.ask("turn")["seconds"] for _ in range(MIN_SAMPLES[99])]
        result = MultiStream(label, threads, MULTI_STREAM_IMAGES, percentile_s(samples_s, 99), median_s(samples_s))
        self.measured.multi_streams.append(result)

    def profile(self, threads: int) -> None:
        """Where the time goes, each model in a process of its own under ONNX Runtime's profiler."""
        with Worker() as worker:
            peaks = Peaks(**worker.ask("peaks", threads=threads))
        timed = [(case, group) for case, group in self._timed() if group.threads == threads]
        for done, (case, group) in enumerate(timed):
            self.on_progress(Progress("profile", case.label, done, len(timed)))
            try:
                with tempfile.TemporaryDirectory() as folder, Worker() as worker:
                    self._profile(worker, Path(folder), case, group, peaks)
            except WorkerError as failed:
                self.fail(case.label, group.batch, threads, "profile", failed)

    def _profile(self, worker: Worker, folder: Path, case: BenchCase, group: Group, peaks: Peaks) -> None:
        worker.ask(
            "open",
            path=str(case.path),
            provider=self.request.provider,
            threads=group.threads,
            allow_fallback=self.request.allow_fallback,
            profile_prefix=str(folder / "profile"),
        )
        prepare(worker, case, group.batch, self.request.seed, _PROFILE_WARM_UP_S)
        found = build_profile(
            case.label,
            group.batch,
            group.threads,
            worker.ask("profile", count=_PROFILE_CALLS),
            find_provider(self.request.provider).ort_name,
            median_s(self.measured.samples[group][case.label].seconds),
            None if case.contract is None else case.contract.multiply_adds,
            case.contract is not None and case.contract.precision == "int8",
            peaks,
        )
        self.measured.profiles.append(found)

    def memory(self) -> None:
        """Memory of everything that was timed, after the timing: its processes would disturb it."""
        timed = self._timed()
        for done, (case, group) in enumerate(timed):
            self.on_progress(Progress("memory", case.label, done, len(timed)))
            self.measured.memory[case.label, group] = measure_memory(
                case, group.batch, self.request.provider, group.threads, self.request.allow_fallback
            )

    def audit(self) -> None:
        """The INT8 files that were timed. An audit is of the CPU: there is none on other providers."""
        if self.request.provider != CPU:
            return
        labels = {case.label for case, _ in self._timed()}
        cases = [
            case
            for case in self.measured.plan.cases
            if case.label in labels and case.contract is not None and case.contract.precision == "int8"
        ]
        for done, case in enumerate(cases):
            self.on_progress(Progress("audit", case.label, done, len(cases)))
            threads = self.measured.plan.groups[0].threads
            try:
                with Worker() as worker:
                    answer = worker.ask("audit", path=str(case.path), threads=threads)
            except WorkerError as failed:
                self.measured.notes.append(f"{case.label}: not audited: {failed}")
                continue
            self.measured.audits.append(AuditFacts.from_dict({**answer, "label": case.label}))

    def _timed(self) -> list[tuple[BenchCase, Group]]:
        return [
            (case, group)
            for group, samples in self.measured.samples.items()
            for case in self.measured.plan.cases
            if case.label in samples and samples[case.label].seconds
        ]
