"""What an epoch costs beyond its arithmetic: python benchmarks/train_throughput.py rarn-s [--precision bf16] [--threads 2]

Images per second of the training epoch (augmentation, targets, averaged weights, bookkeeping) beside those of the bare forward
and backward pass and the optimizer's step on batches that are ready, in turns; medians, with the quartiles in brackets.
On a GPU the bare batches are launched kernel by kernel while those of an epoch are replayed: the epoch may be the faster one.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from rarn_edge.boundary.limits import at_least_one
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import Preprocess
from rarn_edge.data import synthetic_faces
from rarn_edge.errors import run_script
from rarn_edge.host.threads import default_threads
from rarn_edge.models.find import find_network
from rarn_edge.train.epoch import train_epoch
from rarn_edge.train.loop import sgd
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import find_recipe
from rarn_edge.train.run import Run
from rarn_edge.train.step import BatchStep, Learner
from rarn_edge.train.workers import Workers, join_workers, placed

BATCHES = 24  # in a round of each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--recipe", default="edge")
    parser.add_argument("--precision", choices=list(map(str, TrainingPrecision)), help="as for rarn-edge train")
    parser.add_argument("--threads", type=at_least_one, default=default_threads())
    parser.add_argument("--rounds", type=at_least_one, default=8)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe, network = find_recipe(arguments.recipe), find_network(arguments.model)
    faces = synthetic_faces(BATCHES * recipe.batch, seed=0)
    run = Run(
        network,
        recipe,
        0,
        faces,
        faces,
        Path(),
        arguments.threads,
    )
    with join_workers() as workers:
        precision = TrainingPrecision.asked(arguments.precision, workers.device.type)
        compare(replace(run, precision=precision), network.spec.preprocess, workers, arguments.rounds)


def compare(run: Run, preprocess: Preprocess, workers: Workers, rounds: int) -> None:
    """Both in turns, and what they say."""
    faces, recipe, device = run.train, run.recipe, workers.device
    model, averaged = (placed(run.network.build(), device) for _ in range(2))
    learner = Learner(model, model, averaged.eval(), sgd(model, recipe, 7))
    step = BatchStep(run, preprocess, learner, workers)
    model.train()
    inputs = (
        torch.from_numpy(to_input(faces.pixels, preprocess)).to(device).contiguous(memory_format=torch.channels_last)
    )
    labels = torch.from_numpy(faces.labels).to(device)

    def bare() -> None:
        for x, y in zip(torch.split(inputs, recipe.batch), torch.split(labels, recipe.batch), strict=True):
            with run.precision.autocast(device.type):
                logits = model(x)
            learner.optimizer.zero_grad()
            F.cross_entropy(logits.float(), y).backward()  # type: ignore[no-untyped-call]
            learner.optimizer.step()

    def epoch() -> None:
        train_epoch(run, step, 1, None, workers)

    speeds: dict[str, list[float]] = {"bare": [], "epoch": []}
    for number in range(rounds + 1):
        for name, work in (("bare", bare), ("epoch", epoch)):
            started = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if number:  # the first round warms up
                speeds[name].append(len(faces) / (time.perf_counter() - started))
    for name, found in speeds.items():
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        print(f"{name:6} {middle:8,.0f} images/s [{low:,.0f}, {high:,.0f}]")
    costs = [bare / epoch - 1 for bare, epoch in zip(speeds["bare"], speeds["epoch"], strict=True)]
    print(f"an epoch costs {np.median(costs):+.1%} on top of its arithmetic")


if __name__ == "__main__":
    run_script(main)
