"""Answers that cannot be right: what a user should hear before any figure is believed."""

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.names import printable
from rarn_edge.contract.preprocess import in_byte_pixels, of_unit_pixels
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.stats.classification import wilson_interval

ENOUGH_IMAGES = 20
ONE_ANSWER = 0.99  # of all answers: what is left over tells nothing
NEAR_CHANCE = 1.25  # times chance: an interval below it that includes chance is chance


def doubts(logits: NDArray[np.float32], labels: NDArray[np.int64], spec: ModelSpec) -> tuple[str, ...]:
    """What is wrong with answers [N, classes] to labelled images, one line each; nothing for answers that may be right."""
    found = [] if (text := unit_mean(spec.preprocess)) is None else [text]
    decided = logits.argmax(axis=1)
    if len(labels) < ENOUGH_IMAGES:
        return tuple(found)
    right, chance = int((decided == labels).sum()), 1 / len(spec.classes)
    low, high = wilson_interval(right, len(labels))
    if high < chance or (low <= chance and high < NEAR_CHANCE * chance):
        compared = "below" if high < chance else "no better than"
        found.append(
            f"accuracy {right / len(labels):.1%} is {compared} chance ({chance:.1%}): check class order, colours and mean"
        )
    counts = np.bincount(decided, minlength=len(spec.classes))
    usual = int(counts.argmax())
    share = float(counts[usual] / len(labels))
    if share >= ONE_ANSWER and float((labels == usual).mean()) < ONE_ANSWER:
        answers = "every answer is" if share == 1 else f"{share:.1%} of the answers are"
        found.append(f"{answers} '{printable(spec.classes[usual])}': check mean, deviation, colours and weights")
    return tuple(found)


def unit_mean(preprocess: Preprocess) -> str | None:
    """What to say of a mean that belongs to pixels of 0..1, which are 0..255 here; with the values to use instead."""
    mean, std = preprocess.mean, preprocess.std
    if not of_unit_pixels(mean, std):
        return None
    return (
        f"mean {','.join(f'{value:g}' for value in mean)} is of pixels 0..1, pixels here are 0..255:"
        f" use --mean {in_byte_pixels(mean)} --std {in_byte_pixels(std)}"
    )


def explained_agreement(accuracies: tuple[float, float], classes: int) -> float:
    """How often two unrelated models of these accuracies decide alike: by being right together, or by the same mistake."""
    first, second = accuracies
    return first * second + (1 - first) * (1 - second) / (classes - 1)
