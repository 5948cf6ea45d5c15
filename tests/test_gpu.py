"""Name and memory are those of the GPU that CUDA runs on; driver and NVML are played."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rarn_edge.host.gpu import gpu_name, gpu_used_bytes

GPUS = {"GPU-aa11": ("NVIDIA H200, 570.1", 100), "GPU-bb22": ("NVIDIA T4, 570.1", 200)}


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "".join(f"{uuid}, {name}\\n" for uuid, (name, _) in GPUS.items())
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\nprintf '{lines}'\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(GPUS),
        nvmlDeviceGetHandleByIndex=lambda number: list(GPUS)[number],
        nvmlDeviceGetUUID=lambda handle: handle,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=GPUS[handle][1]),
        NVMLError=RuntimeError,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)


@pytest.mark.skipif(sys.platform == "win32", reason="the driver is played by a shell script")
@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("asked", "uuid"),
    [
        (None, "GPU-aa11"),
        ("0,1", "GPU-aa11"),
        ("1", "GPU-bb22"),
        ("1,0", "GPU-bb22"),
        ("GPU-bb22", "GPU-bb22"),
        ("GPU-b", "GPU-bb22"),
        ("MIG-cc33", "GPU-aa11"),
        ("", None),
        ("-1", None),
        ("2", None),
        ("GPU-dd44", None),
    ],
)
def test_the_first_visible_gpu(asked: str | None, uuid: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if asked is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", asked)
    assert (gpu_name(), gpu_used_bytes()) == ((None, None) if uuid is None else GPUS[uuid])


@pytest.mark.parametrize("answer", ["exit 9", "echo No devices were found"])
def test_a_driver_without_a_gpu(answer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() is None
