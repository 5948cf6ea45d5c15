"""Execution providers: request, verify, explain - never a quiet run on the CPU.

ONNX Runtime drops a provider it cannot start with a warning and runs on the CPU (its issues 23372, 17801, 26996). A
latency measured that way is a lie, so a session leaves this module only when every node is on the requested provider.
"""

import contextlib
import hashlib
import importlib.metadata
import io
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnxruntime as ort

from rarn_edge.boundary.limits import MAX_THREADS, check_count
from rarn_edge.boundary.paths import MODEL_HINT, require_file
from rarn_edge.boundary.terminal import spoken_into
from rarn_edge.contract.artifact import model_sha256, open_unoptimised
from rarn_edge.errors import InputError, ProviderError, first_line
from rarn_edge.files import make_folder
from rarn_edge.host.gpu import gpu_name
from rarn_edge.host.threads import default_threads
from rarn_edge.runtime.plugins import (
    Plugin,
    PluginDevice,
    check_device_name,
    check_plugin,
    choose_device,
    describe_devices,
    installed_packages,
    is_registered,
    kind_of,
    openvino_options,
    plugin_devices,
)


@dataclass(frozen=True)
class Provider:
    """One execution provider: what users call it, what ONNX Runtime calls it, and how to get it."""

    ort_name: str
    install: str  # one line: the command, or where the build comes from
    options: Mapping[str, str] = field(default_factory=dict)
    threads_option: str | None = None  # its own name for the thread count, where it has a thread pool of its own
    memory_pattern: bool = True  # DirectML refuses sessions with it
    plugin: Plugin | None = None  # packages that bring it beside the plain onnxruntime
    device_option: str | None = None  # of a whole build: its own option for the kind of device
    int8: bool = True  # False: it has no INT8 convolutions, and splits a QDQ file up


CPU = "cpu"
_GPU = 'pip uninstall -y onnxruntime && pip install "rarn-edge[gpu]"'
_CUDA = (  # the libraries come from pip too: onnxruntime-gpu's extras cuda and cudnn
    f"{_GPU}\nonnxruntime-gpu 1.31 is built for CUDA 13 and cuDNN 9; that extra brings both, and the driver must know CUDA 13 "
    "(nvidia-smi says so)"
)
_MIGRAPHX = Provider("MIGraphXExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-migraphx")

PROVIDERS: dict[str, Provider] = {
    CPU: Provider("CPUExecutionProvider", 'pip install "rarn-edge[cpu]"'),
    "cuda": Provider(
        "CUDAExecutionProvider", _CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}, int8=False
    ),
    "tensorrt": Provider("TensorrtExecutionProvider", f"{_GPU} tensorrt"),
    "webgpu": Provider(
        "WebGpuExecutionProvider",
        'pip install "rarn-edge[webgpu]"',
        plugin=Plugin(("onnxruntime-ep-webgpu",)),
        int8=False,
    ),
    "openvino": Provider(
        "OpenVINOExecutionProvider",
        'pip install "rarn-edge[openvino]"',
        {"device_type": "CPU"},
        "num_of_threads",
        plugin=Plugin(("onnxruntime-ep-openvino",), openvino_options),
        device_option="device_type",
    ),
    "tensorrt-rtx": Provider(
        "NvTensorRTRTXExecutionProvider",
        'pip install "rarn-edge[tensorrt-rtx]" (GeForce RTX or later)',
        plugin=Plugin(("onnxruntime-ep-nv-tensorrt-rtx-cu13", "onnxruntime-ep-nv-tensorrt-rtx-cu12")),
    ),
    "directml": Provider(
        "DmlExecutionProvider",
        "on Windows: pip uninstall -y onnxruntime && pip install onnxruntime-directml",
        memory_pattern=False,
    ),
    "coreml": Provider("CoreMLExecutionProvider", "on macOS: pip install onnxruntime"),
    "xnnpack": Provider(
        "XnnpackExecutionProvider",
        "build ONNX Runtime with --use_xnnpack (no wheel on PyPI has it)",
        threads_option="intra_op_num_threads",
    ),
    "qnn": Provider(
        "QNNExecutionProvider",
        "on Windows on Snapdragon: pip install onnxruntime-qnn",
        {"backend_path": "QnnHtp.dll" if os.name == "nt" else "libQnnHtp.so"},
        plugin=Plugin(("onnxruntime-qnn",)),
    ),
    "migraphx": _MIGRAPHX,
    "rocm": _MIGRAPHX,  # ONNX Runtime dropped its ROCm provider for MIGraphX
}

