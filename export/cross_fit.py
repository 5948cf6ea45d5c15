"""What networks say of faces whose FER-2013 label was kept from their last training: a teacher with less noise of those labels.

    python export/cross_fit.py --data fer2013.zip --votes ferplus.csv --out export/teachers/cross-fitted.npz
    python export/cross_fit.py --model rarn-l --epochs 60 --data fer2013.zip --votes ferplus.csv --out large.npz    # on a GPU

A network that is trained on a face repeats its label, right or wrong, and a student learns that from it. Here the Training faces
are divided into folds, copies of a picture into the same one, and each is answered about by what was fitted on the others:

1. a linear classifier on the features of the shipped FER+ models and on the votes of people (FER+),
2. a network, from the shipped FER+ weights if there are any, taught by the labels and by the first answers,
3. a linear classifier on the network's answer and on the votes.

The shipped FER+ weights saw all labels of FER-2013 earlier, so some of them shine through; from random weights (a model without
shipped ones, `--model rarn-l`) only the features of the first step did. Votes count as well because they say more about a face
than its one label does. A stopped run goes on. An epoch of
`rarn-s` takes about a minute on a core that multiplies bfloat16.
"""

import argparse
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rarn_edge.assets import shipped_labels, shipped_weights
from rarn_edge.boundary.limits import at_least_one
from rarn_edge.contract.spec import FER2013, FERPLUS
from rarn_edge.data import Faces
from rarn_edge.errors import InputError, run_script
from rarn_edge.files import check_output, make_folder
from rarn_edge.host.threads import default_threads
from rarn_edge.models.classifier import classifier_of
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import Weights, load_weights
from rarn_edge.train.distill import LEAST_SHARE, SoftTargets, averaged_answers, write_answers
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.label_sets import LabelSet, both_label_sets
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import EDGE_TAUGHT, EDGE_TEACHER_MIXED, Recipe
from rarn_edge.train.run import STATE_FILE, WEIGHTS_FILE, Run
from rarn_edge.train.workers import Workers, one_worker, placed

FEATURES_OF = ("rarn-s", "rarn-n")
FROM_SHIPPED = replace(
    EDGE_TAUGHT,
    name="cross-fitted",
    batch=128,
    learning_rate=0.03,
    warmup_epochs=0.3,
    teacher_share=0.5,
    teacher_temperature=1.0,
    augmentation=replace(EDGE_TAUGHT.augmentation, rotation_deg=20.0),
)
FROM_RANDOM = replace(EDGE_TEACHER_MIXED, mixup=0.2, teacher_share=0.5, teacher_temperature=1.0)
VIEWS = 4  # a face and its mirror image, both also shifted by two pixels
RIDGE_PROBE, RIDGE_COMBINED = 3e-3, 1e-3  # weight of the squared coefficients in a linear classifier's loss


@dataclass(frozen=True)
class Plan:
    """What the command line asks for."""

    model: str
    folds: int
    epochs: int
    threads: int
    precision: TrainingPrecision
    folder: Path
    worker: Workers

    @cached_property
    def start(self) -> Weights | None:
        """The shipped FER+ weights, or None of a model that has none."""
        return load_weights(shipped_weights(self.model, FERPLUS)) if FERPLUS in shipped_labels(self.model) else None

    def recipe(self, faces: int) -> Recipe:
        """How a fold's network is trained on so many faces."""
        recipe = FROM_RANDOM if self.start is None else FROM_SHIPPED
        return replace(recipe, epochs=self.epochs, batch=min(recipe.batch, faces))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="the file of answers")
    parser.add_argument("--model", default="rarn-s", help="of each fold's network")
    parser.add_argument("--folds", type=at_least_one, default=4)
    parser.add_argument(
        "--epochs", type=at_least_one, default=6, help="of each fold's network; from random weights more"
    )
    parser.add_argument("--threads", type=at_least_one, default=default_threads())
    parser.add_argument("--precision", choices=list(map(str, TrainingPrecision)), help="as for rarn-edge train")
    parser.add_argument("--runs", type=Path, default=Path("runs/cross-fit"), help="where the networks are kept")
    parser.add_argument("--limit", type=at_least_one, help="so many faces only: to try the script")
    options = parser.parse_args()
    if options.folds < 2:
        raise InputError("--folds is 2 or more: each is answered about by what was fitted on the others")
    worker = one_worker()
    check_output(options.out)
    find_network(options.model)  # a wrong name is refused at once
    torch.set_num_threads(options.threads)
    both, pairing = both_label_sets(options.data, options.votes)
    print(pairing, flush=True)
    own, plus = (each.sample(options.limit) for each in both)
    precision, runs = TrainingPrecision.asked(options.precision, worker.device.type), make_folder(options.runs)
    plan = Plan(options.model, options.folds, options.epochs, options.threads, precision, runs, worker)
    answers, about = cross_fit(own, plus, plan)
    write_answers(options.out, own.training, {FER2013: answers}, about)
    print(f"{options.out}: {about}")


