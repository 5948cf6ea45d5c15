"""A network of one's own on the command line: its weights, its teachers, and what is said of one that cannot be used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.models.build import untrained_model
from rarn_edge.models.catalog import find_model
from rarn_edge.train.checkpoint import save_weights

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures SPLIT/CLASS/FILE of two classes: more of blue, more of red."""
    root, rng = tmp_path_factory.mktemp("colours"), np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 6)):
        for index, name in enumerate(("blue", "red")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = rng.integers(0, 120, (20, 20, 3))
                image[..., index * 2] += 120
                cv2.imwrite(str(folder / f"{number}.png"), image.astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a network of one's own as training leaves them, and its file beside them; they know red from blue."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "colour.py").write_text(COLOUR_NET)
    spec = ModelSpec("colour", ("blue", "red"), Preprocess(16, 16, (128.0,) * 3, (64.0,) * 3), label_source="data")
    tensors = {"conv.weight": torch.zeros(2, 3, 1, 1), "conv.bias": torch.zeros(2)}
    tensors["conv.weight"][0, 2] = tensors["conv.weight"][1, 0] = 1.0
    save_weights(folder / "colour.safetensors", spec, tensors, {"network": "colour.py:build"})
    return folder


COLOUR_NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, x):
        return self.conv(x).mean((2, 3))

def build(num_classes, in_channels):
    return Net(num_classes, in_channels)

def wide(num_classes, in_channels):
    return nn.Sequential(Net(num_classes, in_channels))
"""


def test_weights_of_ones_own_network_are_evaluated(trained: Path, colours: Path, cli: Cli) -> None:
    file = trained / "colour.safetensors"
    done = cli("evaluate", file, "--model", f"{trained}/colour.py:build", "--data", colours, "--json")
    assert (done.returncode, json.loads(done.stdout)["accuracy"]) == (0, 1.0)


def test_weights_of_ones_own_network_need_it_named_on_the_command_line(trained: Path, colours: Path, cli: Cli) -> None:
    file = trained / "colour.safetensors"
    how = "'colour' is no model of this package; say how it is built: --model FILE.py:CALLABLE (it was trained as"
    for command in (
        ("evaluate", file, "--data", colours),
        ("export", "--weights", file, "-o", trained / "x.onnx"),
        ("parity", "--weights", file),
        ("run", "--weights", file, "--out", trained / "run"),
    ):
        refused = cli(*command)
        assert (refused.returncode, how in " ".join(refused.stderr.split())) == (2, True), refused.stderr
    other = cli("evaluate", file, "--model", f"{trained}/colour.py:wide", "--data", colours)
    assert "named so far: 'colour-wide'" in " ".join(other.stderr.split())
    exported = cli("export", "--model", f"{trained}/colour.py:build", "--weights", file, "-o", trained / "colour.onnx")
    assert exported.returncode == 0, exported.stderr
    idle = cli("evaluate", trained / "colour.onnx", "--model", f"{trained}/colour.py:build", "--data", colours)
    assert (idle.returncode, "an ONNX file needs none" in " ".join(idle.stderr.split())) == (2, True)


def test_export_takes_the_model_from_the_weights(tmp_path: Path, cli: Cli) -> None:
    spec = find_model("rarn-n").spec
    save_weights(tmp_path / "w.safetensors", spec, dict(untrained_model("rarn-n", 0).state_dict()), {})
    done = cli("export", "--weights", tmp_path / "w.safetensors", "-o", tmp_path / "w.onnx")
    assert (done.returncode, Artifact.load(tmp_path / "w.onnx").spec.name) == (0, "rarn-n"), done.stderr
    sized = cli("export", "--weights", tmp_path / "w.safetensors", "--size", "64", "-o", tmp_path / "x.onnx")
    assert (sized.returncode, "name it with --model" in sized.stderr) == (2, True)


def test_a_teacher_of_another_network_says_how_it_is_built(trained: Path, colours: Path, cli: Cli) -> None:
    student = (
        "from torch import nn\ndef build(num_classes, in_channels):\n    return nn.Sequential("
        "nn.Conv2d(in_channels, num_classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
    )
    (trained / "student.py").write_text(student)
    command = (
        "train", "--data", colours, "--model", f"{trained}/student.py:build", "--rgb", "--size", "16", "--recipe", "edge-taught",
        "--epochs", "1", "--batch", "8", "--teacher", trained / "colour.safetensors",
    )  # fmt: skip
    refused = cli(*command, "--out", trained / "run")
    assert "--teacher-model FILE.py:CALLABLE (it was trained as" in " ".join(refused.stderr.split())
    done = cli(*command, "--teacher-model", f"{trained}/colour.py:build", "--out", trained / "taught")
    assert done.returncode == 0, done.stderr
    assert (trained / "taught" / "weights.safetensors").is_file()
    alone = cli("train", "--data", colours, "--teacher-model", f"{trained}/colour.py:build", "--out", trained / "none")
    assert "about teachers; name them with --teacher" in " ".join(alone.stderr.split())


def test_models_lists_what_installed_packages_bring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """By a package as it is installed: its metadata on the path. Its code, which would end the program, is not loaded."""
    info = tmp_path / "their_package-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-package\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[rarn_edge.models]\ntheir-net = their_package.nets:build\n")
    (tmp_path / "their_package").mkdir()
    (tmp_path / "their_package" / "__init__.py").write_text("raise SystemExit(9)\n")
    monkeypatch.syspath_prepend(tmp_path)
    known = json.loads(cli("models", "--json").stdout)
    source = "their-package 1.5 (their_package.nets:build)"
    assert {"name": "their-net", "source": source, "role": "installed"} in known
    listed = " ".join(cli("models").stdout.split())
    assert {"their-net", "their-package"} <= set(listed.split())
    asked = cli("export", "--model", "their-net", "-o", tmp_path / "x.onnx")
    assert (asked.returncode, "it cannot be loaded: SystemExit: 9" in asked.stderr) == (2, True), asked.stderr
