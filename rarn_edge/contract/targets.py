"""The kinds of hardware an INT8 file is made for, what each needs, and which one this machine is.

The same QDQ file is fast and right on one kind of CPU and slow or wrong on another: without VNNI, x86 adds pairs of u8 x s8
products in 16 bits and saturates; there, weights must keep to 7 bits. docs/how/int8.md has the measurements.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from rarn_edge.host.cpu import Cpu, detect_cpu, int8_kernels, read_cpu


class Target(StrEnum):
    """What an INT8 file is made for."""

    X86_AVX2 = "x86-avx2"
    X86_VNNI = "x86-vnni"
    ARM = "arm"
    TENSORRT = "tensorrt"


@dataclass(frozen=True)
class Recipe:
    """Types and ranges of the quantized tensors."""

    unsigned_activations: bool
    symmetric_activations: bool
    reduced_weights: bool  # 7-bit weights: -64..64
    reason: str

    def describe(self) -> str:
        """`QDQ, u8 activations, s8 weights per channel in 7 bits`."""
        activations = ("u8" if self.unsigned_activations else "s8") + (
            " symmetric" if self.symmetric_activations else ""
        )
        return f"QDQ, {activations} activations, s8 weights per channel in {7 if self.reduced_weights else 8} bits"


RECIPES: dict[Target, Recipe] = {
    Target.X86_AVX2: Recipe(
        True, False, True, "no VNNI: u8 x s8 products saturate in 16 bits unless weights keep to 7 bits"
    ),
    Target.X86_VNNI: Recipe(True, False, False, "VNNI adds u8 x s8 in 32 bits: full-range weights"),
    Target.ARM: Recipe(False, False, False, "Arm kernels are fastest with s8 x s8"),
    Target.TENSORRT: Recipe(False, True, False, "TensorRT takes symmetric s8 only (zero point 0)"),
}


@dataclass(frozen=True)
class Host:
    """This machine's CPU as far as INT8 is concerned."""

    architecture: str
    features: frozenset[str]

    @property
    def target(self) -> Target:
        """The CPU target whose kernels this machine runs."""
        return Target(int8_kernels(self.architecture, self.features))

    @property
    def multiplies_bfloat16(self) -> bool:
        """Whether it has instructions for bfloat16; without them it is emulated."""
        return bool(self.features & {"amx_bf16", "avx512_bf16", "bf16"})

    def explain(self) -> str:
        """One line: what was found and what follows."""
        found = sorted(self.features & {"avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
        extensions = " ".join(found) or "no INT8 extensions"
        described = RECIPES[self.target].describe()
        return f"{self.target.value} ({self.architecture}, {extensions}): {described}; {self.reason}"

    @property
    def reason(self) -> str:
        """Why its target's files are as they are, and what to expect of them on this core."""
        if self.target is Target.ARM and self.features and "asimddp" not in self.features:
            return f"{RECIPES[self.target].reason}. No dot products: INT8 may gain little here, so measure it"
        return RECIPES[self.target].reason

    def mismatch(self, target: Target | None) -> str | None:
        """`mismatch` on this CPU."""
        return mismatch(target, self.target)


def mismatch(target: Target | None, runs_on: Target) -> str | None:
    """A one-line warning when an INT8 file for `target` is wrong or slow on a CPU of another, else None.

    A file for `x86-avx2` is right and as fast as others on every x86 CPU.
    """
    if target is None or target is Target.TENSORRT or target is runs_on:
        return None
    if runs_on is Target.X86_VNNI and target is Target.X86_AVX2:
        return None
    harm = "wrong" if runs_on is Target.X86_AVX2 else "slow"
    return f"made for {target.value}, may be {harm} on {runs_on.value}: quantize here"


def detect_host() -> Host:
    """This machine's CPU, as far as its operating system tells and nobody hides."""
    return _host(detect_cpu())


def read_host(machine: str, cpuinfo: str = "", sysctl: Mapping[str, str] | None = None) -> Host:
    """A CPU from what its system says, see `rarn_edge.host.cpu.read_cpu`.

    Without features, an x86 CPU gets the target that is right on all of them, the one without VNNI.
    """
    return _host(read_cpu(machine, cpuinfo, sysctl))


def _host(cpu: Cpu) -> Host:
    return Host(cpu.architecture, cpu.features)
