"""Resident memory of this process, as its operating system counts it."""

import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def rss_bytes() -> int | None:
    """Resident memory now; None where only the peak can be read without another package."""
    return _status_bytes("VmRSS:")


def peak_rss_bytes() -> int:
    """The highest resident memory of this process so far."""
    if sys.platform == "win32":
        return _windows_peak_bytes()
    highest = _status_bytes(
        "VmHWM:"
    )  # not getrusage: on Linux its ru_maxrss keeps the parent's peak across fork and exec
    if highest is not None:
        return highest
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others KiB


def gpu_used_bytes() -> int | None:
    """Memory in use on the first NVIDIA GPU by everyone, as NVML counts it; None without a GPU or without `nvidia-ml-py`.

    Not by process: in a container, NVML's process numbers are the host's.
    """
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
        return int(pynvml.nvmlDeviceGetMemoryInfo(pynvml.nvmlDeviceGetHandleByIndex(0)).used)
    except pynvml.NVMLError:
        return None


def _status_bytes(key: str) -> int | None:
    if not _STATUS.exists():
        return None
    found = [line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith(key)]
    return int(found[0]) * 1024 if found else None


def _windows_peak_bytes() -> int:
    if sys.platform != "win32":
        raise NotImplementedError
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of psapi.h."""

        _fields_ = (
            ("cb", wintypes.DWORD),
            ("page_fault_count", wintypes.DWORD),
            ("peak_working_set_size", ctypes.c_size_t),
            ("other", ctypes.c_size_t * 7),
        )

    kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel32.GetCurrentProcess.restype = wintypes.HANDLE
    kernel32.K32GetProcessMemoryInfo.argtypes = (wintypes.HANDLE, ctypes.POINTER(Counters), wintypes.DWORD)
    counters = Counters()
    counters.cb = ctypes.sizeof(Counters)
    if not kernel32.K32GetProcessMemoryInfo(kernel32.GetCurrentProcess(), ctypes.byref(counters), counters.cb):
        raise ctypes.WinError(ctypes.get_last_error())
    return int(counters.peak_working_set_size)
