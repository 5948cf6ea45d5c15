"""Where a benchmark ran: a latency without its machine is a rumour."""

import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import onnxruntime as ort

from rarn_edge.targets import detect_host
from rarn_edge.threads import default_threads


@dataclass(frozen=True)
class Environment:
    """The machine and the software of one run."""

    cpu: str
    architecture: str
    int8_target: str  # the CPU target of `rarn_edge.targets` that this machine is
    cores_available: int  # by affinity mask and cgroup quota
    threads: int  # used within an operator
    os: str
    python: str
    onnxruntime: str
    time_utc: str  # ISO 8601


def detect_environment(threads: int) -> Environment:
    """Read this machine's facts."""
    host = detect_host()
    return Environment(
        cpu=_cpu_name(),
        architecture=host.architecture,
        int8_target=host.target.value,
        cores_available=default_threads(),
        threads=threads,
        os=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        onnxruntime=ort.__version__,
        time_utc=datetime.now(UTC).isoformat(timespec="seconds"),
    )


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
