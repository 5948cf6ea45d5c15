"""Figures of merit from logits and labels, in numpy."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassScore:
    """One class: precision and recall are 0 where their denominator is."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Evaluation:
    """Accuracy with its 95 % Wilson interval, macro-F1, per-class scores and the confusion matrix [true][predicted]."""

    images: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float  # over the classes that occur
    classes: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_logits(logits: NDArray[np.float32], labels: NDArray[np.int64], names: tuple[str, ...]) -> Evaluation:
    """Score decisions: logits [N, K], labels [N] in 0..K-1, K class names."""
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((len(names), len(names)), dtype=np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    hits = confusion.diagonal()
    support, chosen = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = np.divide(hits, chosen, out=np.zeros(len(names)), where=chosen > 0)
    recall = np.divide(hits, support, out=np.zeros(len(names)), where=support > 0)
    f1 = np.divide(2 * hits, chosen + support, out=np.zeros(len(names)), where=chosen + support > 0)
    low, high = wilson_interval(int(hits.sum()), len(labels))
    scores = zip(names, precision.tolist(), recall.tolist(), f1.tolist(), support.tolist(), strict=True)
    return Evaluation(
        images=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=float(f1[support > 0].mean()),
        classes=tuple(ClassScore(*score) for score in scores),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
    )


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927), which stays inside 0..1 and is right for small counts."""
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def softmax(logits: NDArray[np.float32], temperature: float = 1.0) -> NDArray[np.float32]:
    """[N, K] logits -> [N, K] probabilities."""
    scaled = logits / np.float32(temperature)
    exponentials = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), dtype=np.float32)
