"""The NVIDIA GPU that CUDA runs on first, as its driver tells."""

import os
import subprocess
from collections.abc import Sequence


def gpu_name() -> str | None:
    """The GPU and its driver as `nvidia-smi` names them; None without one, or where CUDA_VISIBLE_DEVICES hides all."""
    command = ["nvidia-smi", "--query-gpu=uuid,name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    gpus = [line.strip().split(", ", 1) for line in done.stdout.splitlines() if ", " in line]
    number = _visible([uuid for uuid, _ in gpus])
    return None if number is None else gpus[number][1]


def gpu_used_bytes() -> int | None:
    """Memory of that GPU in use by everyone, as NVML counts it; None without it or without `nvidia-ml-py`.

    Not by process: in a container, NVML's process numbers are the host's.
    """
    try:
        import pynvml
    except ModuleNotFoundError:
        return None
    try:
        pynvml.nvmlInit()
        gpus = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        number = _visible([str(pynvml.nvmlDeviceGetUUID(gpu)) for gpu in gpus])
        return None if number is None else int(pynvml.nvmlDeviceGetMemoryInfo(gpus[number]).used)
    except pynvml.NVMLError:
        return None


def _visible(uuids: Sequence[str]) -> int | None:
    """Which of the driver's GPUs is CUDA's first: CUDA_VISIBLE_DEVICES names it by number or by the beginning of its UUID.

    The driver counts by PCI bus, CUDA so only with CUDA_DEVICE_ORDER=PCI_BUS_ID, else the fastest is first: where GPUs differ,
    a UUID is certain. A part of a GPU (MIG) has a UUID that the driver's list lacks: the first GPU stands for it.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    if first.startswith("MIG-"):
        first = "0"
    if first.isdecimal():
        return int(first) if int(first) < len(uuids) else None
    return next((number for number, uuid in enumerate(uuids) if first and uuid.startswith(first)), None)
