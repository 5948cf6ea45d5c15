"""The benchmark on real sessions over tiny models: structure, never durations."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest
from rich.console import Console

from rarn_edge.bench import runner
from rarn_edge.bench.cases import BenchCase, load_case, load_cases
from rarn_edge.bench.config import BenchConfig, Progress, find_reference
from rarn_edge.bench.extras import measure
from rarn_edge.bench.extras.memory import Memory, MemoryResult
from rarn_edge.bench.record import Group, Opened, Plan, Round, RunRecord, check_journal
from rarn_edge.bench.result import NOT_MEASURED, BenchReport, load_report, row_warnings, summarise
from rarn_edge.bench.runner import benchmark
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.bench.worker.timing import CallTime
from rarn_edge.contract.artifact import Contract
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.host.environment import detect_environment
from rarn_edge.host.threads import default_threads
from rarn_edge.report.bench import bench_table, bench_warnings, extra_tables, failure_lines
from rarn_edge.runtime.providers import PROVIDERS
from rarn_edge.stats.ratio import latency_ratio


@pytest.fixture(scope="module")
def report(make_onnx) -> BenchReport:
    contract = Contract(ModelSpec("rarn-s"), parameters=1_600_000, multiply_adds=89_000_000)
    cases = load_cases([make_onnx("ours", contract=contract), make_onnx("foreign")])
    return benchmark(
        cases, BenchConfig(batches=(1, 4), threads=(1,), rounds=64, reference_label="foreign", memory=False)
    )


def test_rows(report: BenchReport) -> None:
    assert [(row.label, row.batch) for row in report.rows] == [("ours", 1), ("foreign", 1), ("ours", 4), ("foreign", 4)]
    ours, foreign, ours_4, _ = report.rows
    assert len(ours.samples_s) == 64
    assert ours.latency_p90_s is not None
    assert ours.latency_p90_s >= ours.latency_median_s
    assert ours_4.throughput_images_per_s == pytest.approx(4 / ours_4.latency_median_s)
    assert (ours.model, ours.parameters, ours.multiply_adds, ours.precision) == (
        "rarn-s",
        1_600_000,
        89_000_000,
        "float32",
    )
    assert (foreign.model, foreign.parameters, foreign.precision, foreign.target) == (None, None, None, None)
    assert foreign.latency_ratio is not None
    assert ours.latency_ratio is not None
    assert foreign.latency_ratio.low == foreign.latency_ratio.high == 1.0
    assert ours.latency_ratio.low <= ours.latency_ratio.high
    assert (ours.peak_rss_bytes, ours.peak_rss_missing) == (None, NOT_MEASURED)
    assert (ours.threads, ours.latency_p95_s, ours.sample_rounds) == (1, None, tuple(range(64)))
    assert report.overhead_s is not None
    assert len(report.workload_s) == 128
    assert report.launches == 5
    assert [ours.sample_launches.count(launch) for launch in range(5)] == [13, 13, 13, 13, 12]
    assert ours.sample_launches == foreign.sample_launches == tuple(sorted(ours.sample_launches))
    assert sum(map(len, ours.samples_by_launch())) == 64
    assert report.failures == ()


def test_json_round_trip(report: BenchReport) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    assert data["schema_version"] == 4
    assert len(data["rows"][0]["samples_s"]) == 64
    assert len(data["rows"][0]["sample_starts"]) == 64
    assert len(data["yardstick_s"]) == 128
    assert BenchReport.from_dict(data) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema 99, expected 4"),
        ({"kind": "parity"}, "not a benchmark result"),
        ({"rows": [{"label": "x"}]}, r"damaged benchmark result: rows\[0\]: the key 'provider' is missing"),
        ({"schema_version": 3}, "schema 3, expected 4"),
        ({"colour": "red"}, "unknown key 'colour'"),
    ],
)
def test_foreign_json_is_refused(report: BenchReport, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BenchReport.from_dict({**report.to_dict(), **change})


def test_table_fits_80_columns(report: BenchReport) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(bench_table(report).to_rich())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("ours", "foreign", "reference", "1.60 M, 89 MMAC", "float32", "1 thread", "64 interleaved rounds"):
        assert part in " ".join(text.split())
    assert "…" not in text


def about_rows(report: BenchReport) -> list[str]:
    """The warnings without those about this machine at this moment."""
    rows = []
    for row in report.rows:
        kept = tuple(text for text in row.warnings if "still changed" not in text and "calls waited" not in text)
        rows.append(dataclasses.replace(row, warnings=kept))
    return bench_warnings(dataclasses.replace(report, warnings=(), rows=tuple(rows)))


def test_memory_is_measured_per_case_and_batch(make_onnx) -> None:
    seen: list[Progress] = []
    report = benchmark(load_cases([make_onnx("model")]), BenchConfig(threads=(1,), rounds=3), on_progress=seen.append)
    (row,) = report.rows
    assert row.peak_rss_bytes is not None
    assert row.peak_rss_missing is None
    assert [step.stage for step in seen] == ["open", "warm-up", "timing", "timing", "timing", "memory"]


def test_a_gpu_has_columns_of_its_own(report: BenchReport) -> None:
    plain = {table.title: [column.name for column in table.columns] for table in extra_tables(report)}
    memory = Memory(1, 2, 3, 4, 5, 6, device_bytes=7_000_000)
    rows = tuple(dataclasses.replace(row, device_median_s=0.002, memory=memory) for row in report.rows)
    latency, in_memory = extra_tables(dataclasses.replace(report, rows=rows))[:2]
    assert "no copies" not in plain["Latency"]
    assert (latency.columns[-1].name, latency.rows[0].cells[-1]) == ("no copies", "2.00")
    assert (in_memory.columns[-1].name, in_memory.rows[0].cells[-1]) == ("on the\nGPU", "7.0")


def test_a_failed_memory_measurement_does_not_end_the_run(make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = MemoryResult(None, "its process was killed by SIGSEGV")
    monkeypatch.setattr(measure, "measure_memory", lambda *_: crash)
    report = benchmark(load_cases([make_onnx("model")]), BenchConfig(threads=(1,), rounds=64))
    assert report.rows[0].peak_rss_missing == crash.reason
    assert about_rows(report) == [f"model: no memory figures: {crash.reason}"]


def test_few_rounds_withhold_p90_and_say_so(make_onnx) -> None:
    request = BenchConfig(batches=(1, 2), threads=(1,), rounds=5, memory=False)
    report = benchmark(load_cases([make_onnx("model")]), request)
    assert [row.latency_p90_s for row in report.rows] == [None, None]
    assert about_rows(report) == ["all rows: 5 rounds, p90 needs 64: raise --rounds or --budget"]


def test_a_sweep_of_threads(make_onnx) -> None:
    report = benchmark(
        load_cases([make_onnx("model")]), BenchConfig(threads=(1, default_threads() + 1), rounds=2, memory=False)
    )
    assert [row.threads for row in report.rows] == [1, default_threads() + 1]
    assert any("wait for each other: --threads" in text for text in report.rows[1].warnings)


def test_int8_file_for_another_cpu_is_said(make_onnx) -> None:
    other = Target.X86_AVX2 if detect_host().target is Target.ARM else Target.ARM
    case = load_case(make_onnx("model", contract=Contract(ModelSpec("rarn-s"), "int8", other)))
    (row,) = benchmark([case], BenchConfig(threads=(1,), rounds=2, memory=False)).rows
    assert row.target == other.value
    assert any(f"made for {other.value}" in text for text in row.warnings)


@pytest.mark.parametrize(
    ("runs_on", "warnings"),
    [
        (Target.ARM, ()),
        (Target.X86_AVX2, ("made for arm, may be wrong on x86-avx2: quantize here",)),
        (Target.X86_VNNI, ("made for arm, may be slow on x86-vnni: quantize here",)),
    ],
)
def test_a_file_is_judged_by_the_cpu_that_was_measured(
    tmp_path: Path, runs_on: Target, warnings: tuple[str, ...]
) -> None:
    contract = Contract(ModelSpec("rarn-s"), "int8", Target.ARM)
    case = BenchCase("model", tmp_path / "model.onnx", 1, "input", "float32", (None, 4), contract)
    environment = dataclasses.replace(detect_environment(), int8_target=runs_on.value)
    record = RunRecord(Plan(environment, "cpu", "model", 0, (Group(1, 1),), (case,)))
    found = row_warnings(record, "model", Group(1, 1))
    assert tuple(text for text in found if "made for" in text) == warnings


def test_quantized_foreign_file_on_cuda_is_said(make_qdq_onnx) -> None:
    """No GPU here: the plan says cuda, the worker says what is in the graph."""
    case = load_case(make_qdq_onnx("quantized"))
    for provider, expected in (("cuda", True), ("cpu", False)):
        plan = Plan(detect_environment(), provider, case.label, 0, (Group(1, 1),), (case,))
        record = RunRecord(plan, opened={(case.label, 1): Opened(0.1, 3, 0, quantized=True)})
        warnings = row_warnings(record, case.label, Group(1, 1))
        assert any("CUDA has no INT8" in text for text in warnings) is expected


def test_ratios_are_of_the_rounds_that_both_took_part_in(tmp_path: Path) -> None:
    """Three rounds of a and the reference, the second without a, the third without the reference."""
    cases = [BenchCase(label, tmp_path / f"{label}.onnx", 1, "input", "float32", (None, 4)) for label in ("a", "ref")]
    record = RunRecord(Plan(detect_environment(), "cpu", "ref", 0, (Group(1, 1),), tuple(cases)))
    for taken in ({"a": 1.0, "ref": 10.0}, {"ref": 20.0}, {"a": 2.0}, {"a": 3.0, "ref": 30.0}):
        calls = {label: CallTime(wall_s) for label, wall_s in taken.items()}
        record.rounds.append(Round(Group(1, 1), 0, calls, 1.0))
    ours, reference = summarise(record).rows
    assert (ours.samples_s, ours.sample_rounds) == ((1.0, 2.0, 3.0), (0, 2, 3))
    assert (reference.samples_s, reference.sample_rounds) == ((10.0, 20.0, 30.0), (0, 1, 3))
    assert ours.latency_ratio == latency_ratio([1.0, 3.0], [10.0, 30.0])
    assert (ours.cpu_median_s, ours.device_median_s) == (None, None)


def test_calls_that_waited_for_a_processor_are_said(tmp_path: Path) -> None:
    case = BenchCase("model", tmp_path / "model.onnx", 1, "input", "float32", (None, 4))
    for cpu_s, expected in ((0.5, True), (0.95, False)):
        record = RunRecord(Plan(detect_environment(), "cpu", "model", 0, (Group(1, 1),), (case,)))
        record.rounds += [Round(Group(1, 1), 0, {"model": CallTime(1.0, cpu_s)}, 1.0) for _ in range(64)]
        (row,) = summarise(record).rows
        assert row.cpu_median_s == cpu_s
        assert any("calls waited for a core" in text for text in row.warnings) is expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": (0,)}, "batch is at least 1, found 0"),
        ({"batches": ()}, "no batch size"),
        ({"batches": (1, 1)}, "given twice"),
        ({"threads": (0,)}, "threads is at least 1"),
        ({"threads": (1, 1)}, "number of threads is given twice"),
        ({"rounds": 0}, "rounds is at least 1"),
        ({"launches": 0}, "starts is at least 1"),
        ({"rounds": None}, "rounds or a time budget"),
        ({"budget_s": 0.0}, "time budget"),
        ({"budget_s": float("nan")}, "time budget"),
        ({"reference_label": "nobody"}, "no model 'nobody' to compare with; one of: model"),
        ({"provider": "gpu"}, "no provider 'gpu'"),
    ],
)
def test_impossible_options(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    case = BenchCase("model", tmp_path / "model.onnx", 1, "input", "float32", (None, 1, 4, 4))
    with pytest.raises(InputError, match=message):
        benchmark([case], BenchConfig(**{"memory": False, **options}))


def test_an_audit_is_of_the_cpu(tmp_path: Path) -> None:
    case = BenchCase("model", tmp_path / "model.onnx", 1, "input", "float32", (None, 1, 4, 4))
    with pytest.raises(InputError, match="what runs in INT8 on the CPU: leave --audit or --provider out"):
        find_reference([case], BenchConfig(provider="cuda", audit=True))  # wherever CUDA is installed


def test_impossible_cases(tmp_path: Path) -> None:
    case = BenchCase("model", tmp_path / "model.onnx", 1, "input", "float32", (None, 1, 4, 4))
    with pytest.raises(InputError, match="nothing to benchmark"):
        benchmark([], BenchConfig())
    with pytest.raises(InputError, match="same label"):
        benchmark([case, case], BenchConfig())
    with pytest.raises(InputError, match="fixed at 2, asked for 1"):
        benchmark([case, dataclasses.replace(case, label="fixed", input_shape=(2, 1, 4, 4))], BenchConfig())


def test_models_that_fail_are_reported_and_the_others_measured(make_onnx) -> None:
    """One cannot take its input, one crashed the runtime while it was read, one asks for more memory than there is."""
    good = load_case(make_onnx("good"))
    wrong = dataclasses.replace(good, label="wrong", input_shape=(None, 1, 5, 5))
    crashed = dataclasses.replace(good, label="crashed", broken="while it was read, its process was killed by SIGSEGV")
    huge = dataclasses.replace(good, label="huge", input_shape=(None, 1, 1 << 20, 1 << 20))
    request = BenchConfig(threads=(1,), rounds=3, memory=False)
    report = benchmark([good, wrong, crashed, huge], request)
    assert [(row.label, len(row.samples_s)) for row in report.rows] == [("good", 3)]
    failures = {failure.label: (failure.stage, failure.reason) for failure in report.failures}
    assert failures["crashed"] == ("load", crashed.broken)
    assert failures["wrong"][0] == failures["huge"][0] == "warm-up"
    assert "invalid dimensions" in failures["wrong"][1]
    assert failures["huge"][1] == "out of memory"
    assert any(line.startswith("huge at batch 1 was not measured (warm-up): ") for line in failure_lines(report))


def test_a_process_that_dies_in_the_rounds_is_a_failure(make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of `victim` is killed as a crash or the system's memory killer would, while the others go on."""
    victims: list[Worker] = []
    killed = []
    ask = Worker.ask

    def deadly(self: Worker, command: str, **arguments: Any) -> dict[str, Any]:
        if command == "open" and "victim" in arguments["path"]:
            victims.append(self)
        if command == "call" and self in victims and not killed:
            self._process.kill()
            killed.append(self)
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", deadly)
    cases = load_cases([make_onnx("good"), make_onnx("victim")])
    report = benchmark(cases, BenchConfig(batches=(1, 2), threads=(1,), rounds=3, memory=False))
    assert [(row.label, row.batch) for row in report.rows] == [("good", 1), ("good", 2), ("victim", 2)]  # it is revived
    (failure,) = report.failures
    assert (failure.label, failure.batch, failure.stage) == ("victim", 1, "timing")


