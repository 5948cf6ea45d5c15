"""Teachers on both label sets, and students that ask them, in the minutes for which a GPU is to be had.

    python export/train_teachers.py --minutes 8 --out runs/teachers --data fer2013.zip --votes ferplus.csv
    python export/train_teachers.py --minutes 8 --students 0.6 --out runs/teachers --data fer2013.zip --votes ferplus.csv

Each teacher is a `rarn-l` that answers for FER-2013 (7 classes) and FER+ (8 classes) on one backbone, with a recipe and seed of
its own. With `--answers` it learns what earlier teachers said (`export/teachers`) beside the labels. After each one it writes
what the teacher says of every Training face (`NAME.npz`), and the weights in float16. With `--students` that share of the time
goes to the edge models: each learns both label sets at once, from the shipped weights, and asks the teachers about every face
as it sees it. Epochs are counted so that the time suffices: a short trial measures the speed. On a CPU it does the same, slower.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rarn_edge.assets import shipped_weights
from rarn_edge.contract.spec import FER2013, FERPLUS, ModelSpec
from rarn_edge.errors import InputError, run_script
from rarn_edge.files import make_folder
from rarn_edge.host.threads import default_threads
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import Weights, load_weights, save_weights
from rarn_edge.train.distill import averaged_answers, mean_answers, write_answers
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.label_sets import LabelSet, both_label_sets
from rarn_edge.train.loop import sgd
from rarn_edge.train.plan import EpochSeeds, plan_epoch
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import (
    EDGE_BOTH_PATIENT,
    EDGE_NANO_BOTH_PATIENT,
    EDGE_SETTLE_PATIENT,
    EDGE_TEACHER,
    EDGE_TEACHER_MIXED,
    Recipe,
)
from rarn_edge.train.run import Run
from rarn_edge.train.step import BatchStep, Learner
from rarn_edge.train.workers import Workers, one_worker, placed

TEACHER = "rarn-l"
RECIPES = (EDGE_TEACHER, EDGE_TEACHER, EDGE_TEACHER_MIXED)
TURNS_DEG = 40.0  # a teacher is asked about faces that are turned so far
STUDENTS = {"rarn-s": EDGE_BOTH_PATIENT, "rarn-n": EDGE_NANO_BOTH_PATIENT}
SETTLING = 0.15  # share of the students' time for their last phase
TRIAL_BATCHES, WARM_UP_BATCHES = {"cuda": 300, "cpu": 2}, {"cuda": 8, "cpu": 1}
RESERVE_S = 4.0  # for answers and files after each group
REPORTS = 10  # lines of progress a net

LabelSets = dict[str, LabelSet]
"""By whose labels: `fer2013` and `ferplus`."""


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    minutes: float
    students: float
    teachers: int | None
    epochs: int
    batch: int
    out: Path
    answers: tuple[Path, ...] = ()
    edge: tuple[str, ...] = tuple(STUDENTS)
    rate: float = EDGE_BOTH_PATIENT.learning_rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything, from the start of the script")
    parser.add_argument("--students", type=float, default=0.0, help="share of the time for the edge models, 0 to 0.9")
    parser.add_argument("--teachers", type=int, help="how many (default: as many as fit)")
    parser.add_argument("--epochs", type=int, default=50, help="of a teacher, at most")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument(
        "--answers", type=Path, nargs="*", default=[], help="kept answers that the teachers learn; repeat to count more"
    )
    parser.add_argument(
        "--trained", type=Path, nargs="*", default=[], help="weights of teachers that there are already: train none"
    )
    parser.add_argument("--edge", nargs="*", choices=STUDENTS, default=[*STUDENTS], help="which edge models")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="highest learning rate of the edge models")
    parser.add_argument("--threads", type=int, default=default_threads(), help="of a CPU")
    parser.add_argument("--limit", type=int, help="train on so many faces only: to try the script")
    options = parser.parse_args()
    started = time.monotonic()
    if not 0 <= options.students <= 0.9 or options.minutes <= 0:
        raise InputError("--minutes is above 0 and --students within 0 to 0.9")
    one_worker()  # before any work
    plan = Plan(
        options.minutes, options.students, options.teachers, options.epochs, options.batch, options.out,
        tuple(options.answers), tuple(options.edge), options.rate,
    )  # fmt: skip
    make_folder(plan.out)
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    both, pairing = both_label_sets(options.data, options.votes)
    print(f"{pairing}; {time.monotonic() - started:.1f} s")
    sets = {each.source: each.sample(options.limit) for each in both}
    deadline = started + 60 * plan.minutes
    for_students = plan.students * 60 * plan.minutes
    files = options.trained or train_teachers(plan, sets, deadline - for_students)
    if plan.students and files:
        train_students(plan, sets, files, deadline)


class Net:
    """One network in training, on a stream of its own where there is a GPU: several small ones then run side by side."""

    def __init__(self, name: str, run: Run, device: torch.device) -> None:
        self.name, self.run = name, run
        workers = Workers(0, 1, device)
        self.workers = workers
        self.stream = torch.cuda.Stream() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        torch.manual_seed(run.seed)
        with self.place():
            model = placed(run.network.build(len(run.classes)), device)
            if run.start is not None:
                run.start.begin(model, run.classes, run.label_source)
            averaged = placed(run.network.build(len(run.classes)), device).eval()
            averaged.load_state_dict(model.state_dict())
            self.learner = Learner(model, model, averaged, sgd(model, run.recipe, len(run.classes)))
            self.step = BatchStep(run, self.spec.preprocess, self.learner, workers)
            model.train()

    def place(self) -> AbstractContextManager[object]:
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    @property
    def spec(self) -> ModelSpec:
        return replace(self.run.network.spec, classes=self.run.classes, label_source=self.run.label_source)

    def batches(self, epoch: int) -> Iterator[None]:
        """Learn from one batch after the other."""
        seeds = EpochSeeds.of(self.run.seed, epoch, self.workers)
        plan = plan_epoch(self.run.recipe, len(self.run.train), self.run.seed, epoch, self.workers)
        with self.place():
            self.step.begin(plan, seeds.augmentation, 0)
        for _ in range(len(plan.chosen)):
            with self.place():
                self.step()
            yield

    def restart(self, epochs: int) -> "Net":
        """A fresh one with the same data and that many epochs."""
        return Net(self.name, replace(self.run, recipe=replace(self.run.recipe, epochs=epochs)), self.workers.device)


def train_together(nets: Sequence[Net], deadline: float) -> int:
    """Train nets with equally many epochs, a batch of each in turn, until they are done or time is up; returns the epochs."""
    epochs = nets[0].run.recipe.epochs
    started = time.monotonic()
    for epoch in range(1, epochs + 1):
        for _ in itertools.zip_longest(*(net.batches(epoch) for net in nets)):
            pass
        losses = []
        for net in nets:
            loss, correct = net.step.sums()
            if not np.isfinite(loss):
                raise InputError(
                    f"{net.name}: the loss became {loss} in epoch {epoch}; lower the learning rate (--rate)"
                )
            losses.append(f"{net.name} {loss / len(net.run.train):.3f} {correct / len(net.run.train):.1%}")
        if epoch % max(1, epochs // REPORTS) == 0 or epoch == epochs:
            print(f"epoch {epoch} of {epochs}, {time.monotonic() - started:.1f} s: {'; '.join(losses)}", flush=True)
        if time.monotonic() > deadline:
            print(f"time is up after epoch {epoch} of {epochs}")
            return epoch
    return epochs


def seconds_an_epoch(nets: Sequence[Net]) -> float:
    """Measured on a few batches; the nets are of no use afterwards."""
    kind = nets[0].step.device.type
    turns = zip(*map(endless, nets), strict=True)
    for _ in itertools.islice(turns, WARM_UP_BATCHES[kind]):
        pass
    _wait(kind)
    started = time.perf_counter()
    for _ in itertools.islice(turns, TRIAL_BATCHES[kind]):
        pass
    _wait(kind)
    run = nets[0].run
    return (time.perf_counter() - started) / TRIAL_BATCHES[kind] * max(1, len(run.train) // run.recipe.batch)


def endless(net: Net) -> Iterator[None]:
    """Its batches, epoch after epoch."""
    for epoch in itertools.count(1):
        yield from net.batches(epoch)


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()


def train_teachers(plan: Plan, sets: LabelSets, deadline: float) -> list[Path]:
    """As many teachers as fit, one after the other; returns their files of weights."""
    own, plus, device = sets[FER2013], sets[FERPLUS], one_worker().device
    precision = TrainingPrecision.usual_on(device.type)
    targets = None
    if plan.answers:
        targets = mean_answers(own.training, own.training.sha256(), plan.answers, [FER2013, FERPLUS])
    files: list[Path] = []
    second: float | None = None
    for number, recipe in zip(itertools.count(1), itertools.cycle(RECIPES), strict=False):
        left = deadline - time.monotonic() - RESERVE_S
        if plan.teachers is not None and number > plan.teachers:
            break
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
        net = Net(f"{TEACHER}-{number}", run, device)
        if second is None:
            second = seconds_an_epoch([net])
            left = deadline - time.monotonic() - RESERVE_S
            speed = len(own.training) / second
            print(f"{TEACHER}: {second:.2f} s an epoch, {speed:,.0f} images/s on {device}", flush=True)
        fit = plan.teachers if plan.teachers is not None else max(1, round(left / second / plan.epochs) + number - 1)
        epochs = min(plan.epochs * 2, int(left / second / max(1, fit - number + 1)))
        if epochs < 1 and number == 1:
            raise InputError(
                f"one epoch takes {second:.0f} s here, {left:.0f} s are left for it; give it more --minutes"
            )
        if epochs < 1 or (number > 1 and epochs < plan.epochs / 2):
            break
        net = net.restart(epochs)
        done = train_together([net], deadline)
        files.append(keep_teacher(net, sets, plan.out, done))
    return files


def keep_teacher(net: Net, sets: LabelSets, out: Path, epochs: int) -> Path:
    """Write a teacher's answers and weights, whose path it returns; print how good it is."""
    _wait(net.step.device.type)
    model, spec, heads = net.learner.averaged, net.spec, net.run.heads
    scores = {}
    with net.run.precision.autocast(net.step.device.type):
        for source, start in zip((FER2013, FERPLUS), itertools.accumulate((0, *heads)), strict=False):
            test = sets[source].held_out
            answers = averaged_answers(model, spec.preprocess, test, heads)[:, start : start + len(test.classes)]
            one = torch_logits(model, spec.preprocess, test.images)[:, start : start + len(test.classes)]
            scores[source] = round(float((one.argmax(1) == test.labels).mean()), 4)
            scores[f"{source}, ten views"] = round(float((answers.argmax(1) == test.labels).mean()), 4)
        answers = averaged_answers(model, spec.preprocess, sets[FER2013].training, heads)
    about = described(net, epochs, scores)
    parts = {FER2013: answers[:, : heads[0]], FERPLUS: answers[:, heads[0] :]}
    write_answers(out / f"{net.name}.npz", sets[FER2013].training, parts, about)
    path = out / f"{net.name}.safetensors"
    save_net(net, path, about, half=True)
    print(f"{net.name}: {epochs} epochs, {scores}", flush=True)
    return path


