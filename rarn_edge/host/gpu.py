"""The first NVIDIA GPU, as its driver tells."""

import subprocess


def gpu_name() -> str | None:
    """The GPU and its driver as `nvidia-smi` names them; None without one."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.strip().splitlines()
    return lines[0].strip() if done.returncode == 0 and lines else None


def gpu_used_bytes() -> int | None:
    """Memory in use by everyone, as NVML counts it; None without a GPU or without `nvidia-ml-py`.

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
