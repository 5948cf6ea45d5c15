"""Shapes of a network are trained with several seeds and compared on the same faces."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.bench.conftest import MakeOnnx


@pytest.fixture(scope="module")
def shapes(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("benchmarks/shapes.py")


def test_each_seed_has_its_difference(shapes: ModuleType) -> None:
    shipped = [np.zeros(100), np.repeat([0.0, 1.0], 50)]
    other = [np.ones(100), np.tile([0.0, 1.0], 50)]
    assert shapes.differences(shipped, other) == "**+100.00**, +0.00"


def test_shapes_are_trained_with_each_seed_and_not_again(
    shapes: ModuleType,
    make_onnx: MakeOnnx,
    faces_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rival, runs = make_onnx("rival", ("n", 1, 48, 48)), tmp_path / "runs"
    options = ["--shape", 9, "--data", faces_folder, "--epochs", 1, "--rounds", 3, "--runs", runs]
    monkeypatch.setattr("sys.argv", ["shapes.py", *map(str, [rival, *options, "--seed", 3, "--seed", 4])])
    shapes.main()
    first = capsys.readouterr().out.splitlines()
    weights = {path: path.stat().st_mtime_ns for path in runs.rglob("weights.safetensors")}
    assert len(weights) == 4  # two shapes, two seeds
    assert len({path.read_bytes() for path in weights}) == 4
    trained = [line for line in first if ", seed " in line]
    assert [line.split(", seed ")[1].split(":")[0] for line in trained] == ["3", "4", "3", "4"]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in first if line.startswith("| ")]
    assert table[0][-1] == "to the last, each seed"
    assert len(table[1][-1].split(", ")) == 2
    assert table[2][-1] == "reference"
    assert [row[1] for row in table[1:]] == ["383,980", "384,364"]
    monkeypatch.setattr("sys.argv", ["shapes.py", *map(str, [rival, *options, "--seed", 4])])
    shapes.main()
    again = capsys.readouterr().out.splitlines()
    assert [line for line in again if ", seed " in line] == trained[1::2]  # judged again, not trained again
    assert {path: path.stat().st_mtime_ns for path in weights} == weights
