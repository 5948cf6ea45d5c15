"""The child process of `memory`: opens one session, runs it, and prints its own peak resident memory as one JSON line.

Its argument is a JSON object: `{}` measures the imports alone, else the keys are the fields of `memory.ProbeRequest`.
"""

import json
import sys
from pathlib import Path

import numpy as np

from rarn_edge.errors import RarnEdgeError
from rarn_edge.providers import open_session

_RUNS = 3  # the memory arena reaches its size in the second run at the latest


def peak_rss_bytes() -> int:
    """The highest resident memory of this process so far."""
    if sys.platform == "win32":
        return _windows_peak_bytes()
    status = Path("/proc/self/status")
    if status.exists():  # not getrusage: on Linux its ru_maxrss keeps the parent's peak across fork and exec
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # macOS counts bytes, the others KiB


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


def main(argument: str) -> str:
    """Do what the JSON argument says; the JSON answer has `peak_rss_bytes` or `error`."""
    request = json.loads(argument)
    try:
        if request:
            session = open_session(Path(request["path"]), request["provider"], request["threads"])
            feed = {request["input_name"]: np.zeros(request["input_shape"], request["input_dtype"])}
            for _ in range(_RUNS):
                session.run(None, feed)
    except RarnEdgeError as error:
        return json.dumps({"error": str(error)})
    return json.dumps({"peak_rss_bytes": peak_rss_bytes()})


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1]) + "\n")
