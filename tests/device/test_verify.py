"""A file held against a bundle, with numpy and onnxruntime only."""

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from rarn_edge.assets import shipped_bundle, shipped_onnx
from rarn_edge.contract.artifact import Artifact
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.parity.bundle import load_bundle, make_bundle, save_bundle
from rarn_edge.parity.inputs import show
from rarn_edge.parity.outputs import file_form
from rarn_edge.parity.verify import verify

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).with_name("tiny.onnx")
LAST_BIAS = struct.pack("<f", np.float32(0.3))  # once in the file


@pytest.fixture(scope="module")
def bundle_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    artifact = Artifact.load(TINY)
    faces = synthetic_faces(20, seed=4)
    shown = show(faces, faces.labels, "20 synthetic faces", artifact.spec.preprocess)
    reference = file_form(artifact, shown, threads=1)
    path = tmp_path_factory.mktemp("bundle") / "tiny.rarn-parity"
    save_bundle(make_bundle(artifact.spec, shown, reference, artifact.contract.provenance["weights_sha256"]), path)
    return path


def test_the_same_file_passes(bundle_file: Path) -> None:
    steps = verify(load_bundle(bundle_file), TINY, threads=1).steps
    assert [
        (step.measured.before, step.measured.after, step.measured.kind, step.measured.inputs) for step in steps
    ] == [
        ("tiny.onnx", "written", "float", "faces"),
        ("written", "cpu", "float", "faces"),
        ("tiny.onnx", "cpu", "float", "faces"),
        ("tiny.onnx", "written", "float", "adversarial"),
        ("written", "cpu", "float", "adversarial"),
        ("tiny.onnx", "cpu", "float", "adversarial"),
        ("cpu", "alone", "batch", "faces"),
    ]
    assert all(step.passed for step in steps)
    assert steps[0].measured.accuracy_before is not None


def test_a_changed_file_fails(cli: Cli, bundle_file: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(TINY.read_bytes().replace(LAST_BIAS, struct.pack("<f", 0.31)))
    done = cli("verify", bundle_file, changed)
    assert done.returncode == 1
    assert "tiny.onnx -> written: max |logit difference| 0.01, allowed <= 0.0001" in done.stderr
    assert "written -> cpu" not in done.stderr  # the runtime is not to blame
    assert "FAIL" in done.stdout


def test_other_limits(cli: Cli, bundle_file: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.onnx"
    changed.write_bytes(TINY.read_bytes().replace(LAST_BIAS, struct.pack("<f", 0.31)))
    (tmp_path / "wide.toml").write_text(
        "[faces.float]\nmax_abs_logit = 0.02\nmin_agreement = 0\n[adversarial.float]\nmax_abs_logit = 0.02\n"
    )
    done = cli("verify", bundle_file, changed, "--tolerances", tmp_path / "wide.toml", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)[0]["hops"][0]["checks"][1]["allowed"] == 0.02


def test_the_shipped_models_pass(cli: Cli) -> None:
    done = cli("verify")
    assert done.returncode == 0, done.stderr
    assert "rarn-s.ferplus.x86-avx2.int8.onnx is byte for byte a file the bundle was written for: yes" in done.stdout
    assert "\n4 files: answers as where the bundle was made" in done.stdout


@pytest.fixture(scope="module")
def slightly_changed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped file with 64 bytes of its weights changed, which its answers hardly show."""
    content = bytearray(shipped_onnx("rarn-s").read_bytes())
    start = len(content) // 2
    content[start : start + 64] = bytes(byte ^ 0x40 for byte in content[start : start + 64])
    path = tmp_path_factory.mktemp("changed") / "changed.onnx"
    path.write_bytes(content)
    return path


def test_a_change_too_small_for_answers_is_found(cli: Cli, slightly_changed: Path) -> None:
    done = cli("verify", shipped_bundle("rarn-s"), slightly_changed)
    assert done.returncode == 1
    assert "parity failed" not in done.stderr  # no answer tells: this is what the hash is for
    assert "changed.onnx is byte for byte a file the bundle was written for: NO" in done.stdout
    assert "answers as where the bundle was made" not in done.stdout
    assert "is none that the bundle was written for (rarn-s.ferplus.x86-avx2.int8.onnx " in done.stderr
    assert "--rebuilt" in done.stderr


def test_a_changed_shipped_file_fails_without_arguments(
    cli: Cli, slightly_changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = ((shipped_bundle("rarn-s"), slightly_changed),)
    monkeypatch.setattr("rarn_edge.workflow.verify.shipped_files", lambda: pairs)
    assert cli("verify").returncode == 1


def test_a_rebuilt_file_is_judged_by_its_answers(cli: Cli, slightly_changed: Path) -> None:
    done = cli("verify", shipped_bundle("rarn-s"), slightly_changed, "--rebuilt", "--json")
    assert (done.returncode, json.loads(done.stdout)[0]["known_file"]) == (0, False)


def test_a_bundle_without_files_judges_answers_alone(cli: Cli, bundle_file: Path) -> None:
    done = cli("verify", bundle_file, TINY)
    assert done.returncode == 0
    assert "the bundle names no files" in done.stdout


def test_the_shipped_bundle_bites(tmp_path: Path, cli: Cli) -> None:
    """Damaged kernels in the middle of the shipped file: seen in the answers, not by the hash alone."""
    content = bytearray(shipped_onnx("rarn-s").read_bytes())
    start = len(content) // 2
    content[start : start + 32768] = bytes(byte ^ 0x40 for byte in content[start : start + 32768])
    (tmp_path / "changed.onnx").write_bytes(content)
    done = cli("verify", shipped_bundle("rarn-s"), tmp_path / "changed.onnx")
    assert done.returncode == 1, done.stdout
    assert "torch -> written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("BUNDLE",), 2, "which model? rarn-edge verify"),
        ((TINY,), 2, "is a model; name its parity bundle first"),
        (("none.rarn-parity",), 2, "no such file; a parity bundle is made by"),
        (("BUNDLE", "none.onnx"), 2, "none.onnx: no such file"),
        (("none.rarn-parity", TINY), 2, "a parity bundle is made by: rarn-edge parity"),
        ((TINY, TINY), 2, "compare two models: rarn-edge parity"),
        (("BUNDLE", "BUNDLE"), 2, "not a readable ONNX file"),
        (("BUNDLE", TINY, "--tolerances", "none.toml"), 2, "none.toml: no such file"),
        (("BUNDLE", TINY, "--provider", "npu"), 2, "no provider 'npu'"),
        (("BUNDLE", TINY, "--provider", "cuda"), 3, "provider 'cuda' is not in this ONNX Runtime"),
        (("BUNDLE", shipped_onnx("rarn-s")), 2, "its model is rarn-s, the bundle is about tiny"),
    ],
)
def test_bad_input(
    cli: Cli,
    bundle_file: Path,
    arguments: tuple[object, ...],
    code: int,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    done = cli("verify", *(bundle_file if word == "BUNDLE" else word for word in arguments))
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
