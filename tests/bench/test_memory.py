"""Memory is measured in real child processes; whatever befalls one is a result, not an exception."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from rarn_edge.bench.cases import BenchCase, load_case
from rarn_edge.bench.extras.memory import measure_memory
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.boundary.paths import MODEL_HINT
from rarn_edge.host.memory import peak_rss_bytes

needs_shell = pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the child")


@pytest.fixture
def case(make_onnx) -> BenchCase:
    return load_case(make_onnx("model"))


def test_bigger_batches_need_more(case: BenchCase) -> None:
    """64 MiB of input cannot be hidden, and the parent's own peak is not inherited."""
    ballast = bytearray(300 << 20)
    for start in range(0, len(ballast), 4096):
        ballast[start] = 1
    small = measure_memory(case, 1, "cpu", 1).memory
    large = measure_memory(case, 1 << 20, "cpu", 1).memory
    assert small is not None
    assert large is not None
    assert 10e6 < small.import_bytes < len(ballast) < peak_rss_bytes()
    assert 0 <= small.peak_bytes < 50e6
    assert large.peak_bytes > small.peak_bytes + (64 << 20)
    assert large.peak_without_arena_bytes is not None
    if sys.platform == "linux":
        assert large.session_bytes is not None
        assert large.steady_bytes is not None
        assert large.session_bytes < large.steady_bytes <= large.peak_bytes


def test_an_expected_error_of_the_child_is_its_reason(case: BenchCase) -> None:
    result = measure_memory(dataclasses.replace(case, path=Path("absent.onnx")), 1, "cpu", 1)
    assert (result.memory, result.reason) == (None, f"absent.onnx: no such file; {MODEL_HINT}")


def test_a_batch_beyond_all_memory_is_a_reason(case: BenchCase) -> None:
    result = measure_memory(case, 1 << 46, "cpu", 1)
    assert result.memory is None
    assert result.reason is not None
    assert "allocate" in result.reason or "memory" in result.reason


@needs_shell
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "was killed by SIGSEGV"),
        ("kill -KILL $$", "was killed by SIGKILL (out of memory?)"),
        ("exec sleep 30", "gave no answer to 'memory' within 0.5 s"),
        ("echo nonsense; exec sleep 30", "answered 'nonsense'"),
        ("echo library missing >&2; exit 3", "ended with exit code 3: library missing"),
        ("exit 0", "ended with exit code 0: no message"),
    ],
)
def test_a_crash_is_reported(
    case: BenchCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\n{script}\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    result = measure_memory(case, 1, "cpu", 1, open_worker=lambda: Worker(0.5 if "sleep" in script else 30))
    assert result.memory is None
    assert reason in (result.reason or "")


@needs_shell
def test_a_dead_worker_answers_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child"
    child.write_text("#!/bin/sh\nkill -SEGV $$\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))
    with Worker() as worker:
        for _ in range(2):
            with pytest.raises(WorkerError, match="SIGSEGV"):
                worker.ask("memory")
        assert not worker.alive
