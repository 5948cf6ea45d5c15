"""System noise: a reference workload timed in every round, and the kernel's counters before and after a run.

A benchmark cannot choose its machine's neighbours, but it can notice them and say what to do.
"""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rarn_edge.host.threads import default_threads

_BLOCK = bytes(32 << 10)  # stays in a first-level cache: the time follows the clock, not the memory
_REPEATS = 8
_BUSY = 0.5  # of the cores are wanted by others
_UNSTEADY = 0.15  # of the median, between the 10th and the 90th percentile of the workload
_DRIFT = 0.05  # between the medians of the first and the last third
_ENOUGH = 12


def workload_s() -> float:
    """Seconds of the reference workload in this process, the shorter of two: hashing 256 KiB."""
    return min(_hashing_s(), _hashing_s())


def _hashing_s() -> float:
    start_s = time.perf_counter()
    for _ in range(_REPEATS):
        hashlib.sha256(_BLOCK).digest()
    return time.perf_counter() - start_s


def load_average() -> float | None:
    """Processes that wanted a core during the last minute, or None where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def unsteady(load: float | None, samples_s: Sequence[float] = ()) -> list[str]:
    """One line on a machine that others use, from the load at the start and the seconds of the reference workload in each round.

    The workload tells two things: how much it varied (between the 10th and the 90th percentile), and how much longer it took at
    the end than at the start. A few rounds tell neither.
    """
    cores = default_threads()
    signs = []
    if load is not None and load > _BUSY * cores:
        signs.append(f"load {load:.1f} on {cores} core{'' if cores == 1 else 's'}")
    if len(samples_s) >= _ENOUGH:
        values = np.asarray(samples_s)
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9))
        spread = float((high - low) / middle)
        if spread > _UNSTEADY:
            signs.append(f"spread {spread:.0%}")
        third = len(values) // 3
        change = float(np.median(values[-third:]) / np.median(values[:third]) - 1)
        if abs(change) > _DRIFT:
            signs.append(f"drift {change:+.0%}")
    return [f"unsteady ({', '.join(signs)}): close programs, trust ratios"] if signs else []


class Counters:
    """The kernel's counters since construction; on other systems than Linux it says nothing."""

    def __init__(self) -> None:
        self._start = _read()

    def warnings(self) -> list[str]:
        """What they say about the time since."""
        now = _read()
        change = {key: now[key] - self._start[key] for key in now if key in self._start}
        found = []
        total = change.get("ticks", 0)
        if total and change.get("steal", 0) / total > 0.01:
            share = change["steal"] / total
            found.append(f"the host took {share:.0%} of this machine's processor time: use a machine of its own")
        if change.get("throttled", 0) > 0:
            found.append(
                f"the CPU quota stopped this process {change['throttled']:.0f} times: use fewer threads or raise it"
            )
        pages = change.get("pswpin", 0) + change.get("pswpout", 0)
        if pages > 100:
            found.append(f"{pages:,.0f} pages were swapped during the run: free memory, or bench fewer models at once")
        if change.get("thermal", 0) > 0:
            found.append("the processor throttled itself for heat during the run: cool it, or make runs shorter")
        return found


def _read() -> dict[str, float]:
    """Counters that only grow."""
    values: dict[str, float] = {}
    stat = Path("/proc/stat")
    if stat.is_file():
        ticks = [float(value) for value in stat.read_text().splitlines()[0].split()[1:]]
        values["ticks"] = sum(ticks[:8])  # guest time is in user time already
        values["steal"] = ticks[7] if len(ticks) > 7 else 0.0
    for file, keys in (("/proc/vmstat", ("pswpin", "pswpout")), ("/sys/fs/cgroup/cpu.stat", ("nr_throttled",))):
        path = Path(file)
        if path.is_file():
            pairs = [line.split() for line in path.read_text().splitlines()]
            values |= {pair[0].removeprefix("nr_"): float(pair[1]) for pair in pairs if pair[0] in keys}
    throttles = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    counts = [float(path.read_text()) for path in throttles]
    if counts:
        values["thermal"] = sum(counts)
    return values