_NVIDIA = ("cuda", "tensorrt")
_VISIBLE_GPU = "; choose the GPU with CUDA_VISIBLE_DEVICES"

# Each of these distributions installs the module `onnxruntime`; of two, the last one written wins, file by file.
_RIVALS = (
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-openvino",
    "onnxruntime-directml",
    "onnxruntime-migraphx",
    "onnxruntime-rocm",
)


def find_provider(name: str) -> Provider:
    """The provider of that user-facing name, with or without `:DEVICE` after it.

    Raises:
        InputError: unknown name, or no name of a device.
    """
    name, device = split_device(name)
    if name not in PROVIDERS:
        raise InputError(f"no provider '{name}'; one of: {', '.join(PROVIDERS)}")
    if device is not None:
        check_device_name(device)
    return PROVIDERS[name]


def split_device(name: str) -> tuple[str, str | None]:
    """`openvino:npu` -> `openvino` and `npu`; None where no device is named."""
    provider, separator, device = name.partition(":")
    return provider, device if separator else None


def on_device(provider: str, device: str | None) -> str:
    """One text for both, as `open_session` takes it; `split_device` takes it apart.

    Raises:
        InputError: unknown provider or device.
    """
    whole = provider if device is None else f"{provider}:{device}"
    find_provider(whole)
    return whole


def check_provider(name: str) -> Provider:
    """The provider of that name, once this installation of ONNX Runtime is known to contain it; starts nothing.

    Raises:
        InputError: unknown name.
        ProviderError: not in this build, or two builds of ONNX Runtime overwrite each other.
    """
    provider = find_provider(name)
    name, device = split_device(name)
    if name != CPU:
        rivals = installed_runtimes()
        if len(rivals) > 1:
            raise ProviderError(
                f"provider '{name}': {' and '.join(rivals)} are installed together and overwrite each other.\n"
                f"Keep one: pip uninstall -y {' '.join(rivals)}, then {provider.install.split('&& ')[-1]}"
            )
    available = ort.get_available_providers()
    if (plugin := plugin_of(name)) is not None:
        check_plugin(name, plugin)
        return provider
    if provider.ort_name not in available:
        raise ProviderError(
            f"provider '{name}' is not in this ONNX Runtime {ort.__version__} (it has {', '.join(available)}).\n"
            f"To get it: {provider.install}"
        )
    if device is not None and provider.device_option is None:
        raise InputError(f"provider '{name}' has no choice of devices{_VISIBLE_GPU if name in _NVIDIA else ''}")
    return provider


def plugin_of(name: str) -> Plugin | None:
    """The plug-in that brings a provider here, where one is installed; a build that contains the provider comes first."""
    provider = find_provider(name)
    in_build = provider.ort_name in ort.get_available_providers() and not is_registered(split_device(name)[0])
    if provider.plugin is None or in_build or not installed_packages(provider.plugin):
        return None
    return provider.plugin


def provider_devices(name: str) -> list[PluginDevice]:
    """What the plug-in of a provider can use here; empty for a provider without one.

    Raises:
        InputError: unknown name.
        ProviderError: it does not register, or offers nothing.
    """
    provider, plugin = find_provider(name), plugin_of(name)
    return [] if plugin is None else describe_devices(plugin_devices(split_device(name)[0], provider.ort_name, plugin))


def installed_runtimes() -> tuple[str, ...]:
    """The distributions installed where the imported module `onnxruntime` lies; more than one is a conflict.

    One in another folder of the search path is hidden whole, and overwrites nothing.
    """
    module = Path(ort.__file__).resolve()
    found = []
    for name in _RIVALS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            place = importlib.metadata.distribution(name).locate_file("onnxruntime/__init__.py")
            if Path(str(place)).resolve() == module:
                found.append(name)
    return tuple(found)


