"""Options that would do nothing, that contradict each other, or files in the wrong place: said, and nothing is written."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target, detect_host

Cli = Callable[..., subprocess.CompletedProcess[str]]
MEAN = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("quantize", "FLOAT", "-o", "OUT", "--images", "7"), "--images: of ranges that are measured; name the data"),
        (("quantize", "FLOAT", "-o", "OUT", "--method", "entropy", "--seed", "3"), "--method, --seed: of ranges that"),
        (("quantize", "FLOAT", "-o", "OUT", "--no-verdict", "--data", "DATA"), "--data is judged on by the verdict"),
        (("run", "--out", "OUT", "--images", "7"), "--images says how many faces to measure ranges on"),
        (("run", "--out", "OUT", "--seed", "7"), "--seed is of the faces that ranges are measured on"),
        (("parity", "--from", "x.json", "--provider", "cuda", "--threads", "2"), "leave out --provider, --threads"),
        (("bench", "FLOAT", "--cuda-graph"), "--cuda-graph is for --provider cuda or tensorrt"),
        (("bench", "FLOAT", "--p99-bound", "5s"), "add --scenario server"),
        (("bench", "FLOAT", "--rounds", "3", "--budget", "5s"), "give one"),
        (("predict", "face.png", "--boxes", "1,1,5,5", "--crop"), "--boxes, --crop: each says where the faces are"),
        (("predict", "face.png", "--detector", "blazeface", "--crop"), "--detector, --crop: each says where"),
        (("evaluate", "WEIGHTS", "--data", "DATA", "--model", "resnet-18"), "of 'rarn-n', not of 'resnet-18'"),
        (("evaluate", "alien.pt", "--data", "DATA"), "evaluate an ONNX file or the weights.safetensors of a run"),
        (("export", "-o", "OUT", "--weights", "FLOAT"), "name the weights.safetensors of a run"),
        (("inspect", "WEIGHTS"), "not a readable ONNX file"),
        (("audit", "WEIGHTS"), "of weights make one: rarn-edge export --weights"),
        (("bundle", "rarn-n", "-o", "OUT", "--labels", "other"), "there are: ferplus, fer2013"),
        (("verdict", "FLOAT", "FLOAT"), "is named twice; the second file is the quantized one"),
        (("parity", "INT8", "FLOAT"), "name the float32 file before what was made of it"),
        (("train", "--data", "DATA", "--model", "net.py:build", "--out", "OUT", *MEAN), "--mean 123.675,116.28,103.53"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_refused(named: Cli, arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("import torch\n\n\ndef build():\n    return torch.nn.Linear(1, 1)\n")
    done = named(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_data_for_a_verdict_that_is_measured_elsewhere(
    cli: Cli, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    target = next(target for target in (Target.ARM, Target.X86_AVX2) if target is not detect_host().target)
    out = tmp_path / "x.onnx"
    done = cli(
        "quantize", simplified.path, "-o", out, "--calib", faces_folder, "--target", target, "--data", faces_folder
    )
    assert done.returncode == 0
    assert f"--data is not used: the verdict is measured on a machine of target {target}" in done.stderr


def test_a_recipe_for_trained_weights_says_that_these_are_random(cli: Cli, faces_folder: Path, tmp_path: Path) -> None:
    options = ("--model", "rarn-n", "--data", faces_folder, "--epochs", 1, "--threads", 1)
    random = cli("train", *options, "--recipe", "edge-transfer", "--out", tmp_path / "random")
    assert "goes on from trained weights, these are random: --init WEIGHTS" in random.stderr
    begun = cli("train", *options, "--recipe", "edge-transfer", "--init", "rarn-n", "--out", tmp_path / "begun")
    assert "these are random" not in begun.stderr
