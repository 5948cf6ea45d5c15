"""Shapes of a network are trained with several seeds and compared on the same faces."""

import shutil
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data import load_faces
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.train.run import split_for_training
from tests.bench.conftest import MakeOnnx


@pytest.fixture(scope="module")
def shapes(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("benchmarks/shapes.py")


def test_each_seed_has_its_difference(
    shapes: ModuleType,
    simplified: Artifact,
    int8: Mapping[Target, Quantized],
    make_onnx: MakeOnnx,
    faces_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of 100 faces a shape answers all with one seed, every second one with the other; the shipped one none, and half of them."""
    right = {
        (384_364, 3): np.zeros(100),
        (384_364, 4): np.repeat([0.0, 1.0], 50),
        (383_980, 3): np.ones(100),
        (383_980, 4): np.tile([0.0, 1.0], 50),
    }

    def trained(shape: Any, *given: Any) -> NDArray[np.float64]:
        *_, seed, float32, quantized = given
        shutil.copyfile(simplified.path, float32)
        shutil.copyfile(int8[Target.X86_AVX2].artifact.path, quantized)
        return right[shapes.count_parameters(shape.builder(7, 1)), seed]

    monkeypatch.setattr(shapes, "trained_files", trained)
    options = ["--shape", 9, "--data", faces_folder, "--rounds", 3, "--seed", 3, "--seed", 4]
    monkeypatch.setattr("sys.argv", ["shapes.py", *map(str, [make_onnx("rival", ("n", 1, 48, 48)), *options])])
    shapes.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(", seed ")[1] for line in lines if ", seed " in line] == [
        "3: 100.00%",
        "4: 50.00%",
        "3: 0.00%",
        "4: 50.00%",
    ]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    assert [row[-2:] for row in table] == [
        ["accuracy, INT8", "to the last, each seed"],
        ["75.00%", "**+100.00**, +0.00"],
        ["25.00%", "reference"],
    ]


def test_a_seed_is_trained_once(shapes: ModuleType, faces_folder: Path, tmp_path: Path) -> None:
    training, held_out = split_for_training(load_faces(faces_folder))
    plan = Namespace(runs=tmp_path / "runs", epochs=1, batch=16, threads=1, precision="float32")
    files = (tmp_path / "a.onnx", tmp_path / "a.int8.onnx")
    shape = shapes.SHAPES["rarn-n"][-1]
    answers = {seed: shapes.trained_files(shape, training, held_out, None, plan, seed, *files) for seed in (3, 4)}
    weights = {path: path.stat().st_mtime_ns for path in plan.runs.rglob("weights.safetensors")}
    assert len({path.read_bytes() for path in weights}) == 2
    again = shapes.trained_files(shape, training, held_out, None, plan, 4, *files)
    assert again.tolist() == answers[4].tolist()
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
