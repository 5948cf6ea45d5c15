"""Memory is measured in real child processes; whatever befalls one is a result, not an exception."""

import dataclasses
import os
import sys
from pathlib import Path

import pytest

from rarn_edge.bench.memory import ProbeRequest, measure_baseline, measure_memory
from rarn_edge.bench.memory_probe import peak_rss_bytes

needs_shell = pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for the child")


@pytest.fixture
def request_of(make_onnx) -> ProbeRequest:
    return ProbeRequest(str(make_onnx("model")), "cpu", 1, "input", "float32", (1, 1, 4, 4))


def _stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    child = tmp_path / "child"
    child.write_text(f"#!/bin/sh\n{script}\n")
    child.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(child))


def test_baseline_is_a_python_process_with_onnxruntime() -> None:
    baseline = measure_baseline()
    assert baseline.reason is None
    assert baseline.peak_rss_bytes is not None
    assert 10e6 < baseline.peak_rss_bytes < 500e6


def test_bigger_batches_need_more(request_of: ProbeRequest) -> None:
    """64 MiB of input cannot be hidden."""
    baseline = measure_baseline().peak_rss_bytes
    assert baseline is not None
    small = measure_memory(request_of, baseline).peak_rss_bytes
    large = measure_memory(dataclasses.replace(request_of, input_shape=(1 << 20, 1, 4, 4)), baseline).peak_rss_bytes
    assert small is not None
    assert large is not None
    assert 0 <= small < 50e6
    assert large > small + (64 << 20)


def test_the_parents_own_peak_is_not_inherited() -> None:
    """On Linux ru_maxrss survives fork and exec; a parent that once was large must not make every model large."""
    ballast = bytearray(300 << 20)
    for start in range(0, len(ballast), 4096):
        ballast[start] = 1
    baseline = measure_baseline().peak_rss_bytes
    assert baseline is not None
    assert baseline < len(ballast) < peak_rss_bytes()


def test_an_expected_error_of_the_child_is_its_reason(request_of: ProbeRequest) -> None:
    result = measure_memory(dataclasses.replace(request_of, path="absent.onnx"), 0)
    assert result.peak_rss_bytes is None
    assert result.reason == "absent.onnx: no such file"


def test_an_exception_of_the_child_is_its_reason(request_of: ProbeRequest) -> None:
    result = measure_memory(dataclasses.replace(request_of, input_shape=(1 << 50, 1, 4, 4)), 0)
    assert result.peak_rss_bytes is None
    assert "failed with exit code 1" in (result.reason or "")


@needs_shell
@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("kill -SEGV $$", "killed by SIGSEGV"),
        ("kill -KILL $$", "killed by SIGKILL (out of memory?)"),
        ("exec sleep 30", "no answer within 0.5 s"),
        ("echo nonsense", "answered 'nonsense"),
        ("exit 0", "answered ''"),
    ],
)
def test_a_crash_is_reported(
    request_of: ProbeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    _stand_in(tmp_path, monkeypatch, script)
    result = measure_memory(request_of, 0, timeout_s=0.5 if "sleep" in script else 30)
    assert result.peak_rss_bytes is None
    assert reason in (result.reason or "")
