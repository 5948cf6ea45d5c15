"""Execution providers in packages of their own beside the plain `onnxruntime` (its EP ABI, since 1.23).

Such a package brings one library. It is registered once in a process, says which hardware it can use, and a session takes
one of those devices. Nothing of `onnxruntime` itself is overwritten.
"""

import contextlib
import importlib
import importlib.metadata
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import onnxruntime as ort

from rarn_edge.errors import InputError, ProviderError, first_line

DeviceKind = Literal["gpu", "npu", "cpu"]  # in the order in which one is chosen where none is named
_KINDS: tuple[DeviceKind, ...] = get_args(DeviceKind)
_registered: dict[str, str] = {}  # by provider name, the package; ONNX Runtime takes a library once in a process
_lock = threading.Lock()


def _no_options(_kind: DeviceKind, _threads: int) -> dict[str, str]:
    return {}


def openvino_options(kind: DeviceKind, threads: int) -> dict[str, str]:
    """OpenVINO computes in bfloat16 or float16 where the hardware can, unless told otherwise; an NPU knows no float32."""
    if kind == "npu":
        return {}
    hints: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32"}
    if kind == "cpu":
        hints["INFERENCE_NUM_THREADS"] = threads
    return {"load_config": json.dumps({kind.upper(): hints})}


@dataclass(frozen=True)
class Plugin:
    """Which packages bring a provider, and its options for a kind of device and a number of threads."""

    packages: tuple[str, ...]  # on PyPI; any one of them
    options: Callable[[DeviceKind, int], dict[str, str]] = _no_options


@dataclass(frozen=True)
class PluginDevice:
    """One piece of hardware that a plug-in can use."""

    index: int
    kind: DeviceKind
    vendor: str
    description: str  # what the plug-in says of it: name, driver; may be empty
    plugin_version: str


def installed_packages(plugin: Plugin) -> tuple[str, ...]:
    """Those of its packages that are installed; an older one that replaces `onnxruntime` itself is no plug-in."""
    return tuple(name for name in plugin.packages if _module_name(name) not in (None, "onnxruntime"))


def check_plugin(name: str, plugin: Plugin) -> str:
    """The one installed package of a provider; registers nothing.

    Raises:
        ProviderError: none, or two; or this ONNX Runtime knows no plug-ins.
    """
    packages = installed_packages(plugin)
    if not packages:
        raise ProviderError(f"provider '{name}': {' or '.join(plugin.packages)} is not installed")
    if len(packages) > 1:
        raise ProviderError(
            f"provider '{name}': {' and '.join(packages)} are installed together.\n"
            f"Keep one: pip uninstall -y {' '.join(packages[1:])}"
        )
    if not hasattr(ort, "register_execution_provider_library"):
        raise ProviderError(
            f"provider '{name}': ONNX Runtime {ort.__version__} takes no plug-ins; it needs 1.23 or newer.\n"
            "To get it: pip install --upgrade onnxruntime"
        )
    return packages[0]


def plugin_devices(name: str, ort_name: str, plugin: Plugin) -> list[Any]:
    """The `OrtEpDevice`s of a provider, in ONNX Runtime's order; registers its library at the first call.

    Raises:
        ProviderError: the library cannot be registered (wrong version, missing system libraries), or it offers no device.
    """
    package = check_plugin(name, plugin)
    version = importlib.metadata.version(package)
    with _lock:
        if name not in _registered:
            try:
                library = importlib.import_module(str(_module_name(package))).get_library_path()
                ort.register_execution_provider_library(f"rarn-edge-{name}", str(library))
            except Exception as error:  # a package may fail in any way; onnxruntime has no base class for its errors
                raise ProviderError(
                    f"provider '{name}': {package} {version} does not work with ONNX Runtime {ort.__version__}: "
                    f"{first_line(error)}\nTake versions that fit: pip install --upgrade onnxruntime {package}"
                ) from error
            _registered[name] = package
    found = [device for device in ort.get_ep_devices() if device.ep_name == ort_name]
    if not found:
        hardware = sorted({f"{device.device.vendor} {kind_of(device)}" for device in ort.get_ep_devices()})
        raise ProviderError(
            f"provider '{name}': {package} {version} is installed, but offers no device on this machine "
            f"(ONNX Runtime sees: {', '.join(hardware) or 'nothing'}).\n"
            "Look for the device's driver, or take another provider; rarn-edge doctor lists what starts"
        )
    return found


def is_registered(name: str) -> bool:
    """Whether its library came into this process as a plug-in."""
    return name in _registered


def choose_device(name: str, devices: list[Any], wanted: str | None) -> Any:
    """The device of that kind or index; without a wish a GPU before an NPU before the CPU.

    Raises:
        ProviderError: there is none such.
    """
    if wanted is None:
        return min(devices, key=lambda device: _KINDS.index(kind_of(device)))
    for index, device in enumerate(devices):
        if wanted in (str(index), kind_of(device)):
            return device
    offered = ", ".join(f"{index} ({kind_of(device)}, {device.device.vendor})" for index, device in enumerate(devices))
    raise ProviderError(f"provider '{name}' has no device '{wanted}' here; it offers {offered}")


def check_device_name(wanted: str) -> None:
    """Raises:
    InputError: neither a kind of device nor an index.
    """
    if wanted not in _KINDS and not wanted.isdecimal():
        raise InputError(f"no device '{wanted}'; one of: {', '.join(_KINDS)}, or an index such as 0")


def describe_devices(devices: list[Any]) -> list[PluginDevice]:
    """Devices as plain facts."""
    return [
        PluginDevice(
            index,
            kind_of(device),
            device.device.vendor,
            _description({**dict(device.device.metadata), **dict(device.ep_metadata)}),
            dict(device.ep_metadata).get("version", ""),
        )
        for index, device in enumerate(devices)
    ]


def kind_of(device: Any) -> DeviceKind:
    """`gpu`, `npu` or `cpu`."""
    kind: DeviceKind = device.device.type.name.lower()
    return kind


def _description(metadata: dict[str, str]) -> str:
    keys = ("FULL_DEVICE_NAME", "Description", "DEVICE_ARCHITECTURE", "DriverVersion", "driver_version")
    return ", ".join(metadata[key] for key in keys if metadata.get(key))


def _module_name(package: str) -> str | None:
    """The module that a distribution installs, or None where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        named = (importlib.metadata.distribution(package).read_text("top_level.txt") or "").split()
        return named[0] if named else package.replace("-", "_")
    return None