def open_session(
    path: Path,
    provider: str = CPU,
    threads: int | None = None,
    options: Mapping[str, str] | None = None,
    config: Mapping[str, str] | None = None,
    *,
    allow_fallback: bool = False,
    tune: Callable[[ort.SessionOptions], None] | None = None,
) -> ort.InferenceSession:
    """A session of which every node runs on the requested provider.

    Args:
        path: An ONNX file.
        provider: A key of `PROVIDERS`, with or without `:DEVICE` (`gpu`, `npu`, `cpu`, or an index).
        threads: Threads within an operator, default `default_threads()`.
        options: Provider options on top of the table's.
        config: Session configuration entries, such as `session.force_spinning_stop`.
        allow_fallback: Nodes that the provider cannot take may run on the CPU; it must still start. `assigned_operators`
            tells which, and whoever prints a figure of such a session says so.
        tune: Last word on the session options.

    Raises:
        InputError: unknown provider, threads below 1, no such file, or a file ONNX Runtime cannot read.
        ProviderError: the provider is not installed, did not start, or left nodes to another provider.
    """
    entry = check_provider(provider)
    count = default_threads() if threads is None else threads
    check_count(count, "threads", MAX_THREADS)
    require_file(path, MODEL_HINT)
    strict = provider != CPU and not allow_fallback
    can_list_nodes = hasattr(ort.InferenceSession, "get_provider_graph_assignment_info")
    session_options = ort.SessionOptions()
    session_options.intra_op_num_threads = count
    session_options.inter_op_num_threads = 1
    session_options.enable_mem_pattern = entry.memory_pattern
    session_options.log_severity_level = 4  # its errors reach us as exceptions; the duplicate on stderr would be noise
    if can_list_nodes:
        session_options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    elif strict:  # older versions cannot say which nodes went where, but they can refuse
        session_options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    for key, value in (config or {}).items():
        session_options.add_session_config_entry(key, value)
    if tune is not None:
        tune(session_options)
    loading = _preload_libraries(entry)
    ladder = _ladder(path, provider, entry, count, options or {}, session_options)
    if allow_fallback and provider != CPU and ladder:
        ladder.append(PROVIDERS[CPU].ort_name)
    try:
        session = ort.InferenceSession(path, session_options, providers=ladder or None, enable_fallback=0)
    except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
        if provider == CPU:
            raise InputError(f"{path}: not a readable ONNX file ({first_line(error)})") from error
        open_unoptimised(path)  # is the file to blame? Then this raises InputError
        raise ProviderError(
            f"provider '{provider}' could not take {path.name}: {first_line(error)}{loading}\n"
            f"If its libraries are missing: {entry.install}"
        ) from error
    session.disable_fallback()  # else a failing run() re-creates the session on the CPU
    started = session.get_providers()[0]
    if started != entry.ort_name:
        raise ProviderError(
            f"provider '{provider}' did not start; ONNX Runtime put {path.name} on {started}{loading}\n"
            f"If its libraries are missing: {entry.install}"
        )
    if strict and can_list_nodes:
        _require_all_nodes(path, provider, entry, assigned_operators(session))
    return session


def _ladder(
    path: Path,
    name: str,
    entry: Provider,
    threads: int,
    options: Mapping[str, str],
    session_options: ort.SessionOptions,
) -> list[Any]:
    """The providers to ask for, with their options; empty for a plug-in, whose device goes into `session_options`."""
    name, device = split_device(name)
    if (plugin := plugin_of(name)) is not None:
        chosen = choose_device(name, plugin_devices(name, entry.ort_name, plugin), device)
        session_options.add_provider_for_devices([chosen], {**plugin.options(kind_of(chosen), threads), **options})
        return []
    found = {**entry.options, **engine_cache_options(name, path), **options}
    if entry.threads_option is not None:
        found[entry.threads_option] = str(threads)
    if device is not None and entry.device_option is not None:
        found[entry.device_option] = device.upper()
    return [(entry.ort_name, found)]


