"""A GPU provider for real, without a GPU: WebGPU over SwiftShader, the Vulkan device in software that Chromium brings."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from torch import nn

import rarn_edge
from rarn_edge.assets import shipped_onnx
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import ModelSpec

CHROMIUMS = ("/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome")
DRIVERS = [Path(folder) / "vk_swiftshader_icd.json" for folder in CHROMIUMS]
FACES = 2  # SwiftShader takes a second a batch


@pytest.fixture(scope="module")
def swiftshader() -> Mapping[str, str]:
    """The environment in which Vulkan is SwiftShader."""
    if importlib.util.find_spec("onnxruntime_ep_webgpu") is None:
        pytest.skip('onnxruntime-ep-webgpu is not installed: pip install "rarn-edge[webgpu]"')
    driver = next((path for path in DRIVERS if path.is_file()), None)
    if driver is None:
        pytest.skip("Chromium's SwiftShader is not here: apt-get install chromium")
    return {
        **os.environ,
        "VK_DRIVER_FILES": str(driver),
        "LD_LIBRARY_PATH": os.pathsep.join(filter(None, (str(driver.parent), os.environ.get("LD_LIBRARY_PATH")))),
        "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER": "1",
        "XDG_RUNTIME_DIR": os.environ.get("XDG_RUNTIME_DIR", "/tmp"),
    }


def call(environment: Mapping[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(environment), timeout=300, check=False)


@pytest.fixture(scope="module")
def float32_files(shipped_float32: Callable[..., Artifact]) -> list[Path]:
    """Both shipped models."""
    return [shipped_float32(name).path for name in ("rarn-s", "rarn-n")]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one convolution: a benchmark calls it a hundred times."""
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    return rarn_edge.export(path, module.eval(), spec=ModelSpec("small", ("a", "b", "c"))).artifact.path


COMPARE = """
import sys
from pathlib import Path
import numpy as np
from rarn_edge.contract.artifact import Artifact
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import assigned_operators, device_memory, open_session

faces = synthetic_faces(int(sys.argv[1]), 5).images
for name in sys.argv[2:]:
    path = Path(name)
    spec = Artifact.load(path).spec
    cpu, webgpu = open_session(path), open_session(path, "webgpu")
    assert list(assigned_operators(webgpu)) == ["WebGpuExecutionProvider"]
    assert device_memory(webgpu, "webgpu") is not None and device_memory(cpu, "cpu") is None
    print(np.abs(run_logits(cpu, spec, faces) - run_logits(webgpu, spec, faces)).max())
"""


def test_webgpu_answers_as_the_cpu(swiftshader: Mapping[str, str], float32_files: list[Path]) -> None:
    done = call(swiftshader, "-c", COMPARE, FACES, *float32_files)
    assert done.returncode == 0, done.stderr
    differences = [float(line) for line in done.stdout.split()]
    assert len(differences) == 2
    assert 0 < max(differences) < 1e-4  # 0 would be the CPU itself


def test_bench_binds_inputs_and_outputs(swiftshader: Mapping[str, str], small: Path, tmp_path: Path) -> None:
    result = tmp_path / "bench.json"
    done = call(
        swiftshader, "-m", "rarn_edge", "bench", small, "--provider", "webgpu", "--device", "0",
        "--rounds", 3, "--starts", 1, "--memory", "-o", result,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert found["provider"] == "webgpu:0"
    (row,) = found["rows"]
    assert row["latency_median_s"] > 0
    # a call that only launched would take less than a millisecond
    assert row["device_median_s"] > 0.2 * row["latency_median_s"]


def test_an_int8_file_is_refused_and_float16_offered(swiftshader: Mapping[str, str]) -> None:
    bench = ("-m", "rarn_edge", "bench", shipped_onnx("rarn-n"), "--provider", "webgpu", "--rounds", 3, "--starts", 1)
    refused = call(swiftshader, *bench, "--no-memory")
    assert refused.returncode == 3
    assert "48 of 195 nodes to CPUExecutionProvider (48 QuantizeLinear)" in refused.stderr
    assert "--precision fp16" in refused.stderr
    mixed = call(swiftshader, *bench, "--no-memory", "--allow-fallback")
    assert mixed.returncode == 0, mixed.stderr
    assert "48 of 195 nodes not on webgpu" in mixed.stderr


def test_doctor_lists_the_device_and_starts_it(swiftshader: Mapping[str, str]) -> None:
    found = json.loads(call(swiftshader, "-m", "rarn_edge", "doctor", "--json").stdout)
    (webgpu,) = (each for each in found["providers"] if each["name"] == "webgpu")
    assert webgpu["state"] == "starts"
    assert [each["index"] for each in webgpu["devices"]] == [0]


def test_without_a_device_it_says_so(swiftshader: Mapping[str, str]) -> None:
    """The same package where no software adapter is allowed, and so there is no GPU."""
    bare = {key: value for key, value in swiftshader.items() if key != "ORT_WEBGPU_EP_ALLOW_SOFTWARE_ADAPTER"}
    done = call(bare, "-m", "rarn_edge", "bench", shipped_onnx("rarn-n"), "--provider", "webgpu", "--device", "gpu")
    if done.returncode != 3 and "nodes" in done.stderr:
        pytest.skip("this machine has a GPU")
    assert done.returncode == 3
    assert "offers no device on this machine" in done.stderr
