"""`--target auto`: from what each kind of system says about its CPU to the target whose kernels it runs."""

from collections.abc import Mapping

import pytest

from rarn_edge.contract.targets import Host, Target, detect_host, read_host
from rarn_edge.host.cpu import HIDDEN_FEATURES, Cpu

ZEN_1 = """processor\t: 0
vendor_id\t: AuthenticAMD
model name\t: AMD EPYC 7571
flags\t\t: fpu vme sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2 bmi2 sha_ni
bugs\t\t: sysret_ss_attrs spectre_v1
"""
CASCADE_LAKE = """processor\t: 0
vendor_id\t: GenuineIntel
flags\t\t: fpu sse2 avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni
vmx flags\t: vnmi preemption_timer
"""
ALDER_LAKE = "processor\t: 0\nflags\t\t: fpu sse2 fma avx avx2 avx_vnni gfni\n"
SAPPHIRE_RAPIDS = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_tile amx_int8\n"
PI_4 = "processor\t: 0\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU part\t: 0xd08\n"
PI_5 = (
    "processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"
)
GRAVITON_3 = "processor\t: 0\nFeatures\t: fp asimd asimddp sve i8mm bf16\n"
M1 = {"hw.optional.arm.FEAT_DotProd": "1", "hw.optional.arm.FEAT_I8MM": "0", "hw.optional.avx2_0": ""}
INTEL_MAC = {"hw.optional.arm.FEAT_DotProd": "", "hw.optional.arm.FEAT_I8MM": "", "hw.optional.avx2_0": "1"}


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "sysctl", "target", "found"),
    [
        ("x86_64", ZEN_1, None, Target.X86_AVX2, "avx2"),
        ("x86_64", CASCADE_LAKE, None, Target.X86_VNNI, "avx2 avx512_vnni"),
        ("x86_64", ALDER_LAKE, None, Target.X86_VNNI, "avx2 avx_vnni"),
        ("x86_64", SAPPHIRE_RAPIDS, None, Target.X86_VNNI, "amx_int8 avx2 avx512_vnni"),
        ("aarch64", PI_4, None, Target.ARM, "no INT8 extensions"),
        ("aarch64", PI_5, None, Target.ARM, "asimddp"),
        ("aarch64", GRAVITON_3, None, Target.ARM, "asimddp i8mm"),
        ("armv7l", "Features\t: half thumb neon vfpv4\n", None, Target.ARM, "no INT8 extensions"),
        ("arm64", "", M1, Target.ARM, "asimddp"),
        ("x86_64", "", INTEL_MAC, Target.X86_AVX2, "avx2"),
        ("AMD64", "", None, Target.X86_AVX2, "no INT8 extensions"),
        ("ARM64", "", None, Target.ARM, "no INT8 extensions"),
    ],
    ids=[
        "AVX2", "AVX-512 VNNI", "AVX-VNNI", "AMX", "Arm without dotprod", "Arm with dotprod", "Arm with i8mm", "Arm of 32 bits",
        "macOS on Arm", "macOS on Intel", "Windows", "Windows on Arm",
    ],
)  # fmt: skip
def test_each_cpu_has_its_target(
    machine: str, cpuinfo: str, sysctl: Mapping[str, str] | None, target: Target, found: str
) -> None:
    host = read_host(machine, cpuinfo, sysctl)
    assert host.target is target
    assert host.mismatch(target) is None
    name = {"AMD64": "x86_64"}.get(machine, machine.lower())
    assert host.explain().startswith(f"{target.value} ({name}, {found}): QDQ, ")


@pytest.mark.parametrize("cpuinfo", ["", "processor\t: 0\n", "flags\t\t:\n"])
def test_an_unknown_x86_gets_the_target_that_never_saturates(cpuinfo: str) -> None:
    assert read_host("x86_64", cpuinfo).target is Target.X86_AVX2


def test_hidden_features_are_not_this_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "rarn_edge.host.cpu._whole_cpu",
        lambda: Cpu("a CPU", None, "x86_64", frozenset({"avx2", "avx512_vnni", "amx_int8"})),
    )
    monkeypatch.delenv(HIDDEN_FEATURES, raising=False)
    assert detect_host().target is Target.X86_VNNI
    monkeypatch.setenv(HIDDEN_FEATURES, "avx512 avx_vnni amx")
    assert detect_host() == Host("x86_64", frozenset({"avx2"}))
