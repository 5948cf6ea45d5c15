"""Peak resident memory, each measurement in a fresh process, so that no model pays for the one before it.

What a process that only imports the same modules needs is subtracted: what remains is the model's.
"""

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import rarn_edge

_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class ProbeRequest:
    """One model at one batch size on one provider."""

    path: str
    provider: str
    threads: int
    input_name: str
    input_dtype: str
    input_shape: tuple[int, ...]


@dataclass(frozen=True)
class MemoryResult:
    """Peak resident memory, or None with the reason it could not be measured."""

    peak_rss_bytes: int | None
    reason: str | None = None


def measure_baseline(timeout_s: float = _TIMEOUT_S) -> MemoryResult:
    """What Python, NumPy and ONNX Runtime need before any model."""
    return _probe("{}", timeout_s)


def measure_memory(request: ProbeRequest, baseline_bytes: int, timeout_s: float = _TIMEOUT_S) -> MemoryResult:
    """The model's peak above the baseline; a child that fails, crashes or hangs is a result with its reason."""
    result = _probe(json.dumps(asdict(request)), timeout_s)
    if result.peak_rss_bytes is None:
        return result
    return MemoryResult(max(0, result.peak_rss_bytes - baseline_bytes))


def _probe(argument: str, timeout_s: float) -> MemoryResult:
    """Run the child from wherever this package was imported; `-P` keeps the working folder out of its imports."""
    command = [sys.executable, "-P", "-m", "rarn_edge.bench.memory_probe", argument]
    package_home = str(Path(rarn_edge.__file__).parent.parent)
    search_path = os.pathsep.join(filter(None, (package_home, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": search_path}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return MemoryResult(None, f"the measuring process gave no answer within {timeout_s:g} s")
    except OSError as error:
        return MemoryResult(None, f"the measuring process could not start ({error.strerror})")
    if done.returncode != 0:
        return MemoryResult(None, _explain_crash(done.returncode, done.stderr))
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])  # a provider's library may print above it
        if "error" in answer:
            return MemoryResult(None, str(answer["error"]).splitlines()[0])
        return MemoryResult(int(answer["peak_rss_bytes"]))
    except (IndexError, ValueError, KeyError, TypeError):
        return MemoryResult(None, f"the measuring process answered {done.stdout[-80:]!r}")


def _explain_crash(returncode: int, stderr: str) -> str:
    """One line from an exit status: the signal's name, or the last line of the traceback."""
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        hint = " (out of memory?)" if name == "SIGKILL" else ""
        return f"the measuring process was killed by {name}{hint}"
    last = (stderr.strip().splitlines() or ["no message"])[-1][:200]
    return f"the measuring process failed with exit code {returncode}: {last}"
