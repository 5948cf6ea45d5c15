"""Values that only a Python caller can pass: checked as the command line checks them, before anything is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

import rarn_edge
from rarn_edge.assets import shipped_bundle, shipped_onnx
from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import InputError
from rarn_edge.workflow.train import TrainOptions

Call = Callable[[Path, Artifact, Path], object]

REFUSED: dict[str, tuple[Call, str]] = {
    "verify without a bundle": (lambda _o, f, _d: rarn_edge.verify(file=f.path), "which parity bundle"),
    "verify without a file": (lambda _o, _f, _d: rarn_edge.verify(shipped_bundle("rarn-n")), "which model"),
    "method": (lambda o, f, d: rarn_edge.quantize(f.path, o, calib=d, method="MSE"), "no calibration method 'MSE'"),  # type: ignore[arg-type]
    "images": (lambda o, f, d: rarn_edge.quantize(f.path, o, calib=d, images=0), "images is at least 1"),
    "input of quantize": (lambda o, f, _d: rarn_edge.quantize(f.path, o, input_dtype="int8"), "no input type 'int8'"),  # type: ignore[arg-type]
    "input of export": (lambda o, _f, _d: rarn_edge.export(o, "rarn-n", input_dtype="UINT8"), "no input type 'UINT8'"),  # type: ignore[arg-type]
    "form": (lambda o, _f, _d: rarn_edge.bundle("rarn-n", o, form="Triton"), "no format 'Triton'; one of"),  # type: ignore[arg-type]
    "rounds": (lambda _o, f, _d: rarn_edge.verdict(f.path, shipped_onnx("rarn-n"), rounds=1), "rounds is at least 20"),
    "threads": (lambda o, _f, _d: rarn_edge.run(o, "rarn-n", threads=0), "threads is at least 1"),
    "seed": (lambda o, _f, d: rarn_edge.train(d, o, TrainOptions("rarn-n", seed=-1)), "seed is at least"),
    "epochs": (lambda o, _f, d: rarn_edge.train(d, o, TrainOptions("rarn-n", epochs=1.5)), "epochs is a whole"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, simplified: Artifact, faces_folder: Path, tmp_path: Path) -> None:
    call, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        call(tmp_path / "out.onnx", simplified, faces_folder)
    assert list(tmp_path.iterdir()) == []


def test_one_path_is_a_list_of_one(simplified: Artifact) -> None:
    for alone in (simplified.path, str(simplified.path)):
        assert rarn_edge.parity(alone, threads=1).report.passed


def test_a_shipped_model_is_named_by_a_path_too(tmp_path: Path) -> None:
    names = rarn_edge.bundle(Path("rarn-n"), tmp_path / "board")
    assert "model.onnx" in names


def test_a_teacher_is_named_as_text(faces_folder: Path, tmp_path: Path) -> None:
    options = TrainOptions(
        "rarn-n", "edge-turned-patient", epochs=1, batch=16, teachers=("rarn-s",), init="rarn-n", threads=1
    )
    done = rarn_edge.train(faces_folder, tmp_path / "run", options)
    assert done is not None
    assert len(done.history) == 1
