"""Two results whose relation is known."""

import dataclasses
import json
from pathlib import Path

import pytest

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.compare import compare_reports, slower_than
from rarn_edge.bench.record import Group, Plan, Round, RunRecord
from rarn_edge.bench.result import BenchReport, summarise
from rarn_edge.bench.worker.timing import CallTime
from rarn_edge.errors import InputError
from rarn_edge.host.environment import detect_environment
from rarn_edge.report.bench import bench_json


def report_of(
    factor: float, labels: tuple[str, ...] = ("a", "b"), cpu: str | None = None, launches: tuple[float, ...] = (1.0,)
) -> BenchReport:
    """100 samples of each label around `factor` milliseconds, dealt to launches that are so much slower each."""
    environment = detect_environment()
    if cpu is not None:
        environment = dataclasses.replace(environment, cpu=cpu)
    cases = tuple(BenchCase(label, Path(f"{label}.onnx"), 1000, "input", "float32", (None, 4)) for label in labels)
    record = RunRecord(Plan(environment, "cpu", labels[0], 0, (Group(1, 1),), cases))
    for index in range(100):
        launch = index * len(launches) // 100
        taken = CallTime(factor * launches[launch] * 1e-3 * (1 + 0.01 * (index % 5)))
        record.rounds.append(Round(Group(1, 1), launch, dict.fromkeys(labels, taken), 1e-3 * factor))
    return summarise(record)


def test_ratio_and_verdict() -> None:
    comparison = compare_reports(report_of(1.0), report_of(1.5))
    assert [row.verdict for row in comparison.rows] == ["slower", "slower"]
    assert comparison.rows[0].ratio.value == pytest.approx(1.5)
    assert comparison.workload_ratio == pytest.approx(1.5)
    assert comparison.machine_differences == ()
    assert [row.verdict for row in compare_reports(report_of(1.5), report_of(1.0)).rows] == ["faster", "faster"]
    assert [row.verdict for row in compare_reports(report_of(1.0), report_of(1.0)).rows] == ["same", "same"]


def test_the_gate_fails_only_for_certain() -> None:
    comparison = compare_reports(report_of(1.0), report_of(1.2))
    assert [len(rows) for rows in slower_than(comparison, 1.10)] == [2, 0]
    assert [len(rows) for rows in slower_than(comparison, 1.30)] == [0, 0]
    assert [len(rows) for rows in slower_than(comparison, 1.20)] == [0, 2]


def test_launches_that_differ_leave_doubt() -> None:
    """Processes of one file that differ by some percent from launch to launch: 3 % more of it is no slowdown yet."""
    launches = (0.97, 1.0, 1.03, 0.98, 1.02)
    same = compare_reports(report_of(1.0, launches=launches), report_of(1.03, launches=launches)).rows[0]
    assert (same.verdict, same.ratio.value) == ("same", pytest.approx(1.03))
    assert (
        compare_reports(report_of(1.0, launches=launches), report_of(1.2, launches=launches)).rows[0].verdict
        == "slower"
    )
    for before, after in (
        (report_of(1.0), report_of(1.03, launches=launches)),
        (report_of(1.0, launches=launches), report_of(1.03)),
    ):
        assert (
            compare_reports(before, after).rows[0].verdict == "same"
        )  # what one launch cannot know is taken from the other
    alone = compare_reports(report_of(1.0), report_of(1.03)).rows[0]
    assert alone.verdict == "slower"  # one launch each: the rounds are all that is known


def test_other_rows_are_named_and_none_in_common_is_refused() -> None:
    comparison = compare_reports(report_of(1.0, ("a", "b")), report_of(1.0, ("b", "c")))
    assert [row.label for row in comparison.rows] == ["b"]
    assert "a (cpu, batch 1, 1 threads)" in comparison.only_before[0]
    assert "c (cpu" in comparison.only_after[0]
    with pytest.raises(InputError, match="no row in common"):
        compare_reports(report_of(1.0, ("a",)), report_of(1.0, ("b",)))


@pytest.fixture
def write(tmp_path: Path):
    def write_report(name: str, report: BenchReport) -> Path:
        path = tmp_path / name
        path.write_text(bench_json(report))
        return path

    return write_report


def test_command(cli, write) -> None:
    before, after = write("a.json", report_of(1.0)), write("b.json", report_of(1.5))
    done = cli("compare", before, after, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["rows"][0]["verdict"] == "slower"
    done = cli("compare", before, after)
    assert "same machine" in done.stdout
    done = cli("compare", before, after, "--fail-if-slower", 1.1)
    assert done.returncode == 1
    assert "slower than 1.1 times\na at batch 1: 1.50 times" in done.stderr
    assert cli("compare", before, before, "--fail-if-slower", 1.1).returncode == 0


def test_different_machines(cli, write) -> None:
    before, after = write("a.json", report_of(1.0)), write("b.json", report_of(1.5, cpu="Another CPU"))
    done = cli("compare", before, after)
    assert done.returncode == 0
    assert "different machines: cpu: " in done.stdout
    done = cli("compare", before, after, "--fail-if-slower", 1.1)
    assert done.returncode == 2
    assert "different machines" in done.stderr
    assert "Another CPU" in done.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"kind": "bench", "schema_version": 99}', "schema 99, expected 4"),
        ('{"kind": "other"}', "not a benchmark result"),
        ("[1]", "not a benchmark result"),
        ("{", "not a readable JSON file"),
    ],
)
def test_what_is_not_a_result(cli, write, tmp_path: Path, content: str, message: str) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(content)
    done = cli("compare", write("a.json", report_of(1.0)), bad)
    assert done.returncode == 2
    assert "bad.json" in done.stderr
    assert message in done.stderr


def test_a_limit_below_one_is_refused(cli, write) -> None:
    path = write("a.json", report_of(1.0))
    done = cli("compare", path, path, "--fail-if-slower", 0.5)
    assert done.returncode == 2
    assert "at least 1" in done.stderr
