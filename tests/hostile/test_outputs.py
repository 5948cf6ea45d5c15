"""Outputs are never inputs: whatever is named twice is refused before any work, links and folders included."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.errors import InputError
from rarn_edge.files import check_apart, check_outputs

from .conftest import TINY, contents

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize(
    "command",
    [
        ("score", "crops", "-o", "crops/scores.parquet"),
        ("score", "table.parquet", "-o", "table.parquet"),
        ("score", ".", "-o", "out.csv"),
        ("score", "table.csv.zip", "-o", "link.csv"),
        ("predict", "face.png", "--annotate", "face.png"),
        ("predict", "face.png", "--annotate", "."),
        ("predict", "face.png", "--annotate", "here"),
        ("predict", ".", "--annotate", ".", "--crop"),
        ("predict", "crops", "--annotate", "crops"),
        ("predict", "crops", "--annotate", "crops/drawn"),
        ("predict", "clip.avi", "--annotate", "clip.avi", "--crop"),
        ("bench", "tiny.onnx", "-o", "tiny.onnx"),
        ("bench", "tiny.onnx", "--html", "tiny.onnx"),
        ("bench", "tiny.onnx", "--html", "x.html", "-o", "x.html"),
        ("bench", "tiny.onnx", "-o", "here/tiny.onnx"),
        ("bench", "--suite", "suite.toml", "-o", "suite.toml"),
        ("bench", "--suite", "suite.toml", "--html", "tiny.onnx"),
        ("bench", "--suite", "suite.toml", "--files", "here", "-o", "spec.toml"),
        ("parity", "tiny.onnx", "other.onnx", "--bundle", "tiny.onnx"),
        ("parity", "tiny.onnx", "other.onnx", "--markdown", "other.onnx"),
        ("parity", "--from", "ledger.json", "--markdown", "ledger.json"),
        ("parity", "tiny.onnx", "other.onnx", "--data", "crops", "--votes", "ledger.json", "--markdown", "ledger.json"),
        ("export", "--model", "rarn-n", "--weights", "w.safetensors", "-o", "w.safetensors"),
        ("stamp", "tiny.onnx", "--spec", "spec.toml", "-o", "tiny.onnx"),
        ("stamp", "tiny.onnx", "--spec", "spec.toml", "-o", "spec.toml"),
        ("quantize", "tiny.onnx", "-o", "tiny.onnx"),
        ("quantize", "tiny.onnx", "-o", "x.onnx", "--ranges", "ledger.json", "--save-ranges", "ledger.json"),
        ("evaluate", "tiny.onnx", "--data", "crops", "--report", "crops"),
        ("evaluate", "tiny.onnx", "--data", "crops", "--report", "crops/report"),
        ("evaluate", "tiny.onnx", "--data", "crops", "--calibrated", "tiny.onnx"),
        ("evaluate", "tiny.onnx", "--data", "crops", "--against", "other.onnx", "--calibrated", "other.onnx"),
        ("evaluate", "tiny.onnx", "--data", "table.csv.zip", "--calibrated", "table.csv.zip"),
        ("bundle", "tiny.onnx", "-o", "table.csv.zip", "--parity", "table.csv.zip"),
        ("train", "--data", "crops", "--out", "crops/run", "--model", "rarn-n"),
        ("run", "--data", "crops", "--out", "crops/run", "--model", "rarn-n"),
    ],
    ids=" ".join,
)
def test_an_output_that_is_an_input(cli: Cli, command: tuple[str, ...], place: Path) -> None:
    before, folders = contents(place), sorted(place.rglob("*"))
    done = cli(*command, *(("--model", "tiny.onnx") if command[0] in ("score", "predict") else ()))
    assert done.returncode == 2, done.stderr
    assert (
        "read by this command" in done.stderr or "which is read as input" in done.stderr or "two outputs" in done.stderr
    )
    assert (contents(place), sorted(place.rglob("*"))) == (before, folders)


@pytest.fixture
def place(crops: Path, face: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of each kind of input, a link to one, and the working folder by another name."""
    tmp_path = crops.parent
    assert face.parent == tmp_path
    monkeypatch.chdir(tmp_path)
    for name in ("tiny.onnx", "other.onnx"):
        shutil.copyfile(TINY, tmp_path / name)
    for name in ("table.parquet", "table.csv.zip", "w.safetensors", "ledger.json"):
        (tmp_path / name).write_bytes(b"precious")
    (tmp_path / "spec.toml").write_text('name = "x"\n')
    (tmp_path / "suite.toml").write_text('title = "x"\nrounds = 1\n[[files]]\npath = "tiny.onnx"\nspec = "spec.toml"\n')
    (tmp_path / "link.csv").symlink_to(tmp_path / "table.csv.zip")
    (tmp_path / "crops" / "sub").mkdir()
    shutil.copyfile(TINY, tmp_path / "crops" / "sub" / "x.onnx")
    (tmp_path / "here").symlink_to(tmp_path, target_is_directory=True)
    writer = cv2.VideoWriter(str(tmp_path / "clip.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 64))
    for _ in range(3):
        writer.write(np.zeros((64, 64, 3), dtype=np.uint8))
    writer.release()
    if (tmp_path / "link.csv").resolve() == (tmp_path / "link.csv"):
        pytest.skip("no links here")
    return tmp_path


def test_the_score_of_a_folder_with_a_link_to_a_shard(cli: Cli, place: Path) -> None:
    """`link.csv` is no input of `score crops`: a link that nothing reads may be replaced, its goal stays."""
    done = cli("score", "crops/0.png", "-o", "link.csv", "--model", "tiny.onnx", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert (place / "table.csv.zip").read_bytes() == b"precious"


def test_hard_links_are_one_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    os.link(tmp_path / "a", tmp_path / "b")
    with pytest.raises(InputError, match="read by this command"):
        check_outputs([tmp_path / "a"], [tmp_path / "b"])


def test_outputs_among_each_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two outputs"):
        check_outputs([tmp_path / "a", None, tmp_path / "x" / ".." / "a"][:1] * 2)
    check_outputs([tmp_path / "a", tmp_path / "b", None], [tmp_path / "c", None, "-", "rarn-s"], [tmp_path / "c"])
    check_apart([tmp_path / "new" / "a"], [tmp_path / "c"])


@pytest.mark.parametrize("kind", ["fifo", "folder", "device"])
def test_outputs_that_are_no_files(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/full")
    with pytest.raises(InputError, match="is a folder; name a file in it" if kind == "folder" else "no regular file"):
        check_outputs([path])


def test_annotated_copies_go_elsewhere(cli: Cli, place: Path) -> None:
    before = contents(place)
    done = cli("predict", "crops", "face.png", "--annotate", "drawn", "--model", "tiny.onnx")
    assert done.returncode == 0, done.stderr
    after = contents(place)
    assert {path: after[path] for path in before} == before
    assert sorted(set(after) - set(before)) == [f"drawn/{name}.png" for name in ("0", "1", "2", "3", "face")]
