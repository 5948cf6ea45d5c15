"""Where a benchmark ran: a latency without its machine is a rumour."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime as ort

from rarn_edge.contract.targets import detect_host, hidden_features
from rarn_edge.host.threads import default_threads
from rarn_edge.runtime.providers import gpu_name


@dataclass(frozen=True)
class Environment:
    """The machine and the software of one run."""

    cpu: str
    architecture: str
    int8_target: str  # the CPU target of `rarn_edge.contract.targets` that this machine is
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
    host = detect_host()
    return Environment(
        cpu=_cpu_name() + (f" without {', '.join(hidden_features())}" if hidden_features() else ""),
        architecture=host.architecture,
        int8_target=host.target.value,
        cores_available=default_threads(),
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        onnxruntime=ort.__version__,
        time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        memory_bytes=_memory_bytes(),
        cpu_model=_cpu_model(),
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
        return abs(ours - theirs) <= 0.02 * max(
            ours, theirs
        )  # what the kernel keeps for itself changes with its version
    return ours == theirs


def _memory_bytes() -> int | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _cpu_model() -> str | None:
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return None
    facts: dict[str, str] = {}
    for line in cpuinfo.read_text(errors="replace").splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    keys = [key for key in ("cpu family", "model", "stepping", "CPU implementer", "CPU part") if facts.get(key)]
    return ", ".join(f"{key} {facts[key]}" for key in keys) or None


def _first_line(path: Path) -> str | None:
    try:
        return path.read_text().splitlines()[0]
    except (OSError, IndexError):
        return None  # virtual machines hide it


def _cpu_name() -> str:
    """The processor's name as its maker wrote it, or what the operating system calls it."""
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout.strip() or platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = (line.partition(":") for line in cpuinfo.read_text(errors="replace").splitlines())
        facts = {key.strip(): value.strip() for key, _, value in lines}
        for key in ("model name", "Model", "Hardware"):  # x86; Raspberry Pi and others; older Arm boards
            if facts.get(key):
                return facts[key]
    return platform.processor() or platform.machine()
