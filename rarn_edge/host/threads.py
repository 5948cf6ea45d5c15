"""How many threads this process may use; training asks too, and needs no ONNX Runtime."""

import os
from pathlib import Path


def default_threads() -> int:
    """Threads this process may really use: its affinity mask, limited by the cgroup v2 CPU quota (rounded down)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cgroup_quota_cores(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))
    return cores if quota is None else max(1, min(cores, int(quota)))


def cgroup_quota_cores(membership: Path, root: Path) -> float | None:
    """The tightest cgroup v2 CPU quota in cores, over this process's group and its ancestors; None if unlimited.

    Args:
        membership: `/proc/self/cgroup`, whose line `0::/a/b` names the group.
        root: Where the cgroup v2 tree is mounted.
    """
    if not membership.is_file():
        return None
    groups = [line[3:] for line in membership.read_text().splitlines() if line.startswith("0::")]
    quotas = []
    for group in groups:
        folder = root / group.lstrip("/")
        for place in (folder, *folder.parents):
            file = place / "cpu.max"
            if file.is_file():
                quota, period = file.read_text().split()
                if quota != "max":
                    quotas.append(int(quota) / int(period))
            if place == root:
                break
    return min(quotas, default=None)
