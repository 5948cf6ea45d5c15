"""The accuracy beside the latency: by the labels of the data, or by people's votes."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from rarn_edge import Classifier
from rarn_edge.bench.cases import load_case
from rarn_edge.bench.config import BenchConfig
from rarn_edge.bench.extras.accuracy import accuracy_of
from rarn_edge.bench.runner import benchmark
from rarn_edge.bench.worker.client import Worker
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.decode import decode, encode

TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"
COLUMNS = {
    "neutral": "neutral", "happy": "happiness", "surprise": "surprise", "sad": "sadness", "angry": "anger",
    "disgust": "disgust", "fear": "fear", "contempt": "contempt", "unknown": "unknown", "nf": "NF",
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """Twelve faces in `test/sad`; people see in ten of them what the model says, in one contempt, in one something else."""
    answers = Classifier(TINY, threads=1).predict(list(faces := synthetic_faces(12, seed=5).images))
    lines = ["file," + ",".join(COLUMNS.values())]
    folder = tmp_path / "faces" / "test" / "sad"
    folder.mkdir(parents=True)
    for index, (face, answer) in enumerate(zip(faces, answers, strict=True)):
        assert cv2.imwrite(str(folder / f"{index}.png"), face)
        seen = "contempt" if index == 10 else answer.label if index < 10 else "sad" if answer.label != "sad" else "fear"
        lines.append(f"test/sad/{index}.png," + ",".join("10" if name == seen else "0" for name in COLUMNS))
    votes = tmp_path / "votes.csv"
    votes.write_text("\n".join(lines) + "\n")
    return tmp_path / "faces", votes


def test_votes_are_the_labels(data: tuple[Path, Path]) -> None:
    faces, votes = data
    said = [answer.label for answer in Classifier(TINY, threads=1).predict(list(synthetic_faces(12, seed=5).images))]
    by_folder = accuracy_of(TINY, faces, None, None, "cpu")
    assert (by_folder.images, by_folder.value) == (12, said.count("sad") / 12)
    by_votes = accuracy_of(TINY, faces, None, votes, "cpu")
    assert (by_votes.images, by_votes.value) == (11, 10 / 11)  # the model has no contempt
    assert "the majority of people's votes" in by_votes.faces


def test_votes_from_the_command_line(
    cli: Callable[..., subprocess.CompletedProcess[str]], data: tuple[Path, Path]
) -> None:
    faces, votes = data
    quick = ("--rounds", 3, "--starts", 1, "--no-memory", "--threads", 1)
    done = cli("bench", TINY, *quick, "--data", faces, "--votes", votes, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert row["accuracy"]["value"] == pytest.approx(10 / 11)
    done = cli("bench", TINY, *quick, "--votes", votes)
    assert (done.returncode, "--votes needs --data" in done.stderr) == (2, True)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_accuracy_may_fall_back_where_the_run_may(
    data: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, allowed: bool
) -> None:
    asked: list[object] = []
    ask = Worker.ask

    def noting(self: Worker, command: str, **arguments: Any) -> dict[str, Any]:
        if command == "accuracy":
            asked.append(arguments["allow_fallback"])
        return ask(self, command, **arguments)

    monkeypatch.setattr(Worker, "ask", noting)
    config = BenchConfig(threads=(1,), rounds=3, launches=1, memory=False, data=data[0], allow_fallback=allowed)
    (row,) = benchmark([load_case(TINY)], config).rows
    assert asked == [allowed]
    assert row.accuracy is not None


def test_a_recorded_configuration_without_votes_is_read() -> None:
    config = encode(BenchConfig())
    del config["votes"]
    assert decode(BenchConfig, config) == BenchConfig()