def test_nothing_measured_is_an_error_with_the_reason(make_onnx) -> None:
    case = dataclasses.replace(load_case(make_onnx("model")), input_shape=(None, 1, 5, 5))
    with pytest.raises(InputError, match=r"model: does not run at batch 1 \("):
        benchmark([case], BenchConfig(threads=(1,), memory=False))


def test_unavailable_provider_measures_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    available = ort.get_available_providers()
    absent = next(name for name, entry in PROVIDERS.items() if entry.ort_name not in available)
    monkeypatch.setattr(runner, "Worker", lambda *_: pytest.fail("a process was started"))
    case = BenchCase("model", tmp_path / "model.onnx", 1, "input", "float32", (None, 1, 4, 4))
    with pytest.raises(ProviderError) as caught:
        benchmark([case], BenchConfig(provider=absent))
    assert caught.value.exit_code == 3


def test_scenarios_and_profile(make_onnx) -> None:
    contract = Contract(ModelSpec("rarn-s"), multiply_adds=16)
    request = BenchConfig(threads=(1,), rounds=3, memory=False, server=True, multi_stream=True, profile=True)
    report = benchmark([load_case(make_onnx("model", contract=contract))], request)
    (server,), (stream,), (profile,) = report.servers, report.multi_streams, report.profiles
    assert server.queries == 662
    assert all(probe.met is (probe.p99_s is not None and probe.p99_s <= server.bound_s) for probe in server.probes)
    assert (stream.images, stream.p99_s is None) == (8, False)
    assert sum(each.share for each in profile.operators) == pytest.approx(1)
    assert profile.provider_share == pytest.approx(1)
    assert profile.bytes_moved > 0
    assert profile.peaks.float32_macs_per_s > 1e6
    assert BenchReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    titles = [table.title for table in extra_tables(report)]
    assert any(title.startswith("Server") for title in titles)
    assert any("limits" in title for title in titles)


