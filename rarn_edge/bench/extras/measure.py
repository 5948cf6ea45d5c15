"""The extras of a run, one model at a time; a model that fails at one is reported by `fail`, and the others are measured."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.config import BenchConfig, Progress, Stage
from rarn_edge.bench.extras.accuracy import Accuracy, is_trained
from rarn_edge.bench.extras.audit import AuditFacts
from rarn_edge.bench.extras.memory import measure_memory
from rarn_edge.bench.extras.profile import NodeCost, build_profile
from rarn_edge.bench.extras.scenarios import MULTI_STREAM_IMAGES, find_server_rate, measure_stream
from rarn_edge.bench.record import Group, RunRecord
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.decode import decode
from rarn_edge.runtime.peaks import Peaks
from rarn_edge.runtime.providers import CPU, find_provider
from rarn_edge.stats.ratio import median_s

WARM_UP_S = 3.0
_PROFILE_WARM_UP_S = 1.0
_PROFILE_CALLS = 30
_SERVER_CALLS = 20  # whose median is where the search for a rate begins
_ACCURACY_TIMEOUT_S = 3600.0


def prepare(worker: Worker, case: BenchCase, batch: int, seed: int, limit_s: float) -> bool:
    """Input made and warmed up; False: its time was still changing.

    Raises:
        WorkerError: the model does not run, or took its process with it.
    """
    return bool(worker.ask("prepare", **case.input_of(batch), seed=seed, limit_s=limit_s)["stable"])


class Extras:
    """What is measured beside the timed rounds of one run, into its record."""

    def __init__(
        self,
        config: BenchConfig,
        record: RunRecord,
        on_progress: Callable[[Progress], None],
        fail: Callable[[str, int | None, int | None, str, WorkerError], None],
    ) -> None:
        self.config, self.record, self.on_progress, self.fail = config, record, on_progress, fail

    def open_options(self, case: BenchCase, threads: int) -> dict[str, Any]:
        """What a worker is told to open the case, see `worker.process.open_model`."""
        return {
            "path": str(case.path),
            "provider": self.config.provider,
            "threads": threads,
            "allow_fallback": self.config.allow_fallback,
        }

    def scenarios(self, workers: Mapping[str, Worker], threads: int) -> None:
        """Server and multi-stream, model after model: each needs the machine for itself."""
        if self.config.server:
            self._scenario("server", 1, workers, threads, self._serve)
        if self.config.multi_stream:
            self._scenario("multi-stream", MULTI_STREAM_IMAGES, workers, threads, self._stream)

    def _scenario(
        self,
        stage: Stage,
        batch: int,
        workers: Mapping[str, Worker],
        threads: int,
        measure: Callable[[Worker, str, int], None],
    ) -> None:
        for done, (label, worker) in enumerate(workers.items()):
            if not worker.alive:
                continue
            self.on_progress(Progress(stage, label, done, len(workers)))
            try:
                prepare(worker, self.record.plan.case(label), batch, self.config.seed, WARM_UP_S)
                measure(worker, label, threads)
            except WorkerError as failed:
                self.fail(label, batch, threads, stage, failed)

    def _serve(self, worker: Worker, label: str, threads: int) -> None:
        latency_s = median_s([worker.ask("call")["wall_s"] for _ in range(_SERVER_CALLS)])
        bound_s, seed = self.config.server_bound_s, self.config.seed
        self.record.servers.append(find_server_rate(worker, label, threads, latency_s, bound_s, seed))

    def _stream(self, worker: Worker, label: str, threads: int) -> None:
        self.record.multi_streams.append(measure_stream(worker, label, threads))

    def profile(self, threads: int) -> None:
        """Where the time goes, each model in a process of its own under ONNX Runtime's profiler."""
        with Worker() as worker:
            peaks = decode(Peaks, worker.ask("peaks", threads=threads))
        timed = [(case, group) for case, group in self.record.timed() if group.threads == threads]
        for done, (case, group) in enumerate(timed):
            self.on_progress(Progress("profile", case.label, done, len(timed)))
            try:
                with tempfile.TemporaryDirectory() as folder, Worker() as worker:
                    self._profile(worker, Path(folder), case, group, peaks)
            except WorkerError as failed:
                self.fail(case.label, group.batch, threads, "profile", failed)

    def _profile(self, worker: Worker, folder: Path, case: BenchCase, group: Group, peaks: Peaks) -> None:
        worker.ask("open", **self.open_options(case, group.threads), profile_prefix=str(folder / "profile"))
        prepare(worker, case, group.batch, self.config.seed, _PROFILE_WARM_UP_S)
        nodes = [decode(NodeCost, node) for node in worker.ask("profile", count=_PROFILE_CALLS)["nodes"]]
        latency_s = median_s([call.wall_s for call in self.record.calls(case.label, group).values()])
        provider = find_provider(self.config.provider).ort_name
        self.record.profiles.append(build_profile(case, group.batch, group.threads, nodes, provider, latency_s, peaks))

    def after_timing(self) -> None:
        """What would disturb the timing if it came before its end: memory, the audit, accuracy."""
        if self.config.memory:
            self.memory()
        if self.config.audit and self.config.provider == CPU:  # an audit is of the CPU
            self.audit()
        if self.config.data is not None:
            self.accuracy(self.config.data)

    def memory(self) -> None:
        """Of everything that was timed."""
        timed = self.record.timed()
        for done, (case, group) in enumerate(timed):
            self.on_progress(Progress("memory", case.label, done, len(timed)))
            self.record.memory[case.label, group] = measure_memory(
                case, group.batch, self.config.provider, group.threads, self.config.allow_fallback
            )

    def audit(self) -> None:
        """The INT8 files that were timed; one that cannot be audited is a note."""
        cases = [case for case in self._timed_cases() if case.contract and case.contract.precision == "int8"]
        for done, case in enumerate(cases):
            self.on_progress(Progress("audit", case.label, done, len(cases)))
            threads = self.record.plan.groups[0].threads
            try:
                with Worker() as worker:
                    answer = worker.ask("audit", label=case.label, path=str(case.path), threads=threads)
            except WorkerError as failed:
                self.record.notes.append(f"{case.label}: not audited: {failed}")
                continue
            self.record.audits.append(decode(AuditFacts, answer))

    def accuracy(self, data: Path) -> None:
        """The trained files that were timed."""
        cases = [case for case in self._timed_cases() if is_trained(case)]
        asked = {"data": str(data), "split": self.config.split, "provider": self.config.provider}
        for done, case in enumerate(cases):
            self.on_progress(Progress("accuracy", case.label, done, len(cases)))
            try:
                with Worker(_ACCURACY_TIMEOUT_S) as worker:
                    self.record.accuracy[case.label] = decode(
                        Accuracy, worker.ask("accuracy", path=str(case.path), **asked)
                    )
            except WorkerError as failed:
                self.fail(case.label, None, None, "accuracy", failed)

    def _timed_cases(self) -> list[BenchCase]:
        timed = {case.label for case, _ in self.record.timed()}
        return [case for case in self.record.plan.cases if case.label in timed]
