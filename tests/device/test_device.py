"""What a device does, with numpy, OpenCV and onnxruntime only: read the contract, answer, evaluate, compare, benchmark."""

import importlib.util
import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).with_name("tiny.onnx")
LAST_BIAS = struct.pack("<f", np.float32(0.3))  # once in the file


def test_contract() -> None:
    artifact = Artifact.load(TINY)
    assert artifact.spec.name == "tiny"
    assert artifact.spec.classes == CLASSES
    assert (artifact.contract.precision, artifact.contract.target) == ("float32", None)
    assert artifact.contract.parameters == 16 * 7 + 7
    assert artifact.size_bytes == TINY.stat().st_size < 20_000


@pytest.mark.parametrize("count", [0, 1, 64, 65, 130])
def test_logits_do_not_depend_on_the_batch(count: int) -> None:
    artifact = Artifact.load(TINY)
    images = synthetic_faces(130, seed=1).images[:count]
    session = open_session(artifact.path, threads=1)
    logits = run_logits(session, artifact.spec, images)
    assert (logits.shape, logits.dtype) == ((count, 7), np.float32)
    np.testing.assert_allclose(run_logits(session, artifact.spec, images, batch=7), logits, atol=1e-5)


def test_logits_by_hand() -> None:
    """A face of pixel 128 + 64 v is v everywhere as input: the logits are linear in v."""
    artifact = Artifact.load(TINY)
    images = np.stack([np.full((48, 48), 128 + 64 * v, dtype=np.uint8) for v in (0, 1, -1)])
    zero, plus, minus = run_logits(open_unoptimised(TINY), artifact.spec, images)
    np.testing.assert_allclose(zero, np.linspace(-0.3, 0.3, 7), atol=1e-6)  # the bias
    np.testing.assert_allclose(plus + minus, 2 * zero, atol=1e-5)
    assert np.abs(plus - zero).max() > 0.1


def test_faces_of_another_size_are_resized() -> None:
    artifact = Artifact.load(TINY)
    images = np.full((2, 96, 64), 192, dtype=np.uint8)
    small = np.full((2, 48, 48), 192, dtype=np.uint8)
    session = open_unoptimised(TINY)
    np.testing.assert_allclose(
        run_logits(session, artifact.spec, images), run_logits(session, artifact.spec, small), atol=1e-5
    )


def test_evaluate(cli: Cli, faces_folder: Path) -> None:
    done = cli("evaluate", TINY, "--data", faces_folder, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["images"] == 14  # PublicTest, the held-out split
    assert "PublicTest" in found["faces"]
    assert sum(map(sum, found["confusion"])) == 14
    assert [score["support"] for score in found["classes"]] == [2] * 7
    assert found["accuracy_low"] <= found["accuracy"] <= found["accuracy_high"]


@pytest.mark.parametrize(("split", "images"), [("train", 42), ("PrivateTest", 7), ("all", 63), ("test", 21)])
def test_evaluate_a_split(cli: Cli, faces_folder: Path, split: str, images: int) -> None:
    done = cli("evaluate", TINY, "--data", faces_folder, "--split", split, "--json")
    assert json.loads(done.stdout)["images"] == images


def test_evaluate_table(cli: Cli, faces_folder: Path) -> None:
    done = cli("evaluate", TINY, "--data", faces_folder)
    assert done.returncode == 0
    assert all(word in done.stdout for word in (*CLASSES, "precision", "recall", "macro-F1", "accuracy"))


def test_parity_of_equal_files(cli: Cli, tmp_path: Path) -> None:
    shutil.copyfile(TINY, tmp_path / "copy.onnx")
    done = cli("parity", TINY, tmp_path / "copy.onnx", "--json")
    assert done.returncode == 0
    steps = json.loads(done.stdout)["hops"]
    assert (steps[0]["before"], steps[0]["after"], steps[0]["max_abs_logit"]) == ("tiny.onnx", "copy.onnx", 0)
    assert all(step["passed"] for step in steps)


def test_parity_of_a_changed_file(cli: Cli, tmp_path: Path) -> None:
    content = TINY.read_bytes()
    assert content.count(LAST_BIAS) == 1
    (tmp_path / "changed.onnx").write_bytes(content.replace(LAST_BIAS, struct.pack("<f", 0.31)))
    done = cli("parity", TINY, tmp_path / "changed.onnx")
    assert done.returncode == 1
    assert "tiny.onnx -> changed.onnx: max |logit difference| 0.01, allowed <= 0.0001" in done.stderr
    assert "FAIL" in done.stdout


def test_bench(cli: Cli, tmp_path: Path) -> None:
    shutil.copyfile(TINY, tmp_path / "copy.onnx")
    options = ("--batch", "1,4", "--rounds", "3", "--threads", "1", "--reference", "copy", "--json")
    done = cli("bench", TINY, tmp_path / "copy.onnx", *options)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert [(row["label"], row["batch"]) for row in report["rows"]] == [
        ("tiny", 1),
        ("copy", 1),
        ("tiny", 4),
        ("copy", 4),
    ]
    assert report["reference_label"] == "copy"
    for row in report["rows"]:
        assert len(row["samples_s"]) == 3
        assert row["latency_p90_s"] is None  # three samples have no 90th percentile
        assert row["file_size_bytes"] == TINY.stat().st_size
        assert row["parameters"] == 119
        assert row["peak_rss_bytes"] is not None


@pytest.mark.parametrize("command", ["bench", "evaluate", "parity"])
def test_provider_that_is_not_there(
    cli: Cli, command: str, faces_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3 and how to install it, never a run on the CPU."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    arguments = {"bench": (TINY,), "evaluate": (TINY, "--data", faces_folder), "parity": (TINY, TINY)}[command]
    done = cli(command, *arguments, "--provider", "cuda")
    assert (done.returncode, done.stdout) == (3, "")
    assert "provider 'cuda' is not in this ONNX Runtime" in done.stderr
    assert 'pip install "rarn-edge[gpu]"' in done.stderr


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.9], ids=str)
def test_truncated_file(tmp_path: Path, keep: float) -> None:
    content = TINY.read_bytes()
    (tmp_path / "x.onnx").write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"x\.onnx: "):
        Artifact.load(tmp_path / "x.onnx")


@pytest.mark.skipif(importlib.util.find_spec("onnx") is None, reason="making the file needs onnx")
def test_tiny_is_what_its_script_makes(python: Cli, tmp_path: Path) -> None:
    done = python(TINY.with_name("make_tiny.py"), tmp_path / "tiny.onnx")
    assert done.returncode == 0, done.stderr
    assert Artifact.load(tmp_path / "tiny.onnx").contract == Artifact.load(TINY).contract
    images = synthetic_faces(7, seed=0).images
    logits = [
        run_logits(open_unoptimised(path), Artifact.load(path).spec, images) for path in (TINY, tmp_path / "tiny.onnx")
    ]
    np.testing.assert_array_equal(*logits)
