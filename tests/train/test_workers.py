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
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.workers import ALONE, Workers

ROOT = Path(__file__).parent.parent.parent

GRADIENTS = """
import sys
import torch
import torch.nn.functional as F
from torch import nn
from rarn_edge.models.build import untrained_model
from rarn_edge.train.workers import join_workers

torch.set_num_threads(1)
with join_workers() as workers:
    generator = torch.Generator().manual_seed(0)
    faces, labels = torch.randn(8, 1, 48, 48, generator=generator), torch.arange(8) % 7
    model = untrained_model("rarn-n", 0)  # in evaluation mode: its normalisation statistics are frozen
    chosen = workers.share(torch.arange(8).numpy())
    together = workers.wrap(model)  # kept: the wrapper averages only while it lives
    F.cross_entropy(together(faces[chosen]), labels[chosen]).backward()
    if workers.writes:
        torch.save({name: value.grad for name, value in model.named_parameters()}, sys.argv[1])
    assert workers.count == 1 or workers.sum(1.0, float(workers.rank)) == [2.0, 1.0]
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


def test_one_worker_is_the_model_itself() -> None:
    model = torch.nn.Linear(2, 2)
    assert ALONE.wrap(model) is model
    assert ALONE.share(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert ALONE.sum(1.5) == [1.5]


def test_two_workers_have_the_gradients_of_one_with_the_double_batch(tmp_path: Path) -> None:
    script = tmp_path / "gradients.py"
    script.write_text(GRADIENTS)
    done = torchrun(script, tmp_path / "two.pt")
    assert done.returncode == 0, done.stderr
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, script, tmp_path / "one.pt"], check=True, timeout=120, env=environment)
    two, one = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("two", "one"))
    assert two.keys() == one.keys()
    assert max(float((two[name] - one[name]).abs().max()) for name in one) <= 1e-5
    assert max(float(value.abs().max()) for value in one.values()) > 1e-3


def test_torchrun_trains_and_resumes(faces_folder: Path, tmp_path: Path) -> None:
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
