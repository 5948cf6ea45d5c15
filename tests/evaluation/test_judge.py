"""The whole judgement, its files, and what `evaluate` prints of it."""

import csv
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

import rarn_edge
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import CLASSES, MAX_TEMPERATURE, MIN_TEMPERATURE, ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces, Split
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.evaluation.judge import Pixels, Subject, judge
from rarn_edge.files import write_files
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.report.evaluation_files import judgement_files

Cli = Callable[..., subprocess.CompletedProcess[str]]


def answers(images: np.ndarray) -> np.ndarray:
    """Logits that depend on the pixels: not uniform, not right."""
    share = images.reshape(len(images), -1).mean(axis=1) / 255
    return np.stack([np.cos(share * (index + 1) * 9) for index in range(len(CLASSES))], axis=1).astype(np.float32)


SUBJECT = Subject("net.onnx", ModelSpec("net"), answers, (129.5, 65.0))


@pytest.fixture(scope="module")
def held_out() -> Faces:
    return synthetic_faces(35, seed=3)


def test_copies_are_found_by_their_pixels(held_out: Faces) -> None:
    training = replace(synthetic_faces(20, seed=4), images=np.concatenate([held_out.images[:5], held_out.images[5:20]]))
    logits = answers(held_out.images)
    found = judge(SUBJECT, logits, held_out, "faces", training).without_copies
    assert found is not None
    assert (found.copies, found.faces) == (20, 15)
    right = (logits.argmax(axis=1) == held_out.labels)[20:]
    assert found.accuracy == pytest.approx(right.mean())
    assert judge(SUBJECT, logits, held_out, "faces", None).without_copies is None
    assert judge(SUBJECT, logits, held_out, "faces", held_out).without_copies is None  # nothing left to measure on


@pytest.mark.parametrize(
    ("mean", "std", "warns"), [(129.0, 64.0, False), (150.0, 65.0, True), (129.5, 50.0, True), (129.5, 80.0, True)]
)
def test_filtered_images_are_noticed(mean: float, std: float, warns: bool) -> None:
    assert bool(Pixels(mean, std, 129.5, 65.0).warning) is warns
    assert Pixels(mean, std, None, None).warning is None


def test_every_file_is_written(held_out: Faces, tmp_path: Path) -> None:
    judgement = judge(SUBJECT, answers(held_out.images), held_out, "faces", synthetic_faces(42, seed=4))
    written = write_files(tmp_path / "report", judgement_files(judgement))
    assert sorted(path.name for path in written) == sorted(path.name for path in (tmp_path / "report").iterdir())
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in written if path.suffix == ".png")
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["evaluation"]["images"] == 35
    rows = list(csv.DictReader((tmp_path / "report" / "roll.csv").open()))
    assert [int(row["roll_deg"]) for row in rows] == list(range(-90, 91, 15))
    confusion = list(csv.DictReader((tmp_path / "report" / "confusion.csv").open()))
    assert sum(int(row[name]) for row in confusion for name in CLASSES) == 35
    labels = list(csv.DictReader((tmp_path / "report" / "labels.csv").open()))
    assert [(row["faces"], int(row["happy"])) for row in labels] == [("judged", 5), ("training", 6)]
    shades = list(csv.DictReader((tmp_path / "report" / "intensity.csv").open()))
    assert sum(int(row["training"]) for row in shades) == 42 * 48 * 48
    assert int(shades[128]["judged"]) == (held_out.images == 128).sum()