def test_a_killed_run_leaves_what_it_had(make_onnx, tmp_path: Path) -> None:
    """Whatever is written after the n-th round is a readable result of n rounds, wherever the last line was cut."""
    journal = tmp_path / "result.json.partial"
    cases = load_cases([make_onnx("a"), make_onnx("b")])
    full = benchmark(cases, BenchConfig(threads=(1,), rounds=11, launches=3, memory=False), journal)
    assert full.launches == 3
    lines = journal.read_text().splitlines()
    cut = tmp_path / "cut.partial"
    for end in range(len(lines[-1])):
        cut.write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:end])
        report = load_report(cut)
        for row, whole in zip(report.rows, full.rows, strict=True):
            assert row.samples_s == whole.samples_s[:10]
            assert row.sample_launches == whole.sample_launches[:10] == (0, 0, 0, 0, 1, 1, 1, 1, 2, 2)
        assert any("was killed" in text for text in report.warnings)
    cut.write_text("\n".join(lines) + "\n")
    assert [row.latency_ratio for row in load_report(cut).rows] == [row.latency_ratio for row in full.rows]
    with pytest.raises(InputError, match=r"a run that was killed left .*result\.json\.partial"):
        load_report(tmp_path / "result.json")
    cut.write_text(lines[0] + "\n")
    with pytest.raises(InputError, match="before its first round"):
        load_report(cut)