def cross_fit(own: LabelSet, plus: LabelSet, plan: Plan) -> tuple[NDArray[np.float32], dict[str, object]]:
    """The answers [N, 7] about the training faces, and how they were made and agree with the labels that they never saw."""
    folds, labels = folds_of(own.training, plan.folds), own.training.labels
    votes = vote_features(plus.training)
    shipped = [load_weights(shipped_weights(model, FERPLUS)) for model in FEATURES_OF]
    features = np.concatenate([*(penultimate(weights, own.training) for weights in shipped), votes], axis=1)
    first = linear_answers(features, own.training, folds, RIDGE_PROBE)
    print(f"features and votes: {agreement(first, labels):.2%} of the labels", flush=True)
    second = np.zeros_like(first)
    for fold in range(plan.folds):
        second[folds == fold] = network_answers(fold, own, folds, first, plan)
    print(f"networks: {agreement(second, labels):.2%}", flush=True)
    combined = np.concatenate([np.log(np.maximum(second, LEAST_SHARE)), votes], axis=1)
    last = linear_answers(combined, own.training, folds, RIDGE_COMBINED)
    about: dict[str, object] = {
        "model": plan.model,
        "recipe": plan.recipe(len(labels)).to_dict(),
        "folds": plan.folds,
        "agreement_of_networks": round(agreement(second, labels), 4),
        "agreement_with_votes": round(agreement(last, labels), 4),
    }
    return last, about


def folds_of(faces: Faces, count: int) -> NDArray[np.int64]:
    """The fold of each face [N], by a hash of its pixels: copies of a picture are in the same one."""
    return np.array([int.from_bytes(digest[:4], "big") % count for digest in faces.pixel_hashes()])


def vote_features(faces: Faces) -> NDArray[np.float32]:
    """Counts of votes as a linear classifier can use them: logarithms, shares and their roots, [N, 3 * choices]."""
    assert faces.votes is not None
    counts = faces.votes.astype(np.float32)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.concatenate([np.log(counts + 0.5), shares, np.sqrt(shares)], axis=1)


def penultimate(weights: Weights, faces: Faces) -> NDArray[np.float32]:
    """What the last layer of a network gets to see of each face: [N, channels]."""
    model, seen = weights.model(), []
    last = classifier_of(model, len(weights.spec.classes))
    last.register_forward_hook(lambda _layer, inputs, _output: seen.append(inputs[0].flatten(1).numpy()))
    torch_logits(model, weights.spec.preprocess, faces.images)
    return np.concatenate(seen)


def linear_answers(
    features: NDArray[np.float32], faces: Faces, folds: NDArray[np.int64], ridge: float
) -> NDArray[np.float32]:
    """Probabilities [N, classes] of multinomial logistic regressions, each fold's by the one that was fitted on the others."""
    scaled = torch.from_numpy((features - features.mean(axis=0)) / (features.std(axis=0) + 1e-6))
    goal = torch.from_numpy(faces.labels)
    answers = np.zeros((len(faces), len(faces.classes)), np.float32)
    for fold in np.unique(folds):
        inside = torch.from_numpy(folds == fold)
        layer = _fitted(scaled[~inside], goal[~inside], answers.shape[1], ridge)
        with torch.no_grad():
            answers[folds == fold] = F.softmax(layer(scaled[inside]), dim=1).numpy()
    return answers


def _fitted(inputs: torch.Tensor, labels: torch.Tensor, classes: int, ridge: float) -> torch.nn.Linear:
    layer = torch.nn.Linear(inputs.shape[1], classes)
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=120, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(inputs), labels) + ridge * layer.weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    return layer


def network_answers(
    fold: int, own: LabelSet, folds: NDArray[np.int64], first: NDArray[np.float32], plan: Plan
) -> NDArray[np.float32]:
    """Probabilities [n, 7] for the faces of one fold, by a network that learnt from the others and from their first answers."""
    others, inside = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
    training = own.training.where(others)
    logs = np.log(np.maximum(first[others], LEAST_SHARE))
    run = Run(
        find_network(plan.model),
        plan.recipe(len(training)),
        fold,
        training,
        own.held_out,
        plan.folder / f"{plan.model}-{plan.epochs}-{len(own.training)}-{fold + 1}-of-{plan.folds}",
        plan.threads,
        SoftTargets(logs, (sha256(logs.tobytes()).hexdigest(),), 1, training.sha256()),
        plan.start,
        plan.precision,
    )
    train(run, resume=(run.folder / STATE_FILE).exists(), workers=plan.worker)
    weights = load_weights(run.folder / WEIGHTS_FILE)
    model = placed(weights.model(), plan.worker.device)
    with plan.precision.autocast(plan.worker.device.type):
        answers = averaged_answers(model, weights.spec.preprocess, own.training.where(inside), run.heads, VIEWS)
    told = agreement(answers, own.training.labels[inside])
    print(f"fold {fold + 1} of {plan.folds}: {told:.2%} of {len(inside):,} faces", flush=True)
    return answers


def agreement(answers: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The share of faces whose label is the likeliest answer."""
    return float((answers.argmax(axis=1) == labels).mean())


if __name__ == "__main__":
    run_script(main)
