"""The main job as a user starts it, with the shipped weights: a folder with checked files, and right on real faces too."""

import itertools
import json
from pathlib import Path

import pytest

import rarn_edge
from rarn_edge.assets import shipped_models
from rarn_edge.contract.artifact import Artifact

MODEL = "rarn-s"

pytestmark = pytest.mark.skipif(MODEL not in shipped_models(), reason=f"no weights of {MODEL} are shipped")


@pytest.fixture(scope="module")
def folder(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `run` left, where every parity step passed."""
    out = tmp_path_factory.mktemp("run") / "new"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rarn_edge.workflow.run.BENCH_ROUNDS", 15)
        done = rarn_edge.run(out, MODEL, data=faces_folder, baselines=False)
    assert done.parity.passed
    assert done.kept_because is None
    assert all(path.is_file() for path, _ in done.files)
    return out


def test_files(folder: Path) -> None:
    stages = [f"{MODEL}{form}.onnx" for form in (".exported", "", ".int8")]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*stages, "report.md", "report.html", "report.json"]
    )
    artifacts = [Artifact.load(folder / name) for name in stages]
    assert [artifact.contract.precision for artifact in artifacts] == ["float32", "float32", "int8"]
    assert [artifact.contract.provenance.get("source_sha256") for artifact in artifacts[1:]] == [
        artifact.sha256 for artifact in artifacts[:-1]
    ]
    assert len({artifact.contract.provenance["weights_sha256"] for artifact in artifacts}) == 1
    assert artifacts[2].size_bytes <= 0.30 * artifacts[1].size_bytes


def test_report(folder: Path) -> None:
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    forms = [f"{MODEL}.exported.onnx", f"{MODEL}.onnx", f"{MODEL}.int8.onnx"]
    names = ["torch", *forms[:2], f"{MODEL}.onnx on cpu", f"{MODEL}.int8.onnx simulated", f"{MODEL}.int8.onnx fused"]
    steps = [step for step in report["hops"] if step["kind"] in ("float", "quantize", "fuse")]
    for inputs in ("faces", "adversarial"):
        found = [(step["before"], step["after"]) for step in steps if step["inputs"] == inputs]
        assert found == list(itertools.pairwise(names))
    assert all(step["passed"] for step in report["hops"])
    rows = report["bench"]["rows"]
    assert [row["label"] for row in rows] == [MODEL, f"{MODEL}.int8"]
    assert [row["file_size_bytes"] for row in rows] == [(folder / f).stat().st_size for f in forms[1:]]
    assert all(min(row["samples_s"]) > 0 for row in rows)
    text = (folder / "report.md").read_text(encoding="utf-8")
    shown = [step.removesuffix(".onnx") for step in ("torch", *forms[:2])]
    assert all(f"| {before} -> {after} |" in text for before, after in itertools.pairwise(shown))
    assert f"| {MODEL} on cpu -> {MODEL}.int8 simulated |" in text
