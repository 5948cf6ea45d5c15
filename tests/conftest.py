"""What many tests share: one tiny network taken through the whole pipeline, the command line in this process, and faces.

Nothing here imports torch or onnx before a fixture needs it: `tests/device` runs where neither is installed.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import CLASSES, FERPLUS, FERPLUS_CLASSES
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces, Split
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.data.votes import CHOICES, majority

if TYPE_CHECKING:
    from rarn_edge.pipeline.calibrate import Ranges
    from rarn_edge.pipeline.quantize import Quantized
    from rarn_edge.train.checkpoint import Weights

ROOT = Path(__file__).parents[1]
FERPLUS_VARIABLE = "RARN_EDGE_FERPLUS"
FER2013_VARIABLE = "RARN_EDGE_FER2013"
TINY_MODEL = "rarn-n"

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # "gw0", "gw1"; empty where one process runs all tests
LONG = ("test_examples.py", "test_webgpu.py", "test_page.py", "test_workers.py", "test_transfer.py", "test_assets.py")

Cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_configure() -> None:
    """A core for each worker, before torch counts them: threads that spin for a core in use cost half as much again."""
    if WORKER:
        if hasattr(os, "sched_setaffinity"):
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[int(WORKER.removeprefix("gw")) % len(cores)]})
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first where workers share the tests: at the end none waits for the other."""
    if WORKER:
        items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """`cli("models", "--json")`: the command line in this process; an unexpected exception fails the test."""
    from rarn_edge.cli import main

    monkeypatch.setattr("rarn_edge.workflow.inputs.SYNTHETIC_FACES", 42)  # drawing 512 takes a second

    def call(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = ["rarn-edge", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        said = capsys.readouterr()
        return subprocess.CompletedProcess(command, int(stop.value.code or 0), said.out, said.err)

    return call


@pytest.fixture(scope="session")
def script() -> Callable[[str], ModuleType]:
    """`script("benchmarks/render.py")`: a file of this repository outside the package, as a module."""

    def load(path: str) -> ModuleType:
        name = Path(path).stem
        spec = importlib.util.spec_from_file_location(name, ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def python() -> Cli:
    """`python("-m", "rarn_edge", "models")`: a fresh process that imports this checkout."""

    def call(*arguments: object, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **(env or {})}
        command = [sys.executable, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)

    return call


@pytest.fixture(scope="session")
def chromium() -> str:
    found = os.environ.get("RARN_EDGE_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("Chromium is not installed; .ci/run installs Debian's, or RARN_EDGE_CHROMIUM names one")
    return found


@pytest.fixture(scope="session")
def fer2013() -> Path:
    """The real data set, or the test is skipped."""
    path = Path(os.environ.get(FER2013_VARIABLE) or ROOT / "../shared/data/fer2013.zip")
    if not path.exists():
        pytest.skip(f"FER-2013 is not here; {FER2013_VARIABLE}=/path/to/fer2013.zip names it")
    return path


@pytest.fixture(scope="session")
def ferplus() -> Path:
    """People's votes for the faces of `fer2013`."""
    path = Path(os.environ.get(FERPLUS_VARIABLE) or ROOT / "../shared/data/ferplus.csv")
    if not path.is_file():
        pytest.skip(f"FER+ is not here; {FERPLUS_VARIABLE}=/path/to/ferplus.csv names it")
    return path


@pytest.fixture(scope="session")
def split_faces() -> Faces:
    """63 drawn faces: 42 of Training, 14 of PublicTest, 7 of PrivateTest."""
    faces = synthetic_faces(63, seed=11)
    splits = [Split.TRAINING] * 42 + [Split.PUBLIC_TEST] * 14 + [Split.PRIVATE_TEST] * 7
    return replace(faces, splits=np.array([split.value for split in splits]))


@pytest.fixture(scope="session")
def voted_faces(split_faces: Faces) -> Faces:
    """The same faces under the votes of ten people each: seven say what was drawn, three contempt."""
    votes = np.zeros((len(split_faces), len(CHOICES)), dtype=np.uint8)
    votes[np.arange(len(split_faces)), split_faces.labels] = 7
    votes[:, CHOICES.index("contempt")] = 3
    return replace(split_faces, votes=votes, labels=majority(votes), classes=FERPLUS_CLASSES)


@pytest.fixture(scope="session")
def faces_folder(split_faces: Faces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same faces as PNG files: PublicTest/happy/45.png."""
    root = tmp_path_factory.mktemp("faces")
    for index, image in enumerate(split_faces.images):
        folder = root / str(split_faces.splits[index]) / CLASSES[split_faces.labels[index]]
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{index}.png"), image)
    return root


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> "Callable[..., Path]":
    """`make_weights(seed=1)`: a weights file of `rarn-n`, random but with batch statistics of faces."""
    from rarn_edge.models.build import untrained_model
    from rarn_edge.models.catalog import find_model
    from rarn_edge.train.checkpoint import save_weights

    def make(seed: int = 0, name: str = TINY_MODEL) -> Path:
        spec = find_model(name).spec
        model = untrained_model(name, seed)
        path = tmp_path_factory.mktemp("weights") / f"{name}.{seed}.safetensors"
        save_weights(path, spec, dict(model.state_dict()), {"recipe": "none", "seed": seed})
        return path

    return make


@pytest.fixture(scope="session")
def weights_file(make_weights: Callable[..., Path]) -> Path:
    return make_weights(seed=0)


@pytest.fixture(scope="session")
def weights(weights_file: Path) -> "Weights":
    from rarn_edge.train.checkpoint import load_weights

    return load_weights(weights_file)


@pytest.fixture(scope="session")
def other_weights(make_weights: Callable[..., Path]) -> "Weights":
    """The same network with other parameters."""
    from rarn_edge.train.checkpoint import load_weights

    return load_weights(make_weights(seed=1))


@pytest.fixture(scope="session")
def shipped_float32(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """`shipped_float32("rarn-s")`: the float32 file of a shipped model, exported and simplified once for all who only read it."""
    folder = tmp_path_factory.getbasetemp()
    if WORKER:
        folder = folder.parent  # the workers' common one

    def find(name: str, labels: str = FERPLUS) -> Artifact:
        from rarn_edge.workflow.model_files import export

        path = folder / f"shipped-{labels}" / f"{name}.onnx"
        if not path.is_file():
            made = export(tmp_path_factory.mktemp("export") / path.name, name, labels=labels)
            assert made.kept_because is None
            path.parent.mkdir(exist_ok=True)
            made.artifact.path.replace(path)  # in one step: another worker finds all of it or nothing
        return Artifact.load(path)

    return find


@pytest.fixture(scope="session")
def exported(weights: "Weights", tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    from rarn_edge.pipeline.export import export

    return export(weights, tmp_path_factory.mktemp("exported") / "exported.onnx")


@pytest.fixture(scope="session")
def simplified(exported: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    from rarn_edge.pipeline.simplify import simplify

    done = simplify(exported, tmp_path_factory.mktemp("simplified") / "simplified.onnx")
    assert done.kept_because is None
    return done.artifact


@pytest.fixture(scope="session")
def ranges(simplified: Artifact) -> "Ranges":
    from rarn_edge.pipeline.calibrate import calibrate

    return calibrate(simplified, synthetic_faces(64, seed=3))


@pytest.fixture(scope="session")
def int8(
    simplified: Artifact, ranges: "Ranges", tmp_path_factory: pytest.TempPathFactory
) -> "Mapping[Target, Quantized]":
    """One INT8 file for each target."""
    from rarn_edge.pipeline.quantize import quantize

    folder = tmp_path_factory.mktemp("int8")
    return {target: quantize(simplified, target, ranges, folder / f"{target}.onnx") for target in Target}
