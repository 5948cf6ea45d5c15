"""What this machine is and can: the facts a benchmark depends on, and the providers that really start.

`get_available_providers()` names what a build contains. Whether one starts is only known by starting it, so each is asked, in
a process of its own, to open and run a graph of 200 bytes.
"""

import importlib.metadata
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnxruntime as ort

from rarn_edge.assets import asset
from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.contract.targets import detect_host
from rarn_edge.decode import encode
from rarn_edge.errors import EXTRA_MODULES
from rarn_edge.host.environment import Environment, detect_environment, package_version
from rarn_edge.host.memory import meminfo
from rarn_edge.host.noise import load_average, unsteady
from rarn_edge.host.threads import cgroup_quota_cores
from rarn_edge.runtime.peaks import Products, measure_products
from rarn_edge.runtime.plugins import PluginDevice
from rarn_edge.runtime.providers import PROVIDERS, cache_folder, installed_runtimes, plugin_of, tensorrt_version

State = Literal["starts", "does not start", "not in this build"]
_TIMEOUT_S = 120.0
_EXTRAS = {
    "": ("numpy", "opencv-python-headless"),
    **{extra: EXTRA_MODULES[extra] for extra in ("export", "report", "score")},
}
"""The packages that are looked for, by the extra that brings them."""


@dataclass(frozen=True)
class ProviderState:
    """One provider on this machine."""

    name: str
    ort_name: str
    state: State
    reason: str  # why it does not start
    get: str  # how to get it; empty when it starts
    devices: tuple[PluginDevice, ...] = ()  # what a plug-in of its own can use here


@dataclass(frozen=True)
class Diagnosis:
    """One page on this machine."""

    environment: Environment
    int8: str  # what the CPU can and what follows
    products: Products  # measured with one thread
    cpu_features: tuple[str, ...]
    quota_cores: float | None
    memory_free_bytes: int | None
    swap_used_bytes: int | None
    runtimes: tuple[str, ...]  # distributions that install the module onnxruntime
    tensorrt: str
    packages: dict[str, str | None]
    cache: str
    disk_free_bytes: int
    providers: tuple[ProviderState, ...]
    problems: tuple[str, ...]  # each with what to do

    def to_dict(self) -> dict[str, Any]:
        return {"schema_version": 1, "kind": "doctor", **encode(self)}


def diagnose() -> Diagnosis:
    """Look at everything; takes a second or two for each provider in the build."""
    host = detect_host()
    environment = detect_environment()
    runtimes = installed_runtimes()
    providers = tuple(_state(name) for name in PROVIDERS)
    memory = meminfo()
    swap = None if "SwapTotal" not in memory else memory["SwapTotal"] - memory["SwapFree"]
    return Diagnosis(
        environment=environment,
        int8=host.explain(),
        products=measure_products(1),
        cpu_features=tuple(sorted(host.features & (_X86 | _ARM))),
        quota_cores=cgroup_quota_cores(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")),
        memory_free_bytes=memory.get("MemAvailable"),
        swap_used_bytes=swap,
        runtimes=tuple(f"{name} {importlib.metadata.version(name)}" for name in runtimes),
        tensorrt=tensorrt_version(),
        packages={name: package_version(name) for names in _EXTRAS.values() for name in names},
        cache=str(cache_folder()),
        disk_free_bytes=shutil.disk_usage(Path.cwd()).free,
        providers=providers,
        problems=tuple(_problems(environment, runtimes, providers, swap)),
    )


_X86 = {"avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8", "amx_bf16"}
_ARM = {"asimd", "asimddp", "asimdhp", "i8mm", "bf16", "sve"}


def _state(name: str) -> ProviderState:
    provider = PROVIDERS[name]
    if plugin_of(name) is None and provider.ort_name not in ort.get_available_providers():
        return ProviderState(name, provider.ort_name, "not in this build", "", provider.install)
    devices: tuple[PluginDevice, ...] = ()
    try:
        with Worker(_TIMEOUT_S) as worker:
            if plugin_of(name) is not None:
                devices = tuple(PluginDevice(**each) for each in worker.ask("devices", provider=name)["devices"])
            worker.ask("open", path=str(asset("peak_float32.onnx")), provider=name, threads=1)
            worker.ask("prepare", input_name="input", dtype="float32", shape=[1, 512], seed=0, limit_s=0.0, warm=False)
            worker.ask("run", count=1)
    except WorkerError as failed:
        reason, *step = str(failed).splitlines()  # the second line is the next step, where it is known
        get = step[0] if step else provider.install
        return ProviderState(name, provider.ort_name, "does not start", reason, get, devices)
    return ProviderState(name, provider.ort_name, "starts", "", "", devices)


def _problems(
    environment: Environment, runtimes: tuple[str, ...], providers: tuple[ProviderState, ...], swap: int | None
) -> list[str]:
    found = []
    if len(runtimes) > 1:
        found.append(f"{' and '.join(runtimes)} overwrite each other: pip uninstall all, then install one")
    if not runtimes:
        found.append("onnxruntime comes from no known package; unless you built it, pip install onnxruntime")
    broken = [each for each in providers if each.state == "does not start"]
    found += [f"provider '{each.name}' is installed but does not start: see its row" for each in broken]
    if environment.governor not in (None, "performance"):
        found.append(f"clock governor '{environment.governor}': sudo cpupower frequency-set -g performance")
    if swap:
        found.append(f"{swap / 1e6:.0f} MB of swap are in use: free memory before measuring")
    return [*found, *unsteady(load_average())]


def extra_of(package: str) -> str:
    """The extra that brings a package."""
    return next(extra for extra, names in _EXTRAS.items() if package in names)
