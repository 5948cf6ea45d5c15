"""Teachers on both label sets in the minutes for which a GPU is to be had.

    python export/train_teachers.py --minutes 8 --out runs/teachers --data fer2013.zip --votes ferplus.csv

Each is a `rarn-l` that answers for FER-2013 (7 classes) and FER+ (8 classes) on one backbone, with a recipe and seed of its own.
With `--answers` it learns what earlier teachers said (`export/teachers`) beside the labels. After each one it writes what the
teacher says of every Training face (`NAME.npz`), and the weights in float16: a student (`export/train_both.py`) learns from
either. Epochs are counted so that the time suffices: a short trial measures the speed of learning and of answering. On a CPU it
does the same, slower. Teachers are numbered from --seed on, and no file that is there is replaced.
"""

import argparse
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rarn_edge.boundary.limits import at_least_one
from rarn_edge.contract.spec import FER2013, FERPLUS
from rarn_edge.errors import InputError, run_script
from rarn_edge.files import make_folder
from rarn_edge.host.threads import default_threads
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import save_weights
from rarn_edge.train.distill import VIEWS, averaged_answers, mean_answers, write_answers
from rarn_edge.train.epoch import train_epoch
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.label_sets import LabelSet, both_label_sets
from rarn_edge.train.loop import sgd
from rarn_edge.train.plan import EpochSeeds, plan_epoch
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import (
    EDGE_TEACHER,
    EDGE_TEACHER_MIXED,
    EDGE_TEACHER_STRONG,
)
from rarn_edge.train.run import Run
from rarn_edge.train.step import BatchStep, Learner
from rarn_edge.train.workers import Workers, one_worker, placed

TEACHER = "rarn-l"
RECIPES = (EDGE_TEACHER, EDGE_TEACHER_MIXED, EDGE_TEACHER_STRONG)
TURNS_DEG = 40.0  # students ask about faces that are turned so far
TRIAL_BATCHES, WARM_UP_BATCHES = {"cuda": 300, "cpu": 1}, {"cuda": 8, "cpu": 1}
TRIAL_FACES = {"cuda": 4096, "cpu": 16}  # that are answered for in a trial, each in all views
MARGIN = 0.95  # of the time left is planned with
REPORTS = 10  # lines of progress a teacher

LabelSets = dict[str, LabelSet]
"""By whose labels: `fer2013` and `ferplus`."""


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    teachers: int | None
    epochs: int
    batch: int
    out: Path
    answers: tuple[Path, ...] = ()
    seed: int = 1  # of the first teacher, and its number; the others count on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything, from the start of the script")
    parser.add_argument("--teachers", type=at_least_one, help="how many (default: as many as fit)")
    parser.add_argument("--epochs", type=at_least_one, default=50, help="of a teacher, about; twice as many at most")
    parser.add_argument("--batch", type=at_least_one, default=256)
    parser.add_argument("--seed", type=at_least_one, default=1, help="of the first teacher, and its number")
    parser.add_argument(
        "--answers", type=Path, nargs="*", default=[], help="kept answers that the teachers learn; repeat to count more"
    )
    parser.add_argument("--threads", type=at_least_one, default=default_threads(), help="of a CPU")
    parser.add_argument("--limit", type=at_least_one, help="train on so many faces only: to try the script")
    options = parser.parse_args()
    started = time.monotonic()
    if not 0 < options.minutes < float("inf"):
        raise InputError(f"--minutes is a number above 0, found {options.minutes}")
    one_worker()  # before any work
    check_free(options.out, options.seed)
    out, answers = make_folder(options.out), tuple(options.answers)
    plan = Plan(options.teachers, options.epochs, options.batch, out, answers, options.seed)
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    both, pairing = both_label_sets(options.data, options.votes)
    print(f"{pairing}; {time.monotonic() - started:.1f} s")
    sets = {each.source: each.sample(options.limit) for each in both}
    train_teachers(plan, sets, started + 60 * options.minutes)


