"""Everything the command line refuses: the exit code, one or two lines with the next step, and nothing written."""

import shutil
import subprocess
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from rarn_edge.cli.app import app
from rarn_edge.contract.artifact import METADATA_KEY, Artifact
from rarn_edge.onnx_graph import save_artifact

Cli = Callable[..., subprocess.CompletedProcess[str]]
Done = subprocess.CompletedProcess[str]
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def assert_refused(done: Done, code: int, *texts: str) -> None:
    """The right exit code, no result, and an error of a line or two that says `texts`."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    _, found, error = done.stderr.partition("error: ")  # what was under way may be told before it
    assert found
    said = error.strip().splitlines()
    assert len(said) <= 2, done.stderr
    for text in texts:
        assert text in done.stderr


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "command",
    [
        ("export", "-o", "x.onnx", "--model"),
        ("train", "--data", "DATA", "--out", "run", "--model"),
        ("run", "--out", "run", "--model"),
        ("parity", "FLOAT", "--model"),
        ("bench",),
    ],
    ids=lambda command: command[0],
)
def test_unknown_model(
    cli: Cli,
    command: tuple[str, ...],
    simplified: Artifact,
    faces_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    named = {"FLOAT": simplified.path, "DATA": faces_folder}
    done = cli(*(named.get(word, word) for word in command), "rarn_s")
    assert_refused(done, 2, "no model 'rarn_s'; did you mean rarn-s", "All models: rarn-s")
    assert files_in(tmp_path) == set()


def make_csv(folder: Path, label: str, pixels: str) -> Path:
    path = folder / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n{label},{pixels},Training\n")
    return path


def make_zip(folder: Path, content: bytes) -> Path:
    path = folder / "faces.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for split in ("train", "test"):
            archive.writestr(f"{split}/happy/broken.jpg", content)
    return path


def make_empty(folder: Path, name: str) -> Path:
    path = folder / name
    path.touch() if path.suffix else path.mkdir()
    return path


PIXELS = " ".join(["128"] * 2304)
BAD_DATA: dict[str, tuple[Callable[[Path], Path], str]] = {
    "missing": (lambda folder: folder / "nowhere.zip", "no such file or folder"),
    "empty folder": (lambda folder: make_empty(folder, "faces"), "no images"),
    "empty zip": (lambda folder: make_empty(folder, "faces.zip"), "empty"),
    "empty csv": (lambda folder: make_empty(folder, "faces.csv"), "empty"),
    "2,303 pixels": (lambda folder: make_csv(folder, "3", PIXELS[4:]), "line 2: 2,303 pixels"),
    "letters": (lambda folder: make_csv(folder, "3", "x" + PIXELS[1:]), "fer2013.csv, line 2"),
    "label 9": (lambda folder: make_csv(folder, "9", PIXELS), "fer2013.csv, line 2"),
    "broken JPEG": (lambda folder: make_zip(folder, b"\xff\xd8\xff broken"), "broken.jpg"),
}


@pytest.mark.parametrize("bad", BAD_DATA)
@pytest.mark.parametrize("command", ["train", "evaluate", "parity", "quantize"])
def test_bad_data(
    cli: Cli, command: str, bad: str, simplified: Artifact, tmp_path: Path, tmp_path_factory: Any
) -> None:
    make, text = BAD_DATA[bad]
    data = make(tmp_path_factory.mktemp("data"))
    arguments = {
        "train": ("--data", data, "--out", tmp_path / "run", "--model", "rarn-n"),
        "evaluate": (simplified.path, "--data", data),
        "parity": (simplified.path, simplified.path, "--data", data),
        "quantize": (simplified.path, "-o", tmp_path / "x.onnx", "--calib", data),
    }[command]
    assert_refused(cli(command, *arguments), 2, text)
    assert files_in(tmp_path) == set()


def test_bench_refuses_nothing_and_no_threads(cli: Cli, simplified: Artifact) -> None:
    assert_refused(cli("bench"), 2, "name models or ONNX files")
    assert_refused(cli("bench", simplified.path, "--threads", "0"), 2, "--threads takes numbers of at least 1")


@pytest.mark.parametrize("batch", ["0", "-1", "8,0", "a", "", "1,,2", "1.5", "1,1"])
def test_bench_refuses_a_batch(cli: Cli, simplified: Artifact, batch: str) -> None:
    assert_refused(cli("bench", simplified.path, "--batch", batch), 2, "batch")


@pytest.mark.parametrize(
    "arguments",
    [
        ("bench", "FLOAT", "--rounds", "0"),
        ("evaluate", "FLOAT"),
        ("train", "--data", "x.zip", "--out", "run", "--batch", "0"),
        ("train", "--data", "x.zip", "--out", "run", "--epochs", "0"),
        ("train", "--data", "x.zip", "--out", "run", "--seed", "-1"),
        ("quantize", "FLOAT", "-o", "x.onnx", "--images", "0"),
        ("no-such-command",),
        ("models", "--no-such-option"),
    ],
    ids=" ".join,
)
def test_usage_errors(cli: Cli, simplified: Artifact, arguments: tuple[str, ...]) -> None:
    done = cli(*(str(simplified.path) if word == "FLOAT" else word for word in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert "Error" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("quantize", "FLOAT", "-o", "OUT", "--target", "x86"), "no target 'x86'; one of: x86-avx2, x86-vnni, arm"),
        (("quantize", "FLOAT", "-o", "OUT", "--method", "max", "--calib", "DATA"), "no calibration method 'max'"),
        (("quantize", "FLOAT", "-o", "OUT", "--calib", "DATA", "--ranges", "r.json"), "give one of the two"),
        (("quantize", "FLOAT", "-o", "OUT", "--ranges", "nowhere.json"), "nowhere.json: not a ranges file"),
        (("quantize", "FLOAT", "-o", "OUT"), "the ranges shipped for 'rarn-n' were measured on other weights"),
        (("quantize", "INT8", "-o", "OUT", "--calib", "DATA"), "int8"),
        (("quantize", "FLOAT", "-o", "OUT", "--calib", "DATA", "--save-ranges", "none/r.json"), "mkdir -p"),
        (("quantize", "FLOAT", "-o", "OUT", "--calib", "DATA", "--votes", "v.csv"), "of labelled faces: --data DATA"),
        (
            ("quantize", "FLOAT", "-o", "OUT", "--precision", "fp16", "--input", "uint8", "--save-ranges", "r.json"),
            "--input, --save-ranges: of --precision int8 alone",
        ),
        (
            ("quantize", "FLOAT", "-o", "OUT", "--precision", "int8-dynamic", "--max-drop", "1", "--data", "DATA"),
            "--max-drop, --data: of --precision int8 alone",
        ),
        (("bundle", "FLOAT", "-o", "OUT", "--format", "triton", "--parity", "p.rarn-parity"), "board and web"),
        (("bundle", "FLOAT", "-o", "board.tar"), "board.tar: a bundle is a folder, a .zip"),
        (("parity",), "compare what? Name ONNX files, or --model"),
        (("parity", "FLOAT", "--from", "x.json"), "judges a saved run again and runs nothing: leave out files"),
        (("parity", "--from", "x.json"), "x.json: not what `rarn-edge parity --json` prints"),
        (("parity", "FLOAT", "--tolerances", "x.toml"), "x.toml: no such file"),
        (("parity", "FLOAT", "FLOAT", "--split", "test"), "--split needs --data"),
        (("parity", "FLOAT", "--target", "arm"), "--target is of an INT8 file that is made anew"),
        (("parity", "FLOAT", "--labels", "fer2013"), "--labels chooses between shipped weights"),
        (("evaluate", "FLOAT", "--data", "DATA", "--split", "third"), "no split 'third'"),
        (("evaluate", "FLOAT", "--data", "DATA", "--provider", "gpu"), "no provider 'gpu'; one of: cpu, cuda"),
        (("bench", "FLOAT", "--reference", "other"), "no model 'other' to compare with"),
        (("bench", "FLOAT", "--data", "DATA", "--split", "Trainning"), "no split 'Trainning'"),
        (("train", "--data", "DATA", "--out", "OUT", "--recipe", "fast"), "no recipe 'fast'; one of: paper, edge"),
        (("train", "--data", "DATA", "--out", "OUT", "--resume"), "no checkpoint to resume"),
        (("train", "--data", "DATA", "--out", "OUT", "--precision", "fp8"), "one of: float32, bf16"),
        (("train", "--data", "DATA", "--out", "OUT", "--recipe", "paper", "--teacher", "WEIGHTS"), "from labels alone"),
        (("train", "--data", "DATA", "--out", "OUT", "--teacher-views", "2"), "name them with --teacher"),
        (
            (
                "train",
                "--data",
                "DATA",
                "--out",
                "OUT",
                "--recipe",
                "edge-patient",
                "--teacher",
                "WEIGHTS",
                "--teacher-views",
                "2",
            ),
            "asks teachers about each batch and keeps no answers",
        ),
        (
            ("train", "--data", "DATA", "--out", "OUT", "--teacher", "t.npz", "--teacher-views", "2"),
            "kept answers are taken as they are",
        ),
        (("export", "-o", "OUT", "--model", "rarn-152"), "no weights of 'rarn-152' are shipped"),
        (("export", "-o", "OUT", "--weights", "nowhere.safetensors"), "no such file"),
        (("export", "-o", "OUT", "--model", "rarn-s", "--weights", "WEIGHTS"), "weights of 'rarn-n', not of 'rarn-s'"),
        (("run", "--out", "OUT", "--model", "rarn-s", "--weights", "WEIGHTS"), "weights of 'rarn-n', not of 'rarn-s'"),
        (("parity", "FLOAT", "--model", "rarn-s", "--weights", "WEIGHTS"), "weights of 'rarn-n', not of 'rarn-s'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_impossible_options(named: Cli, arguments: tuple[str, ...], text: str, tmp_path: Path) -> None:
    done = named(*arguments)
    assert_refused(done, 2, text)
    assert {path for path in files_in(tmp_path) if path != "out"} == set()
    assert not (tmp_path / "out").is_file()


def test_parity_of_other_weights(cli: Cli, simplified: Artifact, tmp_path: Path) -> None:
    contract = simplified.contract
    other = replace(contract, provenance={**contract.provenance, "weights_sha256": "0" * 64})
    save_artifact(onnx.load(simplified.path), other, tmp_path / "other.onnx")
    assert_refused(cli("parity", simplified.path, tmp_path / "other.onnx"), 2, "were made from different weights")


def not_onnx(_whole: bytes) -> bytes:
    return b"this is a text, not a model\n" * 100


def truncated(whole: bytes) -> bytes:
    return whole[: len(whole) // 2]


def empty(_whole: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [not_onnx, truncated, empty, None])
@pytest.mark.parametrize("command", ["evaluate", "parity", "bench", "quantize", "stamp"])
def test_file_that_is_not_a_readable_onnx_file(
    cli: Cli,
    command: str,
    damage: Callable[[bytes], bytes] | None,
    simplified: Artifact,
    faces_folder: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("damaged") / "x.onnx"
    if damage is not None:
        path.write_bytes(damage(simplified.path.read_bytes()))
    done = cli(command, path, *rest_of(command, faces_folder, tmp_path, simplified.path))
    assert_refused(done, 2, "x.onnx: no such file" if damage is None else "x.onnx: ")
    assert files_in(tmp_path) == set()


def rest_of(command: str, data: Path, folder: Path, second: Path) -> tuple[object, ...]:
    options: dict[str, tuple[object, ...]] = {
        "evaluate": ("--data", data),
        "parity": (second,),
        "bench": (),
        "quantize": ("-o", folder / "out.onnx", "--calib", data),
        "stamp": ("-o", folder / "out.onnx", "--spec", folder / "spec.toml"),
    }
    return options[command]


@pytest.mark.parametrize("command", ["evaluate", "parity", "quantize"])
def test_file_without_metadata(
    cli: Cli, command: str, foreign: Path, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    done = cli(command, foreign, *rest_of(command, faces_folder, tmp_path, simplified.path))
    assert_refused(done, 2, "without rarn-edge metadata", f"rarn-edge inspect {foreign}", f"rarn-edge stamp {foreign}")
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("metadata", ["{", "[]", "{}", '"text"', '{"spec": {}, "target": null}'])
@pytest.mark.parametrize("command", ["evaluate", "bench", "quantize"])
def test_file_with_damaged_metadata(
    cli: Cli, command: str, metadata: str, foreign: Path, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    model = onnx.load(foreign)
    model.metadata_props.add(key=METADATA_KEY, value=metadata)
    path = foreign.with_name("damaged.onnx")
    onnx.save(model, path)
    done = cli(command, path, *rest_of(command, faces_folder, tmp_path, simplified.path))
    assert_refused(done, 2, "damaged.onnx: ")
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("command", ["export", "quantize", "stamp"])
@pytest.mark.parametrize("place", ["missing folder", "a folder"])
def test_output_that_cannot_be_written(
    cli: Cli, command: str, place: str, simplified: Artifact, weights_file: Path, faces_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "missing" / "x.onnx" if place == "missing folder" else tmp_path
    arguments = {
        "export": ("--model", "rarn-n", "--weights", weights_file),
        "quantize": (simplified.path, "--calib", faces_folder),
        "stamp": (simplified.path, "--spec", tmp_path / "spec.toml"),
    }[command]
    done = cli(command, *arguments, "-o", out)
    assert_refused(done, 2, "mkdir -p" if place == "missing folder" else "is a folder")
    assert files_in(tmp_path) == set()


def test_quantize_never_changes_its_input(cli: Cli, simplified: Artifact, faces_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    shutil.copyfile(simplified.path, path)
    assert_refused(cli("quantize", path, "-o", path, "--calib", faces_folder, "--target", "arm"), 2, "x.onnx")
    assert path.read_bytes() == simplified.path.read_bytes()


def test_quantize_refuses_one_path_for_two_files(
    cli: Cli, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "x.onnx"
    done = cli("quantize", simplified.path, "-o", out, "--save-ranges", out, "--calib", faces_folder)
    assert_refused(done, 2, "x.onnx")
    assert files_in(tmp_path) == set()


def test_evaluating_weights_never_ignores_the_provider(cli: Cli, weights_file: Path, faces_folder: Path) -> None:
    """Weights run in torch on the CPU: asking for another place is an error, not a quiet CPU run."""
    done = cli("evaluate", weights_file, "--data", faces_folder, "--provider", "cuda")
    assert done.returncode in (2, 3)
    assert done.stdout == ""


def test_evaluating_a_checkpoint_names_the_weights_file(cli: Cli, faces_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "last.pt").write_bytes(b"PK\x03\x04")
    assert_refused(cli("evaluate", tmp_path / "last.pt", "--data", faces_folder), 2, "weights.safetensors")
