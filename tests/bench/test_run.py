"""The benchmark on real sessions over tiny models: structure, never durations."""

import dataclasses
import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from rarn_edge.artifact import Contract
from rarn_edge.bench import run
from rarn_edge.bench.cases import load_case, load_cases
from rarn_edge.bench.memory import MemoryResult
from rarn_edge.bench.result import NOT_MEASURED, BenchReport
from rarn_edge.bench.run import Progress, benchmark
from rarn_edge.errors import InputError, ProviderError
from rarn_edge.providers import PROVIDERS, open_session
from rarn_edge.report.bench_table import bench_table, bench_warnings
from rarn_edge.spec import ModelSpec
from rarn_edge.targets import Target, detect_host


@pytest.fixture
def report(make_onnx) -> BenchReport:
    contract = Contract(ModelSpec("rarn-s"), parameters=1_600_000, multiply_adds=89_000_000)
    cases = load_cases([make_onnx("ours", contract=contract), make_onnx("foreign")])
    return benchmark(cases, batches=(1, 4), threads=1, rounds=64, reference_label="foreign", memory=False)


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
    assert foreign.latency_ratio.low == foreign.latency_ratio.high == 1.0
    assert ours.latency_ratio.low <= ours.latency_ratio.high
    assert (ours.peak_rss_bytes, ours.peak_rss_missing) == (None, NOT_MEASURED)
    assert report.environment.threads == 1


def test_json_round_trip(report: BenchReport) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    assert data["schema_version"] == 1
    assert len(data["rows"][0]["samples_s"]) == 64
    assert BenchReport.from_dict(data) == report


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 99}, "schema 99, expected 1"),
        ({"kind": "parity"}, "not a benchmark result"),
        ({"rows": [{"label": "x"}]}, "damaged benchmark result"),
    ],
)
def test_foreign_json_is_refused(report: BenchReport, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BenchReport.from_dict({**report.to_dict(), **change})


def test_table_fits_80_columns(report: BenchReport) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=False)
    console.print(bench_table(report))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for part in ("ours", "foreign", "reference", "1.60 M, 89 MMAC", "float32", "1 thread", "64 interleaved rounds"):
        assert part in " ".join(text.split())
    assert "…" not in text
    assert bench_warnings(report) == []


def test_memory_is_measured_per_case_and_batch(make_onnx) -> None:
    seen: list[Progress] = []
    report = benchmark(load_cases([make_onnx("model")]), threads=1, rounds=3, on_progress=seen.append)
    (row,) = report.rows
    assert row.peak_rss_bytes is not None
    assert row.peak_rss_missing is None
    assert [step.stage for step in seen] == ["memory", "memory", "warm-up", "timing", "timing", "timing"]


def test_a_crashed_memory_child_does_not_end_the_run(make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    crash = MemoryResult(None, "the measuring process was killed by SIGSEGV")
    monkeypatch.setattr(run, "measure_memory", lambda *_: crash)
    report = benchmark(load_cases([make_onnx("model")]), threads=1, rounds=64)
    assert report.rows[0].peak_rss_missing == crash.reason
    assert bench_warnings(report) == [f"model at batch 1: no peak memory: {crash.reason}"]


def test_few_rounds_withhold_p90_and_say_so(make_onnx) -> None:
    report = benchmark(load_cases([make_onnx("model")]), batches=(1, 2), threads=1, rounds=5, memory=False)
    assert [row.latency_p90_s for row in report.rows] == [None, None]
    assert bench_warnings(report) == [
        "all rows: 5 timed rounds, p90 needs 64: raise the rounds or the time budget",
    ]


def test_int8_file_for_another_cpu_is_said(make_onnx) -> None:
    other = Target.X86_AVX2 if detect_host().target is Target.ARM else Target.ARM
    case = load_case(make_onnx("model", contract=Contract(ModelSpec("rarn-s"), "int8", other)))
    (row,) = benchmark([case], threads=1, rounds=64, memory=False).rows
    assert row.target == other.value
    assert any(f"made for {other.value}" in text for text in row.warnings)


def test_quantized_foreign_file_on_cuda_is_said(make_qdq_onnx) -> None:
    """No GPU here: the session is a CPU one, and only its operators are looked at."""
    case = load_case(make_qdq_onnx("quantized"))
    session = open_session(case.path, threads=1)
    if not hasattr(session, "get_provider_graph_assignment_info"):
        pytest.skip("this ONNX Runtime cannot list operators")
    assert any("CUDA provider has no INT8" in text for text in run._warnings(case, session, "cuda", 1, 64))
    assert run._warnings(case, session, "cpu", 1, 64) == ()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batches": (0,)}, "batch is at least 1, found 0"),
        ({"batches": ()}, "no batch size"),
        ({"batches": (1, 1)}, "given twice"),
        ({"threads": 0}, "threads is at least 1"),
        ({"rounds": 0}, "rounds is at least 1"),
        ({"budget_s": 0.0}, "time budget"),
        ({"budget_s": float("nan")}, "time budget"),
        ({"reference_label": "nobody"}, "no model 'nobody' to compare with; one of: model"),
        ({"provider": "gpu"}, "no provider 'gpu'"),
    ],
)
def test_impossible_options(make_onnx, options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        benchmark(load_cases([make_onnx("model")]), **{"memory": False, **options})


def test_impossible_cases(make_onnx) -> None:
    case = load_case(make_onnx("model"))
    with pytest.raises(InputError, match="nothing to benchmark"):
        benchmark([])
    with pytest.raises(InputError, match="same label"):
        benchmark([case, case])
    with pytest.raises(InputError, match="fixed at 2, asked for 1"):
        benchmark([case, load_case(make_onnx("fixed", shape=(2, 1, 4, 4)))])


def test_a_model_that_does_not_run_is_named(make_onnx) -> None:
    case = dataclasses.replace(load_case(make_onnx("model")), input_shape=(None, 1, 5, 5))
    with pytest.raises(InputError, match=r"model: does not run at batch 1 \("):
        benchmark([case], threads=1, memory=False)


def test_unavailable_provider_measures_nothing(make_onnx, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = next(name for name, entry in PROVIDERS.items() if entry.ort_name not in run.ort.get_available_providers())
    monkeypatch.setattr(run, "open_session", lambda *_, **__: pytest.fail("a session was opened"))
    monkeypatch.setattr(run, "measure_baseline", lambda *_: pytest.fail("memory was measured"))
    with pytest.raises(ProviderError) as caught:
        benchmark(load_cases([make_onnx("model")]), absent)
    assert caught.value.exit_code == 3


def test_device_side_needs_no_torch() -> None:
    blocked = "import sys; [sys.modules.__setitem__(name, None) for name in ('torch', 'onnx', 'onnxsim')]"
    code = f"{blocked}; import rarn_edge.bench.run, rarn_edge.bench.memory_probe, rarn_edge.report.bench_table"
    subprocess.run([sys.executable, "-c", code], check=True)