def described(net: Net, epochs: int, scores: dict[str, float]) -> dict[str, object]:
    """How a net was made and how good it is, for its files."""
    recipe = net.run.recipe.to_dict()
    return {
        "model": net.run.network.name,
        "recipe": recipe,
        "seed": net.run.seed,
        "epochs": epochs,
        "public_test": scores,
    }


def save_net(net: Net, path: Path, about: dict[str, object], half: bool = False) -> None:
    """The averaged weights; with `half` in float16, but biases and statistics in float32."""
    tensors = {
        name: tensor.half() if half and tensor.ndim > 1 else tensor
        for name, tensor in net.learner.averaged.state_dict().items()
    }
    mean, std = net.run.pixel_statistics
    start = net.run.start.sha256 if net.run.start else None
    provenance = {
        **about,
        "epochs_done": about["epochs"],
        "teachers": net.run.teachers,
        "teacher_views": net.run.targets.views if net.run.targets else 0,
        "trained_in": str(net.run.precision),
        "trained_on": net.workers.device_name,
        "started_from": start,
        "torch": torch.__version__,
        "train_images": len(net.run.train),
        "train_pixel_mean": round(mean, 2),
        "train_pixel_std": round(std, 2),
        "test_accuracy": None,
        "test_images": len(net.run.test),
    }
    save_weights(path, net.spec, tensors, provenance)