def test_evaluate_writes_a_report_and_a_calibrated_file(
    cli: Cli,
    simplified: Artifact,
    int8: Mapping[Target, Quantized],
    faces_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rarn_edge.workflow.evaluate.fit_temperature", lambda *_given: 1.5)  # none fits random weights
    quantized = int8[Target.X86_AVX2].artifact.path
    done = cli(
        "evaluate", simplified.path, "--data", faces_folder, "--report", tmp_path / "r", "--against", quantized,
        "--against", simplified.path, "--calibrated", tmp_path / "c.onnx", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["images"] == 14
    again = f"{simplified.path.name} #2"
    assert [other["model"] for other in result["against"]] == [quantized.name, again]
    assert result["against"][1]["accuracy_difference"] == 0
    assert [rival["paired"]["faces"] for rival in result["judgement"]["against"]] == [14, 14]
    rows = list(csv.DictReader((tmp_path / "r" / "roll.csv").open()))
    assert [row["model"] for row in rows[::13]] == [simplified.path.name, quantized.name, again]
    assert (tmp_path / "r" / "confidence.png").is_file()
    calibrated = Artifact.load(tmp_path / "c.onnx")
    assert calibrated.spec.temperature == pytest.approx(result["calibrated"]["temperature"])
    assert calibrated.contract.provenance["temperature_fitted_on"].startswith("14 faces")
    assert replace(calibrated.spec, temperature=1.0) == simplified.spec


def test_evaluate_prints_the_comparison(
    cli: Cli, simplified: Artifact, int8: Mapping[Target, Quantized], faces_folder: Path
) -> None:
    quantized = int8[Target.X86_AVX2].artifact.path
    done = cli("evaluate", quantized, "--data", faces_folder, "--against", simplified.path)
    assert done.returncode == 0, done.stderr
    assert "McNemar" in done.stdout


def test_files_of_one_name_are_told_apart_by_their_folders(
    simplified: Artifact, int8: Mapping[Target, Quantized], faces_folder: Path, tmp_path: Path
) -> None:
    files = [tmp_path / folder / "model.onnx" for folder in ("a", "b")]
    for file, source in zip(files, (simplified.path, int8[Target.X86_AVX2].artifact.path), strict=True):
        file.parent.mkdir()
        file.write_bytes(source.read_bytes())
    done = rarn_edge.evaluate(files[0], faces_folder, against=files[1])
    assert (done.name, [name for name, _ in done.against]) == ("a/model.onnx", ["b/model.onnx"])


def test_evaluate_refuses_to_calibrate_in_place(cli: Cli, simplified: Artifact, faces_folder: Path) -> None:
    done = cli("evaluate", simplified.path, "--data", faces_folder, "--calibrated", simplified.path)
    assert done.returncode == 2
    assert "is read by this command" in done.stderr


def test_classes_called_like_columns_keep_their_own(held_out: Faces) -> None:
    names = ("true", "faces", "=1+1", *CLASSES[3:])
    renamed = replace(held_out, classes=names)
    subject = replace(SUBJECT, spec=replace(SUBJECT.spec, classes=names))
    files = judgement_files(judge(subject, answers(held_out.images), renamed, "faces", None))
    for name, first in (("confusion.csv", "true"), ("labels.csv", "faces")):
        header, *rows = csv.reader(files[name].decode().splitlines())
        assert header[:4] == [first, "true", "faces", "'=1+1"]
        assert {len(row) for row in rows} == {len(header)}


@pytest.mark.parametrize(("fitted", "why"), [(MIN_TEMPERATURE, "the surer"), (MAX_TEMPERATURE, "the less sure")])
def test_a_temperature_needs_right_and_wrong_answers(
    cli: Cli,
    simplified: Artifact,
    faces_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fitted: float,
    why: str,
) -> None:
    monkeypatch.setattr("rarn_edge.workflow.evaluate.fit_temperature", lambda *_given: fitted)
    done = cli("evaluate", simplified.path, "--data", faces_folder, "--calibrated", tmp_path / "c.onnx")
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "no temperature fits the answers to 14 faces" in done.stderr
    assert why in done.stderr


def test_a_report_needs_two_images(cli: Cli, simplified: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "one"
    face = folder / "PublicTest" / "happy" / "1.png"
    face.parent.mkdir(parents=True)
    assert cv2.imwrite(str(face), synthetic_faces(1, seed=0).images[0])
    done = cli("evaluate", simplified.path, "--data", folder, "--report", tmp_path / "r")
    assert done.returncode == 2
    assert "a report needs at least 2 labelled images" in done.stderr


def test_training_faces_count_as_copies_only_when_apart(faces_folder: Path, tmp_path: Path) -> None:
    from rarn_edge.workflow.inputs import faces_to_judge

    found = faces_to_judge(faces_folder, None, Preprocess(), with_training=True)
    assert found.training is not None
    assert (len(found.faces), len(found.training), found.without_majority) == (14, 42, None)
    for split in ("Training", Split.UNSPLIT.value):
        assert faces_to_judge(faces_folder, split, Preprocess(), with_training=True).training is None
    shutil.copytree(faces_folder / "Training", tmp_path / "Training")
    alone = faces_to_judge(tmp_path, "test", Preprocess(), with_training=True)
    assert alone.training is not None
    assert len(alone.faces) + len(alone.training) == 42  # the tenth that is held out is no copy of itself
    assert not set(alone.faces.names) & set(alone.training.names)
