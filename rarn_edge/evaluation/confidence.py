"""Whether a confidence means anything, and what mends it: one number, or two for each class (Guo 2017, arXiv:1706.04599)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import MAX_TEMPERATURE, MIN_TEMPERATURE
from rarn_edge.stats.classification import softmax

BINS = 15
_HALVINGS = 60
_FOLDS = 10
_NEWTON_STEPS = 50
_RIDGE = 1e-6  # the same offset for all classes changes no probability, so the offsets need something to hold them


@dataclass(frozen=True)
class ClassScaling:
    """A factor and an offset for the logit of each class, both [K] float64. A last layer takes them into its weights."""

    factors: NDArray[np.float64]
    offsets: NDArray[np.float64]

    def __call__(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, K] -> [N, K]."""
        return np.asarray(logits * self.factors + self.offsets, dtype=np.float32)


@dataclass(frozen=True)
class Bin:
    """The faces whose confidence lies in `low`..`high`."""

    low: float
    high: float
    faces: int
    confidence: float  # mean; 0 without faces
    accuracy: float


@dataclass(frozen=True)
class Confidence:
    """Expected calibration error of a model's probabilities, as they are and after temperature scaling.

    `error_scaled` is cross-fitted: each half of the faces is scaled by the temperature of the other half, so the figure is
    not flattered by its own fit. `fitted_temperature` is that of all faces, and what belongs into the model's file.
    """

    temperature: float  # the model's own
    error: float
    fitted_temperature: float
    error_scaled: float
    bins: tuple[Bin, ...]
    bins_scaled: tuple[Bin, ...]


def judge_confidence(
    logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float, seed: int = 0
) -> Confidence:
    """Judge the probabilities softmax(logits / temperature): logits [N, K], labels [N], N >= 2."""
    halves = np.random.default_rng(seed).permutation(len(labels)) % 2 == 0  # [N] bool
    scaled = np.empty_like(logits)
    for half in (halves, ~halves):
        scaled[half] = softmax(logits[half], fit_temperature(logits[~half], labels[~half]))
    bins = reliability(softmax(logits, temperature), labels)
    bins_scaled = reliability(scaled, labels)
    return Confidence(
        temperature,
        calibration_error(bins),
        fit_temperature(logits, labels),
        calibration_error(bins_scaled),
        bins,
        bins_scaled,
    )


def reliability(probabilities: NDArray[np.float32], labels: NDArray[np.int64], bins: int = BINS) -> tuple[Bin, ...]:
    """Accuracy against confidence in bins of equal width: probabilities [N, K], labels [N]."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    index = np.clip((confidence * bins).astype(np.int64), 0, bins - 1)  # [N]
    found = []
    for number in range(bins):
        inside = index == number
        count = int(inside.sum())
        means = (float(confidence[inside].mean()), float(right[inside].mean())) if count else (0.0, 0.0)
        found.append(Bin(number / bins, (number + 1) / bins, count, *means))
    return tuple(found)


def calibration_error(bins: tuple[Bin, ...]) -> float:
    """The expected calibration error: |accuracy - confidence| of each bin, weighted by its faces."""
    total = sum(entry.faces for entry in bins)
    return sum(entry.faces * abs(entry.accuracy - entry.confidence) for entry in bins) / total


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature with the smallest cross-entropy on logits [N, K], labels [N], of those that a contract takes.

    The cross-entropy is convex in 1/T, so its derivative has one zero, found by halving. Where every answer is right there is
    none, and the smallest temperature comes back.
    """
    z = logits.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    wanted = z[np.arange(len(labels)), labels]
    lowest, highest = -np.log(MAX_TEMPERATURE), -np.log(MIN_TEMPERATURE)  # of the logarithm of 1/T
    low, high = lowest, highest
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        weights = np.exp(z * np.exp(middle))
        weights /= weights.sum(axis=1, keepdims=True)
        slope = ((weights * z).sum(axis=1) - wanted).mean()  # of the cross-entropy, along 1/T
        low, high = (low, middle) if slope > 0 else (middle, high)
    if high == highest:
        return MIN_TEMPERATURE
    return MAX_TEMPERATURE if low == lowest else float(np.exp(-(low + high) / 2))


def fit_class_scaling(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> ClassScaling:
    """The scaling with the smallest cross-entropy on logits [N, K], labels [N] (Guo 2017, section 4.2, vector scaling).

    The cross-entropy is convex in factors and offsets; Newton's steps are halved until they descend.
    """
    z = logits.astype(np.float64)
    count, classes = z.shape
    wanted = np.eye(classes)[labels]  # [N, K]
    inputs = np.stack((z, np.ones_like(z)))  # [2, N, K]: what the factors and what the offsets multiply
    found = np.stack((np.ones(classes), np.zeros(classes)))  # [2, K]

    def loss_and_shares(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = z * at[0] + at[1]
        scaled -= scaled.max(axis=1, keepdims=True)
        shares = np.exp(scaled)
        total = shares.sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0]) - (scaled * wanted).sum(axis=1)).mean())
        return loss + _RIDGE / 2 * float(((at - start) ** 2).sum()), shares / total

    start = found.copy()
    loss, shares = loss_and_shares(found)
    for _ in range(_NEWTON_STEPS):
        slope = np.einsum("pnk,nk->pk", inputs, shares - wanted) / count + _RIDGE * (found - start)
        spread = np.einsum("nk,kl->nkl", shares, np.eye(classes)) - np.einsum("nk,nl->nkl", shares, shares)
        curve = np.einsum("pnk,nkl,qnl->pkql", inputs, spread, inputs).reshape(2 * classes, -1) / count
        step = np.linalg.solve(curve + _RIDGE * np.eye(2 * classes), slope.ravel()).reshape(found.shape)
        part = 1.0
        while part > 1e-6 and (after := loss_and_shares(found - part * step))[0] >= loss:
            part /= 2
        if part <= 1e-6:
            break
        found = found - part * step
        loss, shares = after
    return ClassScaling(found[0], found[1])


def cross_fitted_scaling(logits: NDArray[np.float32], labels: NDArray[np.int64], seed: int = 0) -> NDArray[np.float32]:
    """Logits [N, K], each tenth scaled as the other nine tell: what a scaling is worth on faces that it was not fitted to."""
    fold = np.random.default_rng(seed).permutation(len(labels)) % _FOLDS  # [N]
    scaled = np.empty_like(logits)
    for number in range(_FOLDS):
        inside = fold == number
        scaled[inside] = fit_class_scaling(logits[~inside], labels[~inside])(logits[inside])
    return scaled