def check_free(out: Path, seed: int) -> None:
    """Raises InputError if the folder holds teachers of that number or above: what earlier minutes made is kept."""
    named = (re.fullmatch(rf"{TEACHER}-(\d+)", path.stem) for path in out.glob(f"{TEACHER}-*.*"))
    highest = max((int(match[1]) for match in named if match), default=0)
    if highest >= seed:
        raise InputError(
            f"{out} holds teachers up to {TEACHER}-{highest}; go on after them with --seed {highest + 1}, or name another --out"
        )


class Net:
    """One teacher in training."""

    def __init__(self, name: str, run: Run, worker: Workers) -> None:
        self.name, self.run, self.worker = name, run, worker
        torch.manual_seed(run.seed)
        model = placed(run.network.build(len(run.classes)), worker.device)
        averaged = placed(run.network.build(len(run.classes)), worker.device).eval()
        averaged.load_state_dict(model.state_dict())
        self.learner = Learner(model, model, averaged, sgd(model, run.recipe, len(run.classes)))
        self.step = BatchStep(run, run.spec.preprocess, self.learner, worker)
        model.train()

    def batches(self, epoch: int) -> Iterator[None]:
        """Learn from one batch after the other, for a trial."""
        seeds = EpochSeeds.of(self.run.seed, epoch, self.worker)
        plan = plan_epoch(self.run.recipe, len(self.run.train), self.run.seed, epoch, self.worker)
        self.step.begin(plan, seeds.augmentation, 0)
        for _ in range(len(plan.chosen)):
            self.step()
            yield

    def restart(self, epochs: int) -> "Net":
        """A fresh one with the same data and that many epochs."""
        return Net(self.name, replace(self.run, recipe=replace(self.run.recipe, epochs=epochs)), self.worker)

    def seconds_an_epoch(self) -> float:
        """Measured on a few batches; the net is of no use afterwards."""
        kind = self.worker.device.type
        turns = (None for epoch in itertools.count(1) for _ in self.batches(epoch))
        for _ in itertools.islice(turns, WARM_UP_BATCHES[kind]):
            pass
        _wait(kind)
        started = time.perf_counter()
        for _ in itertools.islice(turns, TRIAL_BATCHES[kind]):
            pass
        _wait(kind)
        batches = max(1, len(self.run.train) // self.run.recipe.batch)
        return (time.perf_counter() - started) / TRIAL_BATCHES[kind] * batches

    def seconds_to_answer(self, sets: LabelSets) -> float:
        """For all that `keep_teacher` asks, measured on a few faces."""
        faces, tests = sets[FER2013].training, [each.held_out for each in sets.values()]
        kind, heads = self.worker.device.type, self.run.heads
        some = faces.where(np.arange(min(len(faces), TRIAL_FACES[kind])))
        with self.run.precision.autocast(kind):
            averaged_answers(
                self.learner.averaged, self.run.spec.preprocess, some.where(np.arange(1)), heads
            )  # warm-up
            _wait(kind)
            started = time.perf_counter()
            averaged_answers(self.learner.averaged, self.run.spec.preprocess, some, heads)
        _wait(kind)
        asked = len(faces) + sum(len(test) for test in tests) * (1 + 1 / VIEWS)  # the tests once more, in one view
        return (time.perf_counter() - started) / len(some) * asked

    def train(self, deadline: float) -> int:
        """Until it is done, or the next epoch would not end in time; returns the epochs. No checkpoints are written: the time is
        for training."""
        epochs, started = self.run.recipe.epochs, time.monotonic()
        for epoch in range(1, epochs + 1):
            loss, accuracy = train_epoch(self.run, self.step, epoch, None, self.worker)
            if epoch % max(1, epochs // REPORTS) == 0 or epoch == epochs:
                told = f"loss {loss:.3f}, {accuracy:.1%} of changed faces"
                print(f"{self.name}: epoch {epoch} of {epochs}, {time.monotonic() - started:.1f} s: {told}", flush=True)
            now = time.monotonic()
            if epoch < epochs and now + (now - started) / epoch > deadline:
                print(f"time is up after epoch {epoch} of {epochs}")
                return epoch
        return epochs


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()


def train_teachers(plan: Plan, sets: LabelSets, deadline: float) -> list[Path]:
    """As many teachers as fit, one after the other; returns their files of weights."""
    own, plus, worker = sets[FER2013], sets[FERPLUS], one_worker()
    precision = TrainingPrecision.usual_on(worker.device.type)
    targets = None
    if plan.answers:
        targets = mean_answers(own.training, own.training.sha256(), plan.answers, [FER2013, FERPLUS])
    files: list[Path] = []
    times: tuple[float, float] | None = None  # seconds of an epoch, and of a teacher's answers
    for number in itertools.count(plan.seed):
        if len(files) == plan.teachers:
            break
        recipe = RECIPES[(number - 1) % len(RECIPES)]
        recipe = replace(
            recipe,
            batch=min(plan.batch, len(own.training)),
            mixup=min(recipe.mixup, 0.2),
            augmentation=replace(recipe.augmentation, rotation_deg=TURNS_DEG),
            teacher_temperature=1.0,
        )
        run = Run(
            find_network(TEACHER),
            recipe,
            number,
            own.training,
            own.held_out,
            plan.out,
            default_threads(),
            targets,
            also=(plus.training,),
            precision=precision,
        )
        net = Net(f"{TEACHER}-{number}", run, worker)
        if times is None:
            times = net.seconds_an_epoch(), net.seconds_to_answer(sets)
            print(
                f"{TEACHER}: {times[0]:.2f} s an epoch, {len(own.training) / times[0]:,.0f} images/s on {worker.device};"
                f" {times[1]:.1f} s for its answers",
                flush=True,
            )
        epoch_s, answers_s = times
        left = MARGIN * (deadline - time.monotonic())
        to_come = max(1, round(left / (answers_s + epoch_s * plan.epochs)))
        if plan.teachers is not None:
            to_come = plan.teachers - len(files)
        epochs = min(plan.epochs * 2, int((left / to_come - answers_s) / epoch_s))
        if epochs < 1 and not files:
            raise InputError(
                f"one epoch takes {epoch_s:.0f} s here and the answers {answers_s:.0f} s, {left / to_come:.0f} s are left for"
                " them; give it more --minutes"
            )
        few = files and plan.teachers is None and epochs < plan.epochs / 2
        if epochs < 1 or few:
            print(f"{left:.0f} s are left, too few for another teacher")
            break
        net = net.restart(epochs)
        done = net.train(deadline - answers_s)
        files.append(keep_teacher(net, sets, plan.out, done))
    return files


def keep_teacher(net: Net, sets: LabelSets, out: Path, epochs: int) -> Path:
    """Write a teacher's answers and weights, whose path it returns; print how good it is."""
    _wait(net.step.device.type)
    model, spec, heads = net.learner.averaged, net.run.spec, net.run.heads
    scores = {}
    with net.run.precision.autocast(net.step.device.type):
        for source, start in zip((FER2013, FERPLUS), itertools.accumulate((0, *heads)), strict=False):
            test = sets[source].held_out
            answers = averaged_answers(model, spec.preprocess, test, heads)[:, start : start + len(test.classes)]
            one = torch_logits(model, spec.preprocess, test.images)[:, start : start + len(test.classes)]
            scores[source] = round(float((one.argmax(1) == test.labels).mean()), 4)
            scores[f"{source}, ten views"] = round(float((answers.argmax(1) == test.labels).mean()), 4)
        answers = averaged_answers(model, spec.preprocess, sets[FER2013].training, heads)
    run = net.run
    about = {"model": run.network.name, "recipe": run.recipe.to_dict(), "seed": run.seed, "epochs": epochs}
    parts = {FER2013: answers[:, : heads[0]], FERPLUS: answers[:, heads[0] :]}
    write_answers(out / f"{net.name}.npz", sets[FER2013].training, parts, {**about, "public_test": scores})
    path = out / f"{net.name}.safetensors"
    provenance = run.provenance(epochs, net.worker.device_name, scores[FER2013])
    save_weights(path, spec, in_float16(model), {**provenance, "public_test": scores})
    print(f"{net.name}: {epochs} epochs, {scores}", flush=True)
    return path


def in_float16(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a network, biases and statistics in float32."""
    return {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in model.state_dict().items()}


if __name__ == "__main__":
    run_script(main)
