"""The command line: help, what each command prints and writes, and the exit codes of the process."""

import json
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_group

from rarn_edge.cli.app import app
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.models.catalog import CATALOG
from rarn_edge.pipeline.calibrate import Ranges

Cli = Callable[..., subprocess.CompletedProcess[str]]
Done = subprocess.CompletedProcess[str]
COMMANDS = sorted(command.name or command.callback.__name__ for command in app.registered_commands if command.callback)


def strict_json(text: str) -> Any:
    """NaN and Infinity are not JSON: other programs refuse them."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


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
        "inspect",
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


def test_version(cli: Cli) -> None:
    done = cli("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"rarn-edge {metadata.version('rarn-edge')}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_of_a_command(cli: Cli, command: str, option: str) -> None:
    done = cli(command, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"rarn-edge {command}" in done.stdout


def test_help_shows_all_of_each_text() -> None:
    """Rich takes words in square brackets for markup and drops them."""
    commands = get_group(app).commands
    texts = [(name, option.name, getattr(option, "help", "")) for name in COMMANDS for option in commands[name].params]
    assert len(texts) > 200
    assert [text for text in texts if "[" in (text[2] or "")] == []
    assert [name for name in COMMANDS if "[" in (commands[name].help or "")] == []


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
    done = cli("quantize", simplified.path, "-o", tmp_path / "a.onnx", "--calib", faces_folder, "--save-ranges", ranges)
    assert Ranges.load(ranges).images == 42  # of 63
    assert "verdict on 42 of the faces for calibration: int8 is " in done.stdout  # not on drawn ones


def test_quantize_for_this_machine_says_why(cli: Cli, simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    ranges.save(tmp_path / "r.json")
    done = cli("quantize", simplified.path, "-o", tmp_path / "a.onnx", "--ranges", tmp_path / "r.json")
    assert done.returncode == 0
    target = Artifact.load(tmp_path / "a.onnx").contract.target
    assert target is not None
    assert done.stderr.startswith(f"target {target.value}: ")
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
    assert {**ours, "file": "", "name": ""} == {**theirs, "file": "", "name": ""}


def test_parity_from_torch(cli: Cli, weights_file: Path, exported: Artifact, simplified: Artifact) -> None:
    done = cli("parity", exported.path, simplified.path, "--weights", weights_file, "--json")
    assert done.returncode == 0
    steps = [step for step in strict_json(done.stdout)["hops"] if step["inputs"] == "faces"]
    assert [(step["before"], step["after"], step["kind"], step["passed"]) for step in steps][:5] == [
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
    steps = strict_json(done.stdout)["hops"]
    failed = [(step["before"], step["after"]) for step in steps if not step["passed"]]
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
    assert [(row["label"], row["parameters"]) for row in rows] == [("simplified", 384_364), ("foreign", None)]
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
    again = cli("stamp", out, "--spec", tmp_path / "spec.toml", "-o", tmp_path / "again.onnx")
    assert "has a contract already; the new one takes its place" in again.stderr
    options = ("--data", faces_folder, "--json")
    ours, theirs = (strict_json(cli("evaluate", path, *options).stdout) for path in (out, simplified.path))
    assert {**ours, "file": "", "name": ""} == {**theirs, "file": "", "name": ""}


def test_train_then_resume_then_export(cli: Cli, faces_folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = ("train", "--data", faces_folder, "--out", run, "--model", "rarn-n", "--threads", 1, "--batch", 21)
    first = cli(*command, "--epochs", 1)
    assert first.returncode == 0
    assert "test accuracy" in first.stdout
    assert "after epoch 1" in first.stdout
    assert "42 faces to train on, 14 to test on" in first.stderr
    again, other_seed = cli(*command, "--epochs", 1), cli(*command, "--epochs", 1, "--seed", 1, "--resume")
    assert again.returncode == other_seed.returncode == 2
    assert "already holds a run" in again.stderr
    assert "--resume" in again.stderr
    assert "another seed" in other_seed.stderr
    assert cli(*command, "--epochs", 1, "--resume").returncode == 0
    evaluated = cli("evaluate", run / "weights.safetensors", "--data", faces_folder, "--json")
    assert strict_json(evaluated.stdout)["images"] == 14


def test_ctrl_c_says_how_to_continue(
    cli: Cli, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_arguments: object) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "last.pt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("rarn_edge.workflow.train.train_run", interrupted)
    done = cli("train", "--data", faces_folder, "--out", tmp_path / "run", "--model", "rarn-n")
    assert done.returncode == 130
    assert "--resume" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_makes_everything(
    cli: Cli, weights_file: Path, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The main job; random weights may fail the INT8 step, and then the exit code says so and the report exists."""
    monkeypatch.setattr("rarn_edge.workflow.run.BENCH_ROUNDS", 3)
    out = tmp_path / "new" / "demo"
    options = ("--weights", weights_file, "--calib", faces_folder, "--no-baselines", "--threads", 1)
    done = cli("run", "--model", "rarn-n", "--out", out, "--target", "x86-avx2", *options)
    names = {"rarn-n.exported.onnx", "rarn-n.onnx", "rarn-n.int8.onnx", "report.md", "report.json", "report.html"}
    assert files_in(out) == names
    report = strict_json((out / "report.json").read_text(encoding="utf-8"))
    steps = [(step["before"], step["after"]) for step in report["hops"]]
    assert {
        ("torch", "rarn-n.exported.onnx"),
        ("rarn-n.exported.onnx", "rarn-n.onnx"),
        ("rarn-n.onnx", "rarn-n.onnx on cpu"),
        ("rarn-n.onnx on cpu", "rarn-n.int8.onnx simulated"),
        ("rarn-n.int8.onnx simulated", "rarn-n.int8.onnx fused"),
    } <= set(steps)
    assert all(step["passed"] for step in report["hops"] if "int8" not in step["before"] + step["after"])
    assert done.returncode == (0 if all(step["passed"] for step in report["hops"]) else 1)
    assert [row["label"] for row in report["bench"]["rows"]] == ["rarn-n", "rarn-n.int8"]
    assert all(str(out / name) in done.stdout for name in names - {"rarn-n.exported.onnx"})
    assert "rarn-n.int8" in (out / "report.md").read_text(encoding="utf-8")


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