def train_students(plan: Plan, sets: LabelSets, files: Sequence[Path], deadline: float) -> None:
    """Each edge model on both label sets, side by side, asking the teachers of these weights; a long phase and a last one."""
    teachers = tuple(load_weights(file) for file in files)
    nets = []
    for model in plan.edge:
        recipe = replace(STUDENTS[model], learning_rate=plan.rate)
        start = load_weights(shipped_weights(model, FER2013))
        nets.append(student(model, recipe, start, teachers, plan, sets))
    second = seconds_an_epoch(nets)
    left = deadline - time.monotonic() - 2 * RESERVE_S
    print(f"students: {second:.2f} s for an epoch of all, {left:.0f} s left", flush=True)
    nets = [net.restart(max(1, int(left * (1 - SETTLING) / second))) for net in nets]
    began = time.monotonic()
    done = train_together(nets, deadline - RESERVE_S)
    second = (time.monotonic() - began) / done
    last = max(1, int((deadline - time.monotonic() - 2 * RESERVE_S) / second))
    settled = []
    for net in nets:
        start = keep_student(net, plan.out / f"{net.name}.safetensors", sets)
        recipe = replace(EDGE_SETTLE_PATIENT, epochs=last)
        settled.append(student(net.name, recipe, start, teachers, plan, sets))
    train_together(settled, deadline)
    for net in settled:
        keep_student(net, plan.out / f"{net.name}-settled.safetensors", sets)


