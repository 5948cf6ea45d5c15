"""What an epoch will do is drawn before it begins; teachers that are asked about each batch see what the model sees."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rarn_edge.errors import InputError
from rarn_edge.models.build import untrained_model
from rarn_edge.models.catalog import find_model
from rarn_edge.train.checkpoint import Weights, load_weights
from rarn_edge.train.loop import sgd, train
from rarn_edge.train.plan import EpochSeeds, plan_epoch
from rarn_edge.train.recipe import EDGE, EDGE_PATIENT
from rarn_edge.train.run import Run
from rarn_edge.train.step import BatchStep, Learner
from rarn_edge.train.workers import ALONE, Workers

MakeRun = Callable[..., Run]
MIXED = replace(EDGE, batch=12, mixup=0.4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_workers_share_the_faces_of_each_batch(count: int) -> None:
    workers = [Workers(rank, count, torch.device("cpu")) for rank in range(count)]
    plans = [plan_epoch(MIXED, 50, 3, EpochSeeds.of(7, 3, worker), worker) for worker in workers]
    alone = plan_epoch(MIXED, 50, 3, EpochSeeds.of(7, 3, ALONE), ALONE)
    assert alone.chosen.shape == (4, 12)  # 2 of the 50 faces are left for another epoch
    for batch in range(4):
        together = torch.cat([plan.chosen[batch] for plan in plans])
        assert Counter(together.tolist()) == Counter(alone.chosen[batch].tolist())
    assert len(set(alone.chosen.flatten().tolist())) == 48
    for plan in plans:
        assert all(sorted(row.tolist()) == list(range(12 // count)) for row in plan.partners)
        assert torch.equal(plan.learning_rates, alone.learning_rates)


def test_a_plan_follows_from_seed_and_epoch() -> None:
    first, again, other = (plan_epoch(MIXED, 50, epoch, EpochSeeds.of(7, epoch, ALONE), ALONE) for epoch in (3, 3, 4))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first.tensors(), again.tensors(), strict=True))
    assert not torch.equal(first.chosen, other.chosen)
    first.copy_from(other)
    assert torch.equal(first.chosen, other.chosen)


def test_fewer_faces_than_a_batch_are_one_batch() -> None:
    assert plan_epoch(MIXED, 5, 1, EpochSeeds.of(0, 1, ALONE), ALONE).chosen.shape == (1, 5)


def largest_gradient(run: Run) -> float:
    """After one batch, of a model that begins as its own live teacher."""
    model, averaged = (untrained_model("rarn-n", 0) for _ in range(2))  # in evaluation mode
    spec = find_model("rarn-n").spec
    taught = replace(run, live_teachers=(Weights(spec, dict(averaged.state_dict()), {}, "its own"),))
    step = BatchStep(taught, spec.preprocess, Learner(model, model, averaged, sgd(model, run.recipe)))
    step.begin(plan_epoch(run.recipe, len(run.train), 1, EpochSeeds.of(0, 1, ALONE), ALONE), 5, 0)
    step()
    return max(float(parameter.grad.abs().max()) for parameter in model.parameters() if parameter.grad is not None)


def test_a_live_teacher_sees_what_the_model_sees(make_run: MakeRun, tmp_path: Path) -> None:
    """A net that is its own teacher is right already, turned and mixed as the faces may be; the labels alone move it."""
    recipe = replace(EDGE_PATIENT, batch=14, teacher_share=1.0)
    assert largest_gradient(replace(make_run(tmp_path), recipe=recipe)) < 1e-6
    assert largest_gradient(replace(make_run(tmp_path), recipe=replace(recipe, teacher_share=0.5))) > 1e-4


def test_live_teachers_belong_to_a_run(make_run: MakeRun, weights_file: Path, tmp_path: Path) -> None:
    teacher = load_weights(weights_file)
    recipe = replace(EDGE_PATIENT, epochs=1, batch=14)
    run = replace(make_run(tmp_path), recipe=recipe, live_teachers=(teacher,))
    train(run)
    written = load_weights(tmp_path / "weights.safetensors").provenance
    assert (written["teachers"], written["teacher_views"], written["trained_on"]) == ([teacher.sha256], 0, "cpu")
    with pytest.raises(InputError, match="another teachers"):
        train(replace(run, live_teachers=()), resume=True)


def test_a_live_teacher_of_other_inputs_is_refused(make_run: MakeRun, weights_file: Path, tmp_path: Path) -> None:
    teacher = load_weights(weights_file)
    preprocess = replace(teacher.spec.preprocess, mean=(0.0,))
    other: Weights = replace(teacher, spec=replace(teacher.spec, preprocess=preprocess))
    run = replace(make_run(tmp_path), recipe=replace(EDGE_PATIENT, epochs=1, batch=14), live_teachers=(other,))
    with pytest.raises(InputError, match="shows teachers the model's own input, which 'rarn-n' cannot take"):
        train(run)


def test_mixed_shares_are_between_zero_and_one() -> None:
    plan = plan_epoch(MIXED, 500, 1, EpochSeeds.of(0, 1, ALONE), ALONE)
    shares = np.asarray(plan.mixed_shares)
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares.std() > 0.1
    assert plan_epoch(EDGE, 500, 1, EpochSeeds.of(0, 1, ALONE), ALONE).mixed_shares.tolist() == [1.0] * 7
