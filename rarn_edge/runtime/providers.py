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
from rarn_edge.boundary.paths import require_file
from rarn_edge.contract.artifact import open_unoptimised
from rarn_edge.errors import InputError, ProviderError, first_line
from rarn_edge.files import file_sha256, make_folder
from rarn_edge.host.gpu import gpu_name
from rarn_edge.host.threads import default_threads


@dataclass(frozen=True)
class Provider:
    """One execution provider: what users call it, what ONNX Runtime calls it, and how to get it."""

    ort_name: str
    install: str  # one line: the command, or where the build comes from
    options: Mapping[str, str] = field(default_factory=dict)
    threads_option: str | None = None  # its own name for the thread count, where it has a thread pool of its own
    memory_pattern: bool = True  # DirectML refuses sessions with it


CPU = "cpu"
_GPU = 'pip uninstall -y onnxruntime && pip install "rarn-edge[gpu]"'
_OPENVINO = 'pip uninstall -y onnxruntime && pip install "rarn-edge[openvino]"'
_MIGRAPHX = Provider("MIGraphXExecutionProvider", "pip uninstall -y onnxruntime && pip install onnxruntime-migraphx")

PROVIDERS: dict[str, Provider] = {
    CPU: Provider("CPUExecutionProvider", 'pip install "rarn-edge[cpu]"'),
    "cuda": Provider("CUDAExecutionProvider", _GPU, {"use_tf32": "0", "cudnn_conv_algo_search": "EXHAUSTIVE"}),
    "tensorrt": Provider("TensorrtExecutionProvider", f"{_GPU} tensorrt"),
    "openvino": Provider("OpenVINOExecutionProvider", _OPENVINO, {"device_type": "CPU"}, "num_of_threads"),
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
        "on Windows on Snapdragon: pip uninstall -y onnxruntime && pip install onnxruntime-qnn",
        {"backend_path": "QnnHtp.dll" if os.name == "nt" else "libQnnHtp.so"},
    ),
    "migraphx": _MIGRAPHX,
    "rocm": _MIGRAPHX,  # ONNX Runtime dropped its ROCm provider for MIGraphX
}

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
    """The provider of that user-facing name.

    Raises:
        InputError: unknown name.
    """
    if name not in PROVIDERS:
        raise InputError(f"no provider '{name}'; one of: {', '.join(PROVIDERS)}")
    return PROVIDERS[name]


def check_provider(name: str) -> Provider:
    """The provider of that name, once this installation of ONNX Runtime is known to contain it; starts nothing.

    Raises:
        InputError: unknown name.
        ProviderError: not in this build, or two builds of ONNX Runtime overwrite each other.
    """
    provider = find_provider(name)
    if name != CPU:
        rivals = installed_runtimes()
        if len(rivals) > 1:
            raise ProviderError(
                f"provider '{name}': {' and '.join(rivals)} are installed together and overwrite each other.\n"
                f"Keep one: pip uninstall -y {' '.join(rivals)}, then {provider.install.split('&& ')[-1]}"
            )
    available = ort.get_available_providers()
    if provider.ort_name not in available:
        raise ProviderError(
            f"provider '{name}' is not in this ONNX Runtime {ort.__version__} (it has {', '.join(available)}).\n"
            f"To get it: {provider.install}"
        )
    return provider


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
        provider: A key of `PROVIDERS`.
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
    require_file(path)
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
    provider_options = {**entry.options, **engine_cache_options(provider, path), **(options or {})}
    if entry.threads_option is not None:
        provider_options[entry.threads_option] = str(count)
    if tune is not None:
        tune(session_options)
    loading = _preload_libraries(entry)
    ladder: list[Any] = [(entry.ort_name, provider_options)]
    if allow_fallback and provider != CPU:
        ladder.append(PROVIDERS[CPU].ort_name)
    try:
        session = ort.InferenceSession(path, session_options, providers=ladder, enable_fallback=0)
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
    key.update(file_sha256(path).encode())
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
    raise ProviderError(
        f"provider '{name}' left {'; '.join(parts)} in {path.name}.\n"
        f"Nothing was run, for a mixed run is no answer about '{name}': use a model it can take whole, or --allow-fallback, "
        "which says in every table that the run was mixed"
    )


def _preload_libraries(provider: Provider) -> str:
    """Load the CUDA libraries that came from pip, if any; the answer is what could not be loaded, as message text."""
    preload: Any = getattr(ort, "preload_dlls", None)
    if provider.ort_name not in ("CUDAExecutionProvider", "TensorrtExecutionProvider") or preload is None:
        return ""
    spoken = io.StringIO()
    with contextlib.redirect_stdout(spoken):  # it reports failures with print()
        preload()
    lines = spoken.getvalue().strip().splitlines()
    return f" [{lines[0][:160]}]" if lines else ""
