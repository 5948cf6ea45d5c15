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

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
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


@pytest.fixture
def make(make_run: MakeRun, weights_file: Path) -> MakeRun:
    """`make_run` of rarn-s, which has dropout; with a live teacher where the recipe asks one."""

    def made(folder: Path, recipe: str, precision: TrainingPrecision = TrainingPrecision.BF16) -> Run:
        run: Run = make_run(folder, recipe, epochs=5, precision=precision, model="rarn-s")
        return replace(run, live=(load_weights(weights_file),) if run.recipe.live_teachers else ())

    return made


RECIPES = ["edge", "edge-distilled", "edge-taught", "edge-patient"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_runs_can_be_made(make: MakeRun, tmp_path: Path, recipe: str) -> None:
    """Without a GPU as well, so that a test that needs one does not break unseen."""
    run = make(tmp_path, recipe)
    assert (run.network.name, len(run.live)) == ("rarn-s", int(run.recipe.live_teachers))


@needs_gpu
@pytest.mark.parametrize("precision", list(TrainingPrecision))
@pytest.mark.parametrize("recipe", RECIPES)
def test_recorded_batches_are_the_batches_themselves(
    make: MakeRun, tmp_path: Path, recipe: str, precision: TrainingPrecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = trained(make(tmp_path / "recorded", recipe, precision))
    monkeypatch.setattr(step, "WARM_UP", 10**6)
    assert_equal(trained(make(tmp_path / "plain", recipe, precision)), recorded)


@needs_gpu
@pytest.mark.parametrize("recipe", RECIPES)
def test_resume_is_bit_exact(make: MakeRun, tmp_path: Path, recipe: str) -> None:
    run = make(tmp_path / "straight", recipe)
    straight = trained(run)

    def interrupt(_log: EpochLog) -> None:
        raise KeyboardInterrupt

    stopped = replace(run, folder=tmp_path / "stopped")
    with pytest.raises(KeyboardInterrupt):
        trained(stopped, on_epoch=interrupt)
    assert_equal(trained(stopped, resume=True), straight)


NCCL = """
import torch, torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from rarn_edge.train.workers import join_workers
with join_workers() as workers:
    assert dist.get_backend() == "nccl"
    total = torch.ones(1, device=workers.device)
    dist.all_reduce(total)
    assert total.item() == workers.count
    model = DistributedDataParallel(torch.nn.Linear(2, 2).to(workers.device))
    model(torch.ones(1, 2, device=workers.device)).sum().backward()
    assert model.module.weight.grad is not None
"""


@needs_gpu
def test_nccl_joins_workers(tmp_path: Path) -> None:
    script = tmp_path / "nccl.py"
    script.write_text(NCCL)
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1", str(script)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
