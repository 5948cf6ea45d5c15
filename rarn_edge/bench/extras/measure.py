"""What is measured beside the timed rounds of a run, one model at a time, into its record."""

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.extras.accuracy import Accuracy, is_trained
from rarn_edge.bench.extras.audit import AuditFacts
from rarn_edge.bench.extras.memory import measure_memory
from rarn_edge.bench.extras.profile import NodeCost, build_profile
from rarn_edge.bench.extras.scenarios import MULTI_STREAM_IMAGES, find_server_rate, measure_stream
from rarn_edge.bench.record import Group, Run
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.decode import decode
from rarn_edge.runtime.peaks import Peaks
from rarn_edge.runtime.providers import find_provider
from rarn_edge.stats.ratio import median_s

WARM_UP_S = 3.0
_PROFILE_WARM_UP_S = 1.0
_PROFILE_CALLS = 30
_SERVER_CALLS = 20  # whose median is where the search for a rate begins
_ACCURACY_TIMEOUT_S = 3600.0


def measure_scenarios(run: Run, workers: Mapping[str, Worker], threads: int) -> None:
    """Server and multi-stream, model after model: each needs the machine for itself."""
    alive = [(label, worker) for label, worker in workers.items() if worker.alive]
    if run.config.server:
        run.each("server", [(label, 1, partial(_serve, run, w, label, threads)) for label, w in alive], threads)
    if run.config.multi_stream:
        jobs = [(label, MULTI_STREAM_IMAGES, partial(_stream, run, w, label, threads)) for label, w in alive]
        run.each("multi-stream", jobs, threads)


def _serve(run: Run, worker: Worker, label: str, threads: int) -> None:
    run.prepare(worker, run.record.plan.case(label), 1, WARM_UP_S)
    latency_s = median_s([worker.ask("call")["wall_s"] for _ in range(_SERVER_CALLS)])
    bound_s, seed = run.config.server_bound_s, run.config.seed
    run.record.servers.append(find_server_rate(worker, label, threads, latency_s, bound_s, seed))


def _stream(run: Run, worker: Worker, label: str, threads: int) -> None:
    run.prepare(worker, run.record.plan.case(label), MULTI_STREAM_IMAGES, WARM_UP_S)
    run.record.multi_streams.append(measure_stream(worker, label, threads))


def measure_profiles(run: Run, threads: int) -> None:
    """Where the time goes, each model in a process of its own under ONNX Runtime's profiler.

    Without the machine's peaks, which stand beside it, there is a note instead.
    """
    if not run.config.profile:
        return
    try:
        with Worker() as worker:
            peaks = decode(Peaks, worker.ask("peaks", threads=threads))
    except WorkerError as failed:
        run.record.notes.append(f"no profile with {threads} threads: the machine's peaks were not measured: {failed}")
        return
    timed = [(case, group) for case, group in run.record.timed() if group.threads == threads]
    run.each("profile", [(c.label, g.batch, partial(_profile, run, c, g, peaks)) for c, g in timed], threads)


def _profile(run: Run, case: BenchCase, group: Group, peaks: Peaks) -> None:
    with tempfile.TemporaryDirectory() as folder, Worker() as worker:
        run.open(worker, case, group.threads, profile_prefix=str(Path(folder) / "profile"))
        run.prepare(worker, case, group.batch, _PROFILE_WARM_UP_S)
        nodes = [decode(NodeCost, node) for node in worker.ask("profile", count=_PROFILE_CALLS)["nodes"]]
    latency_s = median_s([call.wall_s for call in run.record.calls(case.label, group).values()])
    provider = find_provider(run.config.provider).ort_name
    run.record.profiles.append(build_profile(case, group.batch, group.threads, nodes, provider, latency_s, peaks))


def measure_after_timing(run: Run) -> None:
    """What would disturb the timing if it came before its end: memory, the audit, accuracy."""
    timed = run.record.timed()
    cases = list({case.label: case for case, _ in timed}.values())
    if run.config.memory:
        run.each("memory", [(case.label, group.batch, partial(_memory, run, case, group)) for case, group in timed])
    if run.config.audit:
        int8 = [case for case in cases if case.contract is not None and case.contract.precision == "int8"]
        run.each("audit", [(case.label, None, partial(_audit, run, case)) for case in int8])
    if run.config.data is not None:
        trained = [case for case in cases if is_trained(case)]
        run.each("accuracy", [(case.label, None, partial(_accuracy, run, case)) for case in trained])


def _memory(run: Run, case: BenchCase, group: Group) -> None:
    provider, allow_fallback = run.config.provider, run.config.allow_fallback
    found = measure_memory(case, group.batch, provider, group.threads, allow_fallback)
    run.record.memory[case.label, group] = found


def _audit(run: Run, case: BenchCase) -> None:
    """A file that cannot be audited is a note."""
    threads = run.record.plan.groups[0].threads
    try:
        with Worker() as worker:
            answer = worker.ask("audit", label=case.label, path=str(case.path), threads=threads)
        run.record.audits.append(decode(AuditFacts, answer))
    except WorkerError as failed:
        run.record.notes.append(f"{case.label}: not audited: {failed}")


def _accuracy(run: Run, case: BenchCase) -> None:
    with Worker(_ACCURACY_TIMEOUT_S) as worker:
        answer = worker.ask(
            "accuracy",
            path=str(case.path),
            data=str(run.config.data),
            split=run.config.split,
            votes=None if run.config.votes is None else str(run.config.votes),
            provider=run.config.provider,
            allow_fallback=run.config.allow_fallback,
        )
    run.record.accuracy[case.label] = decode(Accuracy, answer)
