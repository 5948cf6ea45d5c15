"""The machine and the software of a measurement: a figure means nothing without them."""

import importlib.metadata
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime as ort

from rarn_edge.host.cpu import detect_cpu, int8_kernels
from rarn_edge.host.gpu import gpu_name
from rarn_edge.host.memory import total_bytes
from rarn_edge.host.threads import default_threads


@dataclass(frozen=True)
class Environment:
    """The machine and the software of one run."""

    cpu: str
    architecture: str
    int8_target: str  # whose INT8 kernels this machine runs, see `rarn_edge.contract.targets`
    cores_available: int  # by affinity mask and cgroup quota
    os: str
    python: str
    onnxruntime: str
    time_utc: str  # ISO 8601
    memory_bytes: int | None = None
    cpu_model: str | None = None  # family, model and stepping: makers reuse names
    gpu: str | None = None
    governor: str | None = None  # who decides the clock, on Linux
    rarn_edge: str | None = None


MACHINE_FACTS = ("cpu", "cpu_model", "architecture", "cores_available", "memory_bytes", "gpu")
SOFTWARE_FACTS = ("os", "python", "onnxruntime", "governor", "rarn_edge")


def detect_environment() -> Environment:
    """Read this machine's facts."""
    cpu = detect_cpu()
    return Environment(
        cpu=cpu.name,
        architecture=cpu.architecture,
        int8_target=int8_kernels(cpu.architecture, cpu.features),
        cores_available=default_threads(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        onnxruntime=ort.__version__,
        time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        memory_bytes=total_bytes(),
        cpu_model=cpu.model,
        gpu=gpu_name(),
        governor=_first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        rarn_edge=package_version("rarn-edge"),
    )


def different_facts(ours: Environment, theirs: Environment, facts: tuple[str, ...]) -> list[str]:
    """`cpu: A / B` for each fact that differs; a fact that either side does not know tells nothing."""
    pairs = [(fact, getattr(ours, fact), getattr(theirs, fact)) for fact in facts]
    return [f"{fact}: {a} / {b}" for fact, a, b in pairs if a is not None and b is not None and not _same(fact, a, b)]


def package_version(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _same(fact: str, ours: object, theirs: object) -> bool:
    if fact == "memory_bytes" and isinstance(ours, int) and isinstance(theirs, int):
        return abs(ours - theirs) <= 0.02 * max(ours, theirs)  # what a kernel keeps for itself changes with its version
    return ours == theirs


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return None  # virtual machines hide it
