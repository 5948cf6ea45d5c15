"""On a GPU: a recorded batch is the batch itself, a resumed run the uninterrupted one, and nccl joins what gloo joins."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rarn_edge.train import step
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.run import EpochLog, Run
from rarn_edge.train.workers import join_workers

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
MakeRun = Callable[..., Run]
ROOT = Path(__file__).parents[2]


def trained(
    run: Run, resume: bool = False, on_epoch: Callable[[EpochLog], None] | None = None
) -> dict[str, torch.Tensor]:
    with join_workers() as workers:
        train(run, resume, on_epoch=on_epoch, workers=workers)
    return load_weights(run.folder / "weights.safetensors").tensors


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert {name: float((found[name] - value).abs().max()) for name, value in expected.items()
            if not torch.equal(found[name], value)} == {}  # fmt: skip


@pytest.mark.parametrize("precision", list(TrainingPrecision))
@pytest.mark.parametrize("recipe", ["edge", "edge-distilled", "edge-taught"])
def test_recorded_batches_are_the_batches_themselves(
    make_run: MakeRun, tmp_path: Path, recipe: str, precision: TrainingPrecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = trained(make_run(tmp_path / "recorded", recipe, precision=precision))
    monkeypatch.setattr(step, "WARM_UP", 10**6)
    assert_equal(trained(make_run(tmp_path / "plain", recipe, precision=precision)), recorded)


@pytest.mark.parametrize("recipe", ["edge", "edge-taught"])
def test_resume_is_bit_exact(make_run: MakeRun, tmp_path: Path, recipe: str) -> None:
    run = make_run(tmp_path / "straight", recipe, precision=TrainingPrecision.BF16)
    straight = trained(run)

    def interrupt(_log: EpochLog) -> None:
        raise KeyboardInterrupt

    stopped = replace(run, folder=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        trained(stopped, on_epoch=interrupt)
    assert_equal(trained(stopped, resume=True), straight)


def test_nccl_joins_a_worker(faces_folder: Path, tmp_path: Path) -> None:
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", "-m", "rarn_edge", "train"]
    options = ["--model", "rarn-n", "--epochs", "1", "--batch", "14", "--data", faces_folder, "--out", tmp_path / "run"]
    done = subprocess.run(
        [sys.executable, *command, *map(str, options)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load_weights(tmp_path / "run" / "weights.safetensors").provenance["trained_on"] != "cpu"