def test_the_rounds_of_a_stopped_run_are_not_overwritten(make_onnx, tmp_path: Path) -> None:
    journal, case = tmp_path / "result.json.partial", load_case(make_onnx("a"))
    config = BenchConfig(threads=(1,), rounds=3, launches=1, memory=False)
    benchmark([case], config, journal)
    before = journal.read_text()
    for again in (lambda: benchmark([case], config, journal), lambda: check_journal(journal)):
        with pytest.raises(
            InputError, match=r"result\.json\.partial: holds 3 rounds of a run that was stopped, .* move it"
        ):
            again()
    assert journal.read_text() == before
    assert len(load_report(journal).rows[0].samples_s) == 3
    journal.write_text(before.splitlines()[0] + "\n")  # stopped before its first round
    benchmark([case], config, journal)
    assert journal.read_text().count('{"round"') == 3


@pytest.mark.parametrize("question", ["overhead", "peaks"])
def test_a_side_question_without_an_answer_costs_no_report(
    question: str, make_onnx, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Worker.ask

    def silent(self: Worker, command: str, **arguments: Any) -> dict[str, Any]:
        if command == question:
            raise WorkerError("gave no answer")
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", silent)
    request = BenchConfig(threads=(1,), rounds=3, launches=1, memory=False, profile=True)
    report = benchmark([load_case(make_onnx("model"))], request)
    assert len(report.rows[0].samples_s) == 3
    assert (report.overhead_s is None) is (question == "overhead")
    assert bool(report.profiles) is (question == "overhead")
    assert any("peaks were not measured: gave no answer" in text for text in report.warnings) is (question == "peaks")


def test_device_side_needs_no_torch() -> None:
    blocked = "import sys; [sys.modules.__setitem__(name, None) for name in ('torch', 'onnx', 'onnxsim')]"
    code = f"{blocked}; import rarn_edge.bench.runner, rarn_edge.bench.worker.process, rarn_edge.report.bench"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_parent_stays_small(python, make_onnx) -> None:
    """Under 150 MB and without torch when all inputs are ONNX files."""
    code = (
        "import sys, rarn_edge.cli; sys.argv[0] = 'rarn-edge'\n"
        "try: rarn_edge.cli.main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules\n"
        "from rarn_edge.host.memory import peak_rss_bytes; print(peak_rss_bytes(), file=sys.stderr)"
    )
    done = python("-c", code, "bench", make_onnx("model"), "--rounds", 3, "--threads", 1, "--no-memory")
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 150e6
