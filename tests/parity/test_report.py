"""The whole chain of one network, step by step, and its evidence taken to a device."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.parity.bundle import load_bundle
from rarn_edge.parity.inputs import show
from rarn_edge.parity.report import ParityReport, compare_forms, rejudge
from rarn_edge.parity.steps import Step
from rarn_edge.parity.tolerances import TOLERANCES
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.report.parity import parity_markdown, step_name
from rarn_edge.train.checkpoint import Weights
from rarn_edge.workflow.parity import torch_form

Cli = Callable[..., subprocess.CompletedProcess[str]]
FACES = synthetic_faces(21, seed=8)


@pytest.fixture(scope="module")
def steps_found(
    weights: Weights, exported: Artifact, simplified: Artifact, int8: Mapping[Target, Quantized]
) -> list[Step]:
    shown = show(FACES, FACES.labels, "21 faces", simplified.spec.preprocess)
    artifacts = [exported, simplified, int8[Target.X86_AVX2].artifact]
    report, reference = compare_forms(artifacts, shown, torch_form(weights, shown), threads=1)
    assert (reference.name, len(reference.logits)) == ("torch", len(shown.images))
    return list(report.steps)


def test_every_hop_is_there(steps_found: list[Step]) -> None:
    on_faces = [step.measured for step in steps_found if step.measured.inputs == "faces"]
    steps = [(measured.before, measured.after, measured.kind) for measured in on_faces]
    assert steps == [
        ("torch", "exported.onnx", "float"),
        ("exported.onnx", "simplified.onnx", "float"),
        ("simplified.onnx", "simplified.onnx on cpu", "float"),
        *[
            ("simplified.onnx on cpu", how, "batch")
            for how in ("one by one", "batches of 2", "batches of 7", "2 threads")
        ],
        ("simplified.onnx on cpu", "x86-avx2.onnx simulated", "quantize"),
        ("x86-avx2.onnx simulated", "x86-avx2.onnx fused", "fuse"),
        ("simplified.onnx on cpu", "x86-avx2.onnx fused", "int8"),
        *[("x86-avx2.onnx fused", how, "batch") for how in ("one by one", "batches of 2", "batches of 7", "2 threads")],
    ]
    adversarial = {step.measured.kind for step in steps_found if step.measured.inputs == "adversarial"}
    assert adversarial == {"float", "batch", "quantize", "fuse", "int8"}


def test_float_and_batch_hops_pass(steps_found: list[Step]) -> None:
    judged = [step for step in steps_found if step.measured.kind in ("float", "batch")]
    assert [step_failures(step) for step in judged if not step.passed] == []
    assert max(step.measured.max_abs_logit for step in judged) < 1e-4


def step_failures(step: Step) -> tuple[str, str, list[str]]:
    return step.measured.before, step.measured.after, [check.figure for check in step.checks if not check.passed]


def test_markdown_has_every_step(steps_found: list[Step]) -> None:
    text = parity_markdown(ParityReport(tuple(steps_found), "21 faces", FACES_CLASSES))
    assert all(f"| {step_name(step)} |" in text for step in steps_found)
    parts = text.split("\n\n")
    for part, width in ((parts[1], 6), (parts[3], 9)):  # the steps, and all their figures in a fold
        assert {line.count("|") for line in part.splitlines()} == {width}  # no figure breaks the table
    assert parts[2] == "<details><summary>All figures</summary>"


FACES_CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def test_from_workstation_to_board(
    cli: Cli, weights_file: Path, simplified: Artifact, int8: Mapping[Target, Quantized], tmp_path: Path
) -> None:
    """A bundle of the float32 file proves that file elsewhere, and others only where they are said to be made anew."""
    bundle = tmp_path / "net.rarn-parity"
    done = cli(
        "parity", simplified.path, "--weights", weights_file, "--bundle", bundle, "--markdown", tmp_path / "x.md"
    )
    assert [file.sha256 for file in load_bundle(bundle).files] == [simplified.sha256]
    assert done.returncode == 0, done.stderr
    assert "mind their licence" in done.stderr
    assert "every step passes" in (tmp_path / "x.md").read_text()
    assert cli("verify", bundle, simplified.path).returncode == 0
    done = cli("verify", bundle, int8[Target.X86_AVX2].artifact.path, "--json")
    assert done.returncode == 1
    report = json.loads(done.stdout)[0]
    assert report["known_file"] is False
    steps = report["hops"]
    assert [step["kind"] for step in steps if step["inputs"] == "faces"] == ["quantize", "fuse", "int8", "batch"]


def test_what_another_document_lacks_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"kind": "bench"}', encoding="utf-8")
    with pytest.raises(
        InputError, match=r"other\.json: not what `rarn-edge parity --json` prints \(it has no 'schema_version'\)"
    ):
        rejudge(other, TOLERANCES)


def test_judge_again(cli: Cli, simplified: Artifact, tmp_path: Path) -> None:
    saved = tmp_path / "saved.json"
    saved.write_text(cli("parity", simplified.path, simplified.path, "--json").stdout)
    assert cli("parity", "--from", saved).returncode == 0
    (tmp_path / "tight.toml").write_text("[faces.float]\nmax_abs_logit = 1e-30\n")
    done = cli("parity", "--from", saved, "--tolerances", tmp_path / "tight.toml")
    assert done.returncode == 1
    assert "simplified.onnx -> simplified.onnx on cpu: max |logit difference|" in done.stderr


def test_no_bundle_of_a_failed_run(cli: Cli, simplified: Artifact, tmp_path: Path) -> None:
    (tmp_path / "tight.toml").write_text("[faces.float]\nmax_abs_logit = 1e-30\n")
    bundle = tmp_path / "net.rarn-parity"
    done = cli("parity", simplified.path, "--bundle", bundle, "--tolerances", tmp_path / "tight.toml")
    assert (done.returncode, bundle.exists()) == (1, False)


def test_int8_that_fails_on_drawn_faces_may_pass_on_others(
    cli: Cli, simplified: Artifact, int8: Mapping[Target, Quantized], tmp_path: Path
) -> None:
    (tmp_path / "tight.toml").write_text("[faces.int8]\nmin_snr_db = 150\n")
    quantized = int8[Target.X86_AVX2].artifact.path
    done = cli("parity", simplified.path, quantized, "--threads", 1, "--tolerances", tmp_path / "tight.toml")
    assert done.returncode == 1
    assert "judged on drawn faces" in done.stderr


def test_a_bundle_needs_float32_answers(cli: Cli, int8: Mapping[Target, Quantized], tmp_path: Path) -> None:
    done = cli("parity", int8[Target.ARM].artifact.path, "--bundle", tmp_path / "x.rarn-parity")
    assert done.returncode == 2
    assert "--bundle needs float32 answers" in done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"agreement": "0.9"},
        {"before": 5},
        {"decisions": {"classes": []}},
        {
            "decisions": {
                "flips": [{"position": 0, "name": "a", "before": 99, "after": 0, "margin": 1.0, "label": None}]
            }
        },
        {
            "decisions": {
                "flips": [{"position": 0, "name": "a", "before": 0, "after": 0, "margin": None, "label": None}]
            }
        },
    ],
    ids=str,
)
def test_a_saved_report_with_other_types_is_refused(
    cli: Cli, simplified: Artifact, change: dict[str, Any], tmp_path: Path
) -> None:
    saved = tmp_path / "saved.json"
    report = json.loads(cli("parity", simplified.path, simplified.path, "--json").stdout)
    step = report["hops"][0]
    step.update({key: {**step[key], **value} if isinstance(value, dict) else value for key, value in change.items()})
    saved.write_text(json.dumps(report))
    done = cli("parity", "--from", saved)
    assert done.returncode == 2
    assert f"{saved}: not what `rarn-edge parity --json` prints (" in done.stderr
