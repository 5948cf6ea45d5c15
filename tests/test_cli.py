"""The command line: what it prints, what it writes, and the exit code and one or two lines of everything that goes wrong."""

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rarn_edge.artifact import METADATA_KEY, Artifact
from rarn_edge.cli.app import app
from rarn_edge.models.catalog import CATALOG
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.graph import save_artifact
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.targets import Target

Cli = Callable[..., subprocess.CompletedProcess[str]]
Done = subprocess.CompletedProcess[str]
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def strict_json(text: str) -> Any:
    """NaN and Infinity are not JSON: other programs refuse them."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


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


@pytest.fixture
def foreign(simplified: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that knows nothing of us."""
    model = onnx.load(simplified.path)
    del model.metadata_props[:]
    path = tmp_path_factory.mktemp("foreign") / "foreign.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def mutant(simplified: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """`mutant(1.01)`: the same file with one kernel scaled."""

    def make(factor: float) -> Path:
        model = onnx.load(simplified.path)
        tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
        tensor.CopyFrom(
            numpy_helper.from_array((factor * numpy_helper.to_array(tensor)).astype(np.float32), tensor.name)
        )
        return save_artifact(model, simplified.contract, tmp_path_factory.mktemp("mutant") / "mutant.onnx").path

    return make


# --- help -------------------------------------------------------------------------------------------------------------


def test_help_lists_every_command(cli: Cli) -> None:
    assert COMMANDS == [
        "audit",
        "bench",
        "bundle",
        "compare",
        "doctor",
        "evaluate",
        "export",
        "models",
        "parity",
        "predict",
        "quantize",
        "run",
        "score",
        "stamp",
        "train",
        "verdict",
        "verify",
    ]
    done = cli("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_a_command(cli: Cli, command: str, option: str) -> None:
    done = cli(command, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"rarn-edge {command}" in done.stdout


# --- what works -------------------------------------------------------------------------------------------------------


def test_models(cli: Cli) -> None:
    table = cli("models").stdout
    listed = strict_json(cli("models", "--json").stdout)
    assert [entry["name"] for entry in listed] == list(CATALOG)
    for entry in listed:
        assert entry["name"] in table
        assert f"{entry['parameters'] / 1e6:.2f} M" in table
        assert {"side_px", "multiply_adds", "shipped"} <= set(entry)


def test_export(cli: Cli, weights_file: Path, simplified: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "n.onnx"
    done = cli("export", "--model", "rarn-n", "--weights", weights_file, "-o", out)
    assert done.returncode == 0
    assert str(out) in done.stdout
    assert files_in(tmp_path) == {"n.onnx"}
    made = Artifact.load(out).contract
    assert {**made.provenance, "source_sha256": ""} == {**simplified.contract.provenance, "source_sha256": ""}


def test_quantize_with_data_then_with_its_ranges(
    cli: Cli, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    first, second, ranges = tmp_path / "a.onnx", tmp_path / "b.onnx", tmp_path / "r.json"
    options = ("--calib", faces_folder, "--images", 21, "--save-ranges", ranges, "--method", "minmax")
    done = cli("quantize", simplified.path, "-o", first, "--target", "x86-vnni", *options)
    assert done.returncode == 0
    assert "int8 for x86-vnni" in done.stdout
    assert Ranges.load(ranges).images == 21
    assert "per class [3, 3, 3, 3, 3, 3, 3]" in Ranges.load(ranges).sample
    assert cli("quantize", simplified.path, "-o", second, "--target", "x86-vnni", "--ranges", ranges).returncode == 0
    assert first.read_bytes() == second.read_bytes()
    assert Artifact.load(first).contract.target is Target.X86_VNNI


def test_calibration_sees_the_training_split_alone(
    cli: Cli, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    ranges = tmp_path / "r.json"
    cli("quantize", simplified.path, "-o", tmp_path / "a.onnx", "--calib", faces_folder, "--save-ranges", ranges)
    assert Ranges.load(ranges).images == 42  # of 63


def test_quantize_for_this_machine_says_why(cli: Cli, simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    ranges.save(tmp_path / "r.json")
    done = cli("quantize", simplified.path, "-o", tmp_path / "a.onnx", "--ranges", tmp_path / "r.json")
    assert done.returncode == 0
    target = Artifact.load(tmp_path / "a.onnx").contract.target
    assert target is not None
    assert done.stderr.startswith(f"target {target.value} (")
    assert "verdict on 128 synthetic faces: int8 is " in done.stdout


def test_the_verdict_is_had_where_the_file_runs(cli: Cli, simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    ranges.save(tmp_path / "r.json")
    out, options = tmp_path / "a.onnx", ("--ranges", tmp_path / "r.json", "--target", "tensorrt")
    done = cli("quantize", simplified.path, "-o", out, *options)
    assert f"verdict: on the machine it is for, run: rarn-edge verdict {simplified.path} {out}" in done.stdout
    assert "verdict:" not in cli("quantize", simplified.path, "-o", out, *options, "--no-verdict").stdout


def test_evaluate_weights_and_their_file_agree(
    cli: Cli, weights_file: Path, simplified: Artifact, faces_folder: Path
) -> None:
    options = ("--data", faces_folder, "--json")
    ours, theirs = (strict_json(cli("evaluate", path, *options).stdout) for path in (weights_file, simplified.path))
    assert {**ours, "file": ""} == {**theirs, "file": ""}


def test_parity_from_torch(cli: Cli, weights_file: Path, exported: Artifact, simplified: Artifact) -> None:
    done = cli("parity", exported.path, simplified.path, "--weights", weights_file, "--json")
    assert done.returncode == 0
    hops = [hop for hop in strict_json(done.stdout)["hops"] if hop["inputs"] == "faces"]
    assert [(hop["before"], hop["after"], hop["kind"], hop["passed"]) for hop in hops][:5] == [
        ("torch", "exported.onnx", "float", True),
        ("exported.onnx", "simplified.onnx", "float", True),
        ("simplified.onnx", "simplified.onnx on cpu", "float", True),
        ("simplified.onnx on cpu", "one by one", "batch", True),
        ("simplified.onnx on cpu", "batches of 2", "batch", True),
    ]


def test_failed_parity_is_exit_code_1(cli: Cli, simplified: Artifact, mutant: Callable[[float], Path]) -> None:
    done = cli("parity", simplified.path, mutant(1.05))
    assert done.returncode == 1
    assert "FAIL" in done.stdout
    assert "simplified.onnx -> mutant.onnx: max |logit difference|" in done.stderr
    assert "allowed <= 0.0001" in done.stderr
    assert "Traceback" not in done.stderr


def test_failed_parity_still_prints_its_json(cli: Cli, simplified: Artifact, mutant: Callable[[float], Path]) -> None:
    done = cli("parity", simplified.path, mutant(1.05), "--json")
    assert done.returncode == 1
    hops = strict_json(done.stdout)["hops"]
    failed = [(hop["before"], hop["after"]) for hop in hops if not hop["passed"]]
    assert set(failed) == {("simplified.onnx", "mutant.onnx")}  # the mutation, and not what runs the mutant


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_answers_that_are_no_numbers_fail_and_stay_json(
    cli: Cli, simplified: Artifact, mutant: Callable[[float], Path]
) -> None:
    done = cli("parity", simplified.path, mutant(float("nan")), "--json")
    assert done.returncode == 1
    assert "finite answers NO" in done.stderr
    assert strict_json(done.stdout)["hops"][0]["passed"] is False


def test_bench_takes_a_foreign_file(cli: Cli, foreign: Path, simplified: Artifact) -> None:
    done = cli("bench", simplified.path, foreign, "--rounds", 3, "--no-memory", "--threads", 1, "--json")
    assert done.returncode == 0
    rows = strict_json(done.stdout)["rows"]
    assert [(row["label"], row["parameters"]) for row in rows] == [("simplified", 383_980), ("foreign", None)]
    done = cli("bench", foreign, "--rounds", 7, "--starts", 2, "--no-memory", "--threads", 1, "--json")
    assert strict_json(done.stdout)["rows"][0]["sample_starts"] == [0, 0, 0, 0, 1, 1, 1]


def test_stamp_makes_a_foreign_file_ours(
    cli: Cli, foreign: Path, simplified: Artifact, faces_folder: Path, tmp_path: Path
) -> None:
    names = ", ".join(f'"{name}"' for name in simplified.spec.classes)
    (tmp_path / "spec.toml").write_text(
        f'name = "theirs"\nclasses = [{names}]\noutput = "logits"\n'
        "preprocess = { height_px = 48, width_px = 48, mean = [128.0], std = [64.0] }\n"
    )
    out = tmp_path / "ours.onnx"
    assert cli("stamp", foreign, "--spec", tmp_path / "spec.toml", "-o", out).returncode == 0
    options = ("--data", faces_folder, "--json")
    ours, theirs = (strict_json(cli("evaluate", path, *options).stdout) for path in (out, simplified.path))
    assert {**ours, "file": ""} == {**theirs, "file": ""}


def test_train_then_resume_then_export(cli: Cli, faces_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("train", "--data", faces_folder, "--out", run, "--model", "rarn-n", "--threads", 1, "--batch", 21)
    first = cli(*command, "--epochs", 1)
    assert first.returncode == 0
    assert "test accuracy" in first.stdout
    assert "after epoch 1" in first.stdout
    assert "42 faces to train on, 14 to test on" in first.stderr
    assert_refused(cli(*command, "--epochs", 1), 2, "already holds a run", "--resume")
    assert_refused(cli(*command, "--epochs", 1, "--seed", 1, "--resume"), 2, "another seed")
    assert cli(*command, "--epochs", 1, "--resume").returncode == 0
    evaluated = cli("evaluate", run / "weights.safetensors", "--data", faces_folder, "--json")
    assert strict_json(evaluated.stdout)["images"] == 14


def test_ctrl_c_says_how_to_continue(
    cli: Cli, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rarn_edge.train.loop.train", interrupted)
    done = cli("train", "--data", faces_folder, "--out", tmp_path / "run", "--model", "rarn-n")
    assert done.returncode == 130
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_makes_everything(
    cli: Cli, weights_file: Path, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main job; random weights may fail the INT8 hop, and then the exit code says so and the report exists."""
    monkeypatch.setattr("rarn_edge.pipeline.run.BENCH_ROUNDS", 3)
    out = tmp_path / "new" / "demo"
    options = ("--weights", weights_file, "--calib", faces_folder, "--no-baselines", "--threads", 1)
    done = cli("run", "--model", "rarn-n", "--out", out, "--target", "x86-avx2", *options)
    names = {"rarn-n.exported.onnx", "rarn-n.onnx", "rarn-n.int8.onnx", "report.md", "report.json", "report.html"}
    assert files_in(out) == names
    report = strict_json((out / "report.json").read_text(encoding="utf-8"))
    hops = [(hop["before"], hop["after"]) for hop in report["hops"]]
    assert {
        ("torch", "rarn-n.exported.onnx"),
        ("rarn-n.exported.onnx", "rarn-n.onnx"),
        ("rarn-n.onnx", "rarn-n.onnx on cpu"),
        ("rarn-n.onnx on cpu", "rarn-n.int8.onnx simulated"),
        ("rarn-n.int8.onnx simulated", "rarn-n.int8.onnx fused"),
    } <= set(hops)
    assert all(hop["passed"] for hop in report["hops"] if "int8" not in hop["before"] + hop["after"])
    assert done.returncode == (0 if all(hop["passed"] for hop in report["hops"]) else 1)
    assert [row["label"] for row in report["bench"]["rows"]] == ["rarn-n", "rarn-n.int8"]
    assert all(str(out / name) in done.stdout for name in names - {"rarn-n.exported.onnx"})
    assert "rarn-n.int8" in (out / "report.md").read_text(encoding="utf-8")


