"""Memory of this process and of the machine, as the operating system counts it: the only reader of /proc/meminfo."""

import os
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def rss_bytes() -> int | None:
    """Resident memory now; None where only the peak can be read without another package."""
    return _table(_STATUS).get("VmRSS")


def peak_rss_bytes() -> int:
    """The highest resident memory of this process so far."""
    if sys.platform == "win32":
        return _windows_peak_bytes()
    highest = _table(_STATUS).get("VmHWM")  # getrusage's ru_maxrss keeps the parent's peak across fork and exec
    if highest is not None:
        return highest
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others KiB


def meminfo() -> dict[str, int]:
    """Bytes by the names of Linux's /proc/meminfo, such as MemAvailable; empty elsewhere."""
    return _table(Path("/proc/meminfo"))


def total_bytes() -> int | None:
    """The machine's memory; None where it cannot be asked for without another package."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _table(path: Path) -> dict[str, int]:
    """Bytes of the lines `Name:  123 kB`."""
    if not path.is_file():
        return {}
    lines = [line.split() for line in path.read_text().splitlines()]
    return {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if words[2:] == ["kB"]}


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
