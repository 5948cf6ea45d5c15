"""Two processes train as one: shards without overlap, the same gradients, one writer."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from rarn_edge.errors import InputError
from rarn_edge.train.checkpoint import load_state, load_weights
from rarn_edge.train.workers import ALONE, Workers, one_worker

ROOT = Path(__file__).parent.parent.parent

TOGETHER = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
import torch.nn.functional as F
from rarn_edge.data import load_faces
from rarn_edge.models.build import untrained_model
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.distill import soft_targets
from rarn_edge.train.loop import train
from rarn_edge.train.recipe import EDGE_DISTILLED
from rarn_edge.train.run import Run, split_for_training
from rarn_edge.train.workers import join_workers

def gradients(workers, out):
    generator = torch.Generator().manual_seed(0)
    faces, labels = torch.randn(8, 1, 48, 48, generator=generator), torch.arange(8) % 7
    model = untrained_model("rarn-n", 0)  # in evaluation mode: its normalisation statistics are frozen
    chosen = workers.share(torch.arange(8).numpy())
    together = workers.wrap(model)  # kept: the wrapper averages only while it lives
    F.cross_entropy(together(faces[chosen]), labels[chosen]).backward()
    if workers.writes:
        torch.save({name: value.grad for name, value in model.named_parameters()}, out)
    assert workers.count == 1 or workers.sum(1.0, float(workers.rank)) == [2.0, 1.0]

def stop(log):
    raise KeyboardInterrupt

def resume(workers, data, teacher, folder):
    faces, test = split_for_training(load_faces(data))
    ask = lambda: soft_targets([load_weights(teacher)], faces, faces.sha256(), folder / "answers.npz", 1)
    recipe = replace(EDGE_DISTILLED, epochs=2, batch=14)
    run = Run(find_network("rarn-n"), recipe, 0, faces, test, folder / "straight", 1, workers.in_turn(ask))
    train(run, workers=workers)
    broken = replace(run, folder=folder / "resumed")
    try:
        train(broken, on_epoch=stop, workers=workers)
    except KeyboardInterrupt:
        train(broken, resume=True, workers=workers)

out, *rest = map(Path, sys.argv[1:])
torch.set_num_threads(1)
with join_workers() as workers:
    gradients(workers, out)
    if rest:
        resume(workers, *rest)
"""


def torchrun(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *map(str, arguments),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_shards_cover_a_batch_once(count: int) -> None:
    batch = np.arange(100, 112)
    parts = [Workers(rank, count, torch.device("cpu")).share(batch) for rank in range(count)]
    assert Counter(np.concatenate(parts).tolist()) == Counter(batch.tolist())
    assert len({len(part) for part in parts}) == 1


def test_a_batch_that_cannot_be_dealt_is_refused() -> None:
    Workers(0, 2, torch.device("cpu")).check(64)
    with pytest.raises(InputError, match="a batch of 65 cannot be dealt to 2 workers"):
        Workers(0, 2, torch.device("cpu")).check(65)


def test_work_of_one_process_refuses_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert one_worker().count == 1
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="start it without torchrun"):
        one_worker()


def test_one_worker_is_the_model_itself() -> None:
    model = torch.nn.Linear(2, 2)
    assert ALONE.wrap(model) is model
    assert ALONE.share(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert ALONE.sum(1.5) == [1.5]


@pytest.fixture(scope="module")
def together(weights_file: Path, faces_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers left who started once: to start them takes longer than what they do."""
    folder = tmp_path_factory.mktemp("together")
    script = folder / "together.py"
    script.write_text(TOGETHER)
    done = torchrun(script, folder / "two.pt", faces_folder, weights_file, folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_workers_have_the_gradients_of_one_with_the_double_batch(together: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, together / "together.py", tmp_path / "one.pt"]
    subprocess.run(command, check=True, timeout=120, env=environment)
    two, one = (torch.load(path, weights_only=True) for path in (together / "two.pt", tmp_path / "one.pt"))
    assert two.keys() == one.keys()
    assert max(float((two[name] - one[name]).abs().max()) for name in one) <= 1e-5
    assert max(float(value.abs().max()) for value in one.values()) > 1e-3


def test_two_workers_resume_bit_exactly(together: Path) -> None:
    """With a teacher, whose answers the second worker reads, and with crops."""
    straight, resumed = (load_state(together / name / "last.pt") for name in ("straight", "resumed"))
    for part in ("model", "averaged"):
        assert [name for name, value in straight[part].items() if not torch.equal(value, resumed[part][name])] == []
    assert resumed["identity"]["workers"] == 2
    assert len(resumed["history"]) == 2


def test_one_error_for_all_workers(weights_file: Path, faces_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "answers.npz").write_bytes(b"")
    options = ("--teacher", weights_file, "--teacher-answers", tmp_path / "answers.npz", "--batch", 14)
    command = ("-m", "rarn_edge", "train", "--recipe", "edge-distilled", "--model", "rarn-n", "--data", faces_folder)
    done = torchrun(*command, "--out", tmp_path / "run", *options)
    assert done.returncode != 0
    assert done.stderr.count("does not hold teachers' answers") == 1
    assert "Connection closed by peer" not in done.stderr


def test_torchrun_trains_as_one(faces_folder: Path, tmp_path: Path) -> None:
    command = (
        "-m",
        "rarn_edge",
        "train",
        "--model",
        "rarn-n",
        "--data",
        faces_folder,
        "--out",
        tmp_path / "run",
        "--batch",
        14,
    )
    done = torchrun(*command, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1  # one writer
    assert done.stderr.count("faces to train on") == 1
    weights = load_weights(tmp_path / "run" / "weights.safetensors")
    assert weights.provenance["epochs_done"] == 2
    again = torchrun(*command, "--epochs", 2)
    assert again.returncode != 0
    assert "already holds a run" in again.stderr
