"""The processor as its operating system describes it: the only reader of /proc/cpuinfo."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path

HIDDEN_FEATURES = "RARN_EDGE_HIDDEN_CPU_FEATURES"
"""Variable with the beginnings of features that are hidden from this process (`benchmarks/avx2_only.c` sets it)."""

_SYSCTL_NAME = "machdep.cpu.brand_string"
_SYSCTL_FEATURES = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.avx2_0": "avx2",
}
"""macOS: which key says what Linux calls by which name."""


@dataclass(frozen=True)
class Cpu:
    """One processor."""

    name: str  # as its maker wrote it, or what the operating system calls it
    model: str | None  # family, model and stepping: makers reuse names
    architecture: str  # x86_64, aarch64, arm64, ...
    features: frozenset[str]  # by Linux's names


def int8_kernels(architecture: str, features: Set[str]) -> str:
    """The kind of INT8 kernels that ONNX Runtime has for a CPU: arm, x86-vnni or x86-avx2, as `contract.targets` names them."""
    if architecture.startswith(("aarch64", "arm")):
        return "arm"
    return "x86-vnni" if features & {"avx512_vnni", "avx_vnni", "amx_int8"} else "x86-avx2"


def hidden_features() -> tuple[str, ...]:
    """The beginnings of features that this process shall not see."""
    return tuple(os.environ.get(HIDDEN_FEATURES, "").split())


def detect_cpu() -> Cpu:
    """This machine's processor, as far as its operating system tells; hidden features are left out, and its name says so."""
    cpu, hidden = _whole_cpu(), hidden_features()
    if not hidden:
        return cpu
    seen = frozenset(each for each in cpu.features if not each.startswith(hidden))
    return replace(cpu, name=f"{cpu.name} without {', '.join(hidden)}", features=seen)


def _whole_cpu() -> Cpu:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        return read_cpu(platform.machine(), cpuinfo=cpuinfo.read_text(errors="replace"))
    if sys.platform == "darwin":
        return read_cpu(platform.machine(), sysctl={key: _sysctl(key) for key in (_SYSCTL_NAME, *_SYSCTL_FEATURES)})
    cpu = read_cpu(platform.machine())  # Windows tells no features without a C call
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return replace(cpu, name=str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip())
    return cpu


def read_cpu(machine: str, cpuinfo: str = "", sysctl: Mapping[str, str] | None = None) -> Cpu:
    """From what a system says: `platform.machine()`, and Linux's /proc/cpuinfo or macOS's sysctl values by key."""
    facts: dict[str, str] = {}  # of the first core: they are alike
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        facts.setdefault(key.strip(), value.strip())
    told = sysctl or {}
    names = ("model name", "Model", "Hardware")  # x86; Raspberry Pi and others; older Arm boards
    name = next((facts[key] for key in names if facts.get(key)), told.get(_SYSCTL_NAME))
    keys = [key for key in ("cpu family", "model", "stepping", "CPU implementer", "CPU part") if facts.get(key)]
    features = set((facts.get("flags") or facts.get("Features") or "").split())
    features.update(feature for key, feature in _SYSCTL_FEATURES.items() if told.get(key) == "1")
    architecture = machine.lower()
    return Cpu(
        name=name or platform.processor() or platform.machine(),
        model=", ".join(f"{key} {facts[key]}" for key in keys) or None,
        architecture="x86_64" if architecture == "amd64" else architecture,
        features=frozenset(features),
    )


def _sysctl(key: str) -> str:
    done = subprocess.run(["/usr/sbin/sysctl", "-n", key], capture_output=True, text=True, check=False)
    return done.stdout.strip()