def device_memory(session: ort.InferenceSession, name: str) -> Any:
    """Where inputs and outputs of a session can stay on its device, as `OrtValue` takes it: a name, or a plug-in's memory.

    None where they lie in the host's memory anyway.
    """
    if name in _NVIDIA:
        return "cuda"
    if plugin_of(name) is None or not hasattr(session, "get_input_epdevices"):
        return None
    device = session.get_input_epdevices()[0]
    return None if device is None else device.memory_info(ort.OrtDeviceMemoryType.DEFAULT)


def assigned_operators(session: ort.InferenceSession) -> dict[str, Counter[str]]:
    """Per ONNX Runtime provider name, how many nodes of each operator it got, before its own fusions.

    For sessions made by `open_session`. Empty for an older ONNX Runtime that cannot tell.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {}
    assigned: dict[str, Counter[str]] = {}
    for subgraph in session.get_provider_graph_assignment_info():
        assigned.setdefault(subgraph.ep_name, Counter()).update(node.op_type for node in subgraph.get_nodes())
    return assigned


def engine_cache_options(provider: str, path: Path) -> dict[str, str]:
    """TensorRT's options for its engine cache: a folder of its own for each model, GPU, and version of the software.

    An engine is valid for exactly one of those; TensorRT's own file names do not tell them all apart.
    """
    if provider != "tensorrt":
        return {}
    key = hashlib.sha256()
    key.update(model_sha256(path).encode())
    for fact in (ort.__version__, tensorrt_version(), gpu_name()):
        key.update(f"|{fact}".encode())
    folder = cache_folder() / "tensorrt" / f"{path.stem}-{key.hexdigest()[:16]}"
    make_folder(folder)
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
        "trt_int8_enable": "1" if _is_quantized(path) else "0",  # explicit quantization: scales come from the QDQ nodes
    }


def _is_quantized(path: Path) -> bool:
    return b"DequantizeLinear" in path.read_bytes()


def cache_folder() -> Path:
    """Where engines are kept: RARN_EDGE_CACHE, or the user's cache folder."""
    named = os.environ.get("RARN_EDGE_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("LOCALAPPDATA") if os.name == "nt" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "rarn-edge"


def tensorrt_version() -> str:
    """The version of the TensorRT libraries from pip; `unknown` for a system installation."""
    for name in ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt_cu12_libs", "tensorrt_cu13_libs"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return "unknown"


def _require_all_nodes(path: Path, name: str, provider: Provider, assigned: Mapping[str, Counter[str]]) -> None:
    """Raise ProviderError when any node is elsewhere, with how many, where, and which operators."""
    elsewhere = {place: operators for place, operators in assigned.items() if place != provider.ort_name}
    if not elsewhere:
        return
    total = sum(operators.total() for operators in assigned.values())
    parts = []
    for place, operators in elsewhere.items():
        kinds = ", ".join(f"{count} {kind}" for kind, count in operators.most_common(6))
        more = ", ..." if len(operators) > 6 else ""
        parts.append(f"{operators.total()} of {total} nodes to {place} ({kinds}{more})")
    quantized = any("DequantizeLinear" in operators for operators in assigned.values())
    way_out = "use a model it can take whole"
    if quantized and not provider.int8:
        way_out = (
            "an INT8 file is for CPUs. Take the float32 file of `rarn-edge export`,\n"
            "or rarn-edge quantize FLOAT32.onnx -o HALF.onnx --precision fp16"
        )
    raise ProviderError(
        f"provider '{name}' left {'; '.join(parts)} in {path.name}.\n"
        f"Nothing was run: {way_out}, or --allow-fallback for a mixed run (every table says so)"
    )


def _preload_libraries(provider: Provider) -> str:
    """Load the CUDA libraries that came from pip, if any; the answer is what could not be loaded, as message text."""
    preload: Any = getattr(ort, "preload_dlls", None)
    if provider.ort_name not in ("CUDAExecutionProvider", "TensorrtExecutionProvider") or preload is None:
        return ""
    spoken = io.StringIO()
    with spoken_into(spoken):  # it reports failures with print()
        preload()
    lines = spoken.getvalue().strip().splitlines()
    return f" [{lines[0][:160]}]" if lines else ""
