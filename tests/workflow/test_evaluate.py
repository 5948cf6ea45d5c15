"""A model of seven classes on faces that people called eight things: judged on the shared seven, and every result says so."""

import json
from pathlib import Path

import pytest

import rarn_edge
from rarn_edge.contract.artifact import Artifact
from rarn_edge.data import load_faces
from rarn_edge.data.votes import CHOICES

COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
NAMES = {"angry": "anger", "disgust": "disgust", "fear": "fear", "happy": "happiness", "neutral": "neutral"} | {
    "sad": "sadness",
    "surprise": "surprise",
}


@pytest.fixture
def votes(faces_folder: Path, tmp_path: Path) -> Path:
    """Nine people say the label of each face, but contempt of every tenth, in Training as in PublicTest."""
    assert len(COLUMNS) == len(CHOICES)
    faces = load_faces(faces_folder)
    rows = []
    for index, (name, label) in enumerate(zip(faces.names, faces.labels.tolist(), strict=True)):
        said = "contempt" if index % 10 == 0 else NAMES[faces.classes[label]]
        rows.append(",".join([name, *("9" if column == said else "0" for column in COLUMNS)]))
    path = tmp_path / "votes.csv"
    path.write_text("\n".join([",".join(["file", *COLUMNS]), *rows]) + "\n")
    return path


def test_seven_classes_are_judged_on_the_shared_ones_and_every_result_says_so(
    votes: Path, faces_folder: Path, exported: Artifact, tmp_path: Path
) -> None:
    told: list[str] = []
    seven = exported
    assert len(seven.spec.classes) == 7
    done = rarn_edge.evaluate(
        seven.path,
        faces_folder,
        votes=votes,
        report=tmp_path / "report",
        threads=1,
        on_notice=lambda text, _label: told.append(text),
    )
    whole = load_faces(faces_folder, votes=votes).held_out().labelled()
    lacking = int((whole.labels == whole.classes.index("contempt")).sum())
    assert lacking > 0
    assert any(f"{lacking} faces left out: {seven.path.name} lacks contempt" in text for text in told)
    assert done.evaluation.images == len(whole) - lacking
    assert done.faces.endswith("(PublicTest, the majority of people's votes, without contempt)")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["faces"] == done.faces
    assert set(report["data"][1]["labels"]) == set(seven.spec.classes)  # Training, without its contempt
    page = (tmp_path / "report" / "index.html").read_text()
    assert "without contempt" in page
    assert "name the majority of the others" in page
