"""Training on pictures that are decoded in each epoch is training on the same pictures in memory, bit by bit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rarn_edge.data import load_faces
from rarn_edge.data.stream import Streamed
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import RECIPES
from rarn_edge.train.run import BatchLog, Run, split_for_training


def run_on(data: Path, folder: Path) -> Run:
    """Two epochs of three batches of rarn-n."""
    learnt, tested = split_for_training(load_faces(data))
    recipe = replace(RECIPES["edge"], epochs=2, batch=14)
    return Run(
        find_network("rarn-n"), recipe, 0, learnt, tested, folder, threads=1, precision=TrainingPrecision.FLOAT32
    )


def interrupt(log: BatchLog) -> None:
    if (log.epoch, log.batch) == (2, 2):
        raise KeyboardInterrupt


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_weights(run.folder / "weights.safetensors").tensors


def test_a_streamed_run_is_the_one_in_memory(
    faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run_on(faces_folder, tmp_path / "memory")
    expected = train(whole)
    monkeypatch.setattr("rarn_edge.data.faces.MEMORY_BYTES", 0)
    streamed, stopped = run_on(faces_folder, tmp_path / "streamed"), run_on(faces_folder, tmp_path / "stopped")
    assert isinstance(streamed.train.images, Streamed)
    assert not isinstance(whole.train.images, Streamed)
    histories = [train(streamed)]
    with pytest.raises(KeyboardInterrupt):
        train(stopped, on_batch=interrupt)
    histories.append(train(stopped, resume=True))
    for found in histories:
        assert [(log.train_loss, log.test_loss) for log in found] == [
            (log.train_loss, log.test_loss) for log in expected
        ]
    for run in (streamed, stopped):
        found = weights_of(run)
        assert [name for name, value in weights_of(whole).items() if not torch.equal(value, found[name])] == []
