"""The C++ example answers as Python does, bit by bit: the same library, the same bytes."""

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from rarn_edge.assets import shipped_onnx
from rarn_edge.contract.artifact import Artifact
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "examples" / "cpp" / "classify.cpp"
HEADER = "onnxruntime_cxx_api.h"
PLACES = ("/usr/include/onnxruntime", "/usr/local/include/onnxruntime", ROOT / "build" / "onnxruntime-include")
FOLDERS = (os.environ.get("ONNXRUNTIME_INCLUDE", ""), *PLACES)
FACES = 40


@pytest.fixture(scope="module")
def classify(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, compiled against the library that Python has loaded."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    include = next((Path(folder) for folder in FOLDERS if folder and (Path(folder) / HEADER).is_file()), None)
    if include is None:
        pytest.skip(f"no {HEADER}: apt-get install libonnxruntime-dev (Debian 13), or examples/cpp/get_headers.sh")
    libraries = sorted((Path(ort.__file__).parent / "capi").glob("libonnxruntime.so.*"))
    if not libraries:
        pytest.skip("this onnxruntime wheel brings no libonnxruntime.so")
    folder = tmp_path_factory.mktemp("cpp")
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / name).symlink_to(libraries[0])
    program = folder / "classify"
    command = [compiler, "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", SOURCE, "-o", program, "-I", include,
               "-L", folder, "-lonnxruntime", f"-Wl,-rpath,{folder}"]  # fmt: skip
    built = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return program


def call(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def check(program: Path, model: Path, folder: Path) -> None:
    """Every logit is the same float32, and the label is its class."""
    faces = synthetic_faces(FACES, 23).images
    raw = folder / "faces.raw"
    raw.write_bytes(faces.tobytes())
    done = call(program, model, raw)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    found = np.array([line[2:] for line in lines]).astype(np.float32)  # nine digits name each float32
    spec = Artifact.load(model).spec
    expected = run_logits(open_session(model, threads=1), spec, faces)
    np.testing.assert_array_equal(found, expected)
    assert [line[0] for line in lines] == [spec.classes[index] for index in expected.argmax(axis=1)]
    scaled = np.exp((expected - expected.max(axis=1, keepdims=True)) / spec.temperature)
    np.testing.assert_allclose([float(line[1]) for line in lines], 1 / scaled.sum(axis=1), atol=6e-4)


@pytest.mark.parametrize("model", ["rarn-s", "rarn-n"])
def test_shipped_files(model: str, classify: Path, tmp_path: Path) -> None:
    check(classify, shipped_onnx(model), tmp_path)


def test_a_file_that_takes_bytes(classify: Path, simplified: Artifact, tmp_path: Path) -> None:
    from rarn_edge.contract.targets import Target
    from rarn_edge.pipeline.calibrate import calibrate
    from rarn_edge.pipeline.quantize import quantize

    ranges = calibrate(simplified, synthetic_faces(64, seed=3))
    made = quantize(simplified, Target.ARM, ranges, tmp_path / "bytes.onnx", input_dtype="uint8")
    check(classify, made.artifact.path, tmp_path)


def test_bad_input_is_refused(classify: Path, tmp_path: Path) -> None:
    raw = tmp_path / "faces.raw"
    raw.write_bytes(bytes(2305))
    for arguments, said in (
        ((), "usage: classify"),
        ((tmp_path / "absent.onnx", raw), "absent.onnx"),
        ((shipped_onnx("rarn-n"), raw), "no whole number of faces of 48x48"),
        ((shipped_onnx("rarn-n"), tmp_path / "absent.raw"), "no whole number of faces"),
        ((ROOT / "rarn_edge" / "assets" / "peak_float32.onnx", raw), "has no rarn-edge metadata"),
    ):
        done = call(classify, *arguments)
        assert done.returncode == 2
        assert said in done.stderr


def test_it_is_short() -> None:
    assert len(SOURCE.read_text(encoding="utf-8").splitlines()) <= 80