# --- what is refused --------------------------------------------------------------------------------------------------


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
        (("parity",), "compare what? Name ONNX files, or --model"),
        (("parity", "FLOAT", "--from", "x.json"), "it takes no model, data or bundle"),
        (("parity", "--from", "x.json"), "x.json: not what `rarn-edge parity --json` prints"),
        (("parity", "FLOAT", "--tolerances", "x.toml"), "x.toml: not a readable TOML file"),
        (("parity", "FLOAT", "FLOAT", "--split", "test"), "--split needs --data"),
        (("evaluate", "FLOAT", "--data", "DATA", "--split", "dev"), "no split 'dev'"),
        (("evaluate", "FLOAT", "--data", "DATA", "--provider", "gpu"), "no provider 'gpu'; one of: cpu, cuda"),
        (("bench", "FLOAT", "--reference", "other"), "no model 'other' to compare with"),
        (("train", "--data", "DATA", "--out", "OUT", "--recipe", "fast"), "no recipe 'fast'; one of: paper, edge"),
        (("train", "--data", "DATA", "--out", "OUT", "--resume"), "no checkpoint to resume"),
        (("export", "-o", "OUT", "--model", "rarn-152"), "no weights of 'rarn-152' are shipped"),
        (("export", "-o", "OUT", "--weights", "nowhere.safetensors"), "no such weights file"),
        (("export", "-o", "OUT", "--model", "rarn-s", "--weights", "WEIGHTS"), "weights of 'rarn-n', not of 'rarn-s'"),
        (("run", "--out", "OUT", "--model", "rarn-s", "--weights", "WEIGHTS"), "weights of 'rarn-n', not of 'rarn-s'"),
        (("parity", "FLOAT", "--model", "rarn-s", "--weights", "WEIGHTS"), "weights of 'rarn-n', not of 'rarn-s'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_impossible_options(
    cli: Cli,
    arguments: tuple[str, ...],
    text: str,
    simplified: Artifact,
    int8: Mapping[Target, Quantized],
    weights_file: Path,
    faces_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    named = {
        "FLOAT": simplified.path,
        "INT8": int8[Target.ARM].artifact.path,
        "DATA": faces_folder,
        "WEIGHTS": weights_file,
        "OUT": tmp_path / "out",
    }
    done = cli(*(named.get(word, word) for word in arguments))
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
    assert_refused(done, 2, "without rarn-edge metadata", f"rarn-edge stamp {foreign} --spec")
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


# --- in a process of its own --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("bench", "rarn_s"), 2, "error: no model 'rarn_s'; did you mean rarn-s"),
        (("evaluate", "nowhere.onnx", "--data", "."), 2, "error: nowhere.onnx: no such file"),
        (("parity", "FLOAT", "MUTANT"), 1, "error: parity failed"),
        (("bench", "FLOAT", "--provider", "xnnpack"), 3, "error: provider 'xnnpack' is not in this ONNX Runtime"),
        (("models",), 0, ""),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_exit_codes_of_the_process(
    python: Cli,
    arguments: tuple[str, ...],
    code: int,
    text: str,
    simplified: Artifact,
    mutant: Callable[[float], Path],
) -> None:
    named = {"FLOAT": str(simplified.path), "MUTANT": str(mutant(1.05))}
    done = python("-m", "rarn_edge", *(named.get(word, word) for word in arguments))
    assert done.returncode == code
    assert done.stderr.startswith(text)
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback(python: Cli) -> None:
    done = python("-m", "rarn_edge", "--debug", "bench", "nowhere.onnx")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "nowhere.onnx: no such file" in done.stderr
