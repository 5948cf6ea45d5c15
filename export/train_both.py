"""One network for both label sets: a backbone with a classifier each, from random weights or from those of a run.

    python export/train_both.py --model rarn-n --epochs 180 --data fer2013.zip --votes ferplus.csv --out runs/both \
        --teacher export/teachers/rarn-l-1.npz --teacher export/teachers/rarn-l-2.npz

An epoch takes the time of one for a single label set. The weights start a run for
one label set (`rarn-edge train --init runs/both/weights.safetensors`). Answers of teachers that know only one label set count
for that one. A stopped run goes on.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rarn_edge.boundary.limits import at_least_one
from rarn_edge.errors import InputError, run_script
from rarn_edge.host.threads import default_threads
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.distill import SoftTargets, mean_answers
from rarn_edge.train.label_sets import LabelSet, both_label_sets
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import EDGE_BOTH, find_recipe
from rarn_edge.train.run import STATE_FILE, EpochLog, Run
from rarn_edge.train.workers import one_worker


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="rarn-n")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="kept answers; repeat one to count it more. Of a recipe with live teachers: weights of a network on both label sets",
    )
    parser.add_argument("--init", type=Path, help="weights to start from")
    parser.add_argument("--recipe", default=EDGE_BOTH.name, help="as for rarn-edge train")
    parser.add_argument("--epochs", type=at_least_one, help="instead of the recipe's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=at_least_one, default=default_threads())
    parser.add_argument("--precision", choices=list(map(str, TrainingPrecision)), help="as for rarn-edge train")
    options = parser.parse_args()
    recipe = find_recipe(options.recipe)
    recipe = replace(recipe, epochs=options.epochs or recipe.epochs)
    if recipe.live_teachers and not options.teacher:
        raise InputError(f"recipe '{recipe.name}' asks teachers about each batch; name the weights of one by --teacher")
    worker = one_worker()
    network = find_network(options.model)
    start = None if options.init is None else load_weights(options.init, network)
    live = tuple(load_weights(file) for file in options.teacher) if recipe.live_teachers else ()
    (own, plus), pairing = both_label_sets(options.data, options.votes)
    print(pairing, flush=True)
    run = Run(
        network,
        recipe,
        options.seed,
        own.training,
        own.held_out,
        options.out,
        options.threads,
        None if live else answers(own, plus, options.teacher),
        start,
        TrainingPrecision.asked(options.precision, worker.device.type),
        live,
        also=(plus.training,),
    )
    train(run, resume=(run.folder / STATE_FILE).exists(), on_epoch=told, workers=worker)


def answers(own: LabelSet, plus: LabelSet, files: Sequence[Path]) -> SoftTargets | None:
    """What the teachers say of the faces, FER-2013's classes before those of FER+; None without files."""
    faces = own.training
    return mean_answers(faces, faces.sha256(), files, [own.source, plus.source]) if files else None


def told(log: EpochLog) -> None:
    """One line an epoch; the figures are of FER-2013's labels, the first classifier's."""
    print(
        f"epoch {log.epoch}: loss {log.train_loss:.4f}, {log.test_accuracy:.2%} of FER-2013, {log.images_per_s:,.0f} images/s",
        flush=True,
    )


if __name__ == "__main__":
    run_script(main)
