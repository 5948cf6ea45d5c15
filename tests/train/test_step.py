"""What an epoch will do is drawn before it begins; teachers that are asked about each batch see what the model sees."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from rarn_edge.errors import InputError
from rarn_edge.models.build import untrained_model
from rarn_edge.models.catalog import find_model
from rarn_edge.train import epoch
from rarn_edge.train.checkpoint import Weights, load_weights
from rarn_edge.train.curves import write_curves
from rarn_edge.train.loop import sgd, train
from rarn_edge.train.plan import plan_epoch
from rarn_edge.train.recipe import EDGE, EDGE_PATIENT, learning_rate
from rarn_edge.train.run import BatchLog, EpochLog, Run
from rarn_edge.train.step import BatchStep, Learner, _Average
from rarn_edge.train.workers import ALONE, Workers

MakeRun = Callable[..., Run]
MIXED = replace(EDGE, batch=12, mixup=0.4)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_workers_share_the_faces_of_each_batch(count: int) -> None:
    workers = [Workers(rank, count, torch.device("cpu")) for rank in range(count)]
    plans = [plan_epoch(MIXED, 50, 7, 3, worker) for worker in workers]
    alone = plan_epoch(MIXED, 50, 7, 3, ALONE)
    assert alone.chosen.shape == (4, 12)  # 2 of the 50 faces are left for another epoch
    for batch in range(4):
        together = torch.cat([plan.chosen[batch] for plan in plans])
        assert Counter(together.tolist()) == Counter(alone.chosen[batch].tolist())
    assert len(set(alone.chosen.flatten().tolist())) == 48
    for plan in plans:
        assert all(sorted(row.tolist()) == list(range(12 // count)) for row in plan.partners)
        assert torch.equal(plan.learning_rates, alone.learning_rates)


def test_a_plan_follows_from_seed_and_epoch() -> None:
    first, again, other = (plan_epoch(MIXED, 50, 7, number, ALONE) for number in (3, 3, 4))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first.tensors(), again.tensors(), strict=True))
    assert not torch.equal(first.chosen, other.chosen)
    first.copy_from(other)
    assert torch.equal(first.chosen, other.chosen)


def test_fewer_faces_than_a_batch_are_one_batch() -> None:
    assert plan_epoch(MIXED, 5, 0, 1, ALONE).chosen.shape == (1, 5)


def largest_gradient(run: Run) -> float:
    """After one batch, of a model that begins as its own live teacher."""
    model, averaged = (untrained_model("rarn-n", 0) for _ in range(2))  # in evaluation mode
    spec = find_model("rarn-n").spec
    taught = replace(run, live=(Weights(spec, dict(averaged.state_dict()), {}, "its own"),))
    step = BatchStep(taught, spec.preprocess, Learner(model, model, averaged, sgd(model, run.recipe, len(run.classes))))
    step.begin(plan_epoch(run.recipe, run.learnt, 0, 1, ALONE), 5, 0)
    step()
    return max(float(parameter.grad.abs().max()) for parameter in model.parameters() if parameter.grad is not None)


def test_a_live_teacher_sees_what_the_model_sees(make_run: MakeRun, tmp_path: Path) -> None:
    """A net that is its own teacher is right already, turned and mixed as the faces may be; the labels alone move it."""
    recipe = replace(EDGE_PATIENT, batch=14, teacher_share=1.0)
    assert largest_gradient(replace(make_run(tmp_path), recipe=recipe)) < 1e-6
    assert largest_gradient(replace(make_run(tmp_path), recipe=replace(recipe, teacher_share=0.5))) > 1e-4


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_live_teachers_are_not_asked_about_drawn_faces(make_run: MakeRun, tmp_path: Path, mixup: float) -> None:
    """Of these a net that is its own teacher learns what was drawn."""
    recipe = replace(EDGE_PATIENT, batch=56, teacher_share=1.0, drawn=14, mixup=mixup)
    assert largest_gradient(replace(make_run(tmp_path), recipe=recipe)) > 1e-4


def test_live_teachers_belong_to_a_run(make_run: MakeRun, weights_file: Path, tmp_path: Path) -> None:
    teacher = load_weights(weights_file)
    recipe = replace(EDGE_PATIENT, epochs=1, batch=14)
    run = replace(make_run(tmp_path), recipe=recipe, live=(teacher,))
    train(run)
    written = load_weights(tmp_path / "weights.safetensors").provenance
    assert (written["teachers"], written["teacher_views"], written["trained_on"]) == ([teacher.sha256], 0, "cpu")
    with pytest.raises(InputError, match="another teachers"):
        train(replace(run, live=()), resume=True)


@pytest.mark.parametrize("changed", ["mean", "classes"])
def test_a_live_teacher_that_cannot_teach_is_refused(
    make_run: MakeRun, weights_file: Path, tmp_path: Path, changed: str
) -> None:
    teacher = load_weights(weights_file)
    spec, message = teacher.spec, "has other classes: surprise, sad"
    if changed == "mean":
        spec, message = replace(spec, preprocess=replace(spec.preprocess, mean=(0.0,))), "'rarn-n' cannot take"
    else:
        spec = replace(spec, classes=spec.classes[::-1])
    run = replace(make_run(tmp_path / "run"), recipe=replace(EDGE_PATIENT, epochs=1, batch=14))
    with pytest.raises(InputError, match=message):
        train(replace(run, live=(replace(teacher, spec=spec),)))
    assert not (tmp_path / "run").exists()  # the right teacher may follow
    train(replace(run, live=(teacher,)))


def test_mixed_shares_are_of_the_recipes_distribution() -> None:
    plan = plan_epoch(replace(MIXED, batch=2), 4000, 0, 1, ALONE)
    shares = plan.mixed_shares
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.04)
    assert float(shares.var()) == pytest.approx(0.25 / 1.8, abs=0.01)  # Beta(a, a) has 1 / (4 * (2 a + 1))
    assert plan_epoch(EDGE, 500, 0, 1, ALONE).mixed_shares.tolist() == [1.0] * 7


def test_rates_and_averages_follow_the_recipe() -> None:
    plan = plan_epoch(EDGE, 640, 0, 3, ALONE)
    assert plan.learning_rates.tolist() == pytest.approx([learning_rate(EDGE, 2 + batch / 10) for batch in range(10)])
    early = [1 - (1 + step) / (10 + step) for step in range(20, 30)]
    assert plan.average_weights.tolist() == pytest.approx(early)
    late = plan_epoch(EDGE, 64_000, 0, 30, ALONE).average_weights
    assert late.tolist() == pytest.approx([1 - EDGE.ema_decay] * 1000)


@pytest.mark.parametrize("decay", [0.999, 0.0])
def test_the_average_moves_by_the_weight_of_the_plan(make_run: MakeRun, tmp_path: Path, decay: float) -> None:
    run = make_run(tmp_path)
    run = replace(run, recipe=replace(run.recipe, ema_decay=decay))
    model, averaged = (untrained_model("rarn-n", seed) for seed in (0, 1))
    before = {name: value.clone() for name, value in averaged.state_dict().items()}
    step = BatchStep(
        run,
        find_model("rarn-n").spec.preprocess,
        Learner(model, model, averaged, sgd(model, run.recipe, len(run.classes))),
    )
    plan = plan_epoch(run.recipe, len(run.train), 0, 2, ALONE)
    step.begin(plan, 0, 0)
    step()
    weight = float(plan.average_weights[0])
    assert weight == pytest.approx(1 - 4 / 13 if decay else 1.0)  # the fourth batch of the run
    for name, value in model.state_dict().items():
        expected = torch.lerp(before[name], value, weight) if value.is_floating_point() else value
        torch.testing.assert_close(averaged.state_dict()[name], expected)


def test_a_parameter_of_two_layers_is_averaged_once() -> None:
    averaged, model = (nn.Sequential(shared := nn.Linear(1, 1), shared, nn.Linear(1, 1)) for _ in range(2))
    for parameter in averaged.parameters():
        nn.init.zeros_(parameter)
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    _Average(averaged, model).update(torch.tensor(0.1))
    assert [float(value) for value in averaged.state_dict().values()] == pytest.approx([0.1] * 6)


def test_a_report_sums_what_was_learnt_since_the_last(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU is asked rarely: the last batch is reported all the same, and a loss that is no number is found."""
    seen: list[list[BatchLog]] = []
    for every in (1, 2):
        monkeypatch.setattr(epoch, "report_every", lambda _device, every=every: every)
        seen.append([])
        train(make_run(tmp_path / str(every), epochs=1), on_batch=seen[-1].append)
    each, rarely = seen
    assert [log.batch for log in each] == [1, 2, 3]
    assert [log.batch for log in rarely] == [2, 3]
    assert [(log.loss, log.accuracy) for log in rarely] == [(log.loss, log.accuracy) for log in each[1:]]
    monkeypatch.setattr(epoch, "report_every", lambda _device: 100)
    run = make_run(tmp_path / "nan", epochs=1)
    with pytest.raises(
        InputError, match="the loss became nan in epoch 1; start anew in another folder with a larger --batch"
    ):
        train(replace(run, recipe=replace(run.recipe, learning_rate=1e30, warmup_epochs=0.0)))


def test_a_drawing_lags_and_is_made_anew_at_the_end(tmp_path: Path) -> None:
    history = [EpochLog(number, 0.1, 1.0, 0.5, 1.0, 0.5, 10.0, 1.0) for number in (1, 2, 3)]
    drawings: list[bytes] = []
    for done, finished in ((1, False), (2, False), (3, True)):
        write_curves(tmp_path, history[:done], finished)
        drawings.append((tmp_path / "curves.png").read_bytes())
        assert len((tmp_path / "log.csv").read_text().splitlines()) == done + 1
    assert drawings[0] == drawings[1] != drawings[2]