def student(
    model: str, recipe: Recipe, start: Weights, teachers: tuple[Weights, ...], plan: Plan, sets: LabelSets
) -> Net:
    """An edge model that begins with these weights."""
    own, plus, device = sets[FER2013], sets[FERPLUS], one_worker().device
    run = Run(
        find_network(model), replace(recipe, batch=min(plan.batch, len(own.training))), 1, own.training, own.held_out,
        plan.out, default_threads(), None, start, TrainingPrecision.usual_on(device.type), teachers, (plus.training,),
    )  # fmt: skip
    return Net(model, run, device)


def keep_student(net: Net, path: Path, sets: LabelSets) -> Weights:
    """Write an edge model's averaged weights and print how good they are; returns them."""
    _wait(net.step.device.type)
    scores = {}
    for source, start in zip((FER2013, FERPLUS), itertools.accumulate((0, *net.run.heads)), strict=False):
        test = sets[source].held_out
        logits = torch_logits(net.learner.averaged, net.spec.preprocess, test.images)
        scores[source] = round(float((logits[:, start : start + len(test.classes)].argmax(1) == test.labels).mean()), 4)
    epochs = net.run.recipe.epochs
    save_net(net, path, described(net, epochs, scores))
    print(f"{path.stem}: {epochs} epochs, {scores}", flush=True)
    return load_weights(path)


if __name__ == "__main__":
    run_script(main)
