"""What samples allow one to say: medians, percentiles only when enough samples exist, ratios with their uncertainty."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MIN_SAMPLES = {90: 64, 95: 130, 99: 662}
"""Timed runs below which a percentile is not stated: MLPerf's early-stopping bound (99 % confidence)."""

_BLOCK_ELEMENTS = 1_000_000  # of one bootstrap block: memory stays flat for any number of rounds


@dataclass(frozen=True)
class Ratio:
    """A ratio of medians with its bootstrap 95 % interval; below 1 is faster than the reference."""

    value: float
    low: float
    high: float


def median_s(samples_s: Sequence[float]) -> float:
    """The median; the mean of the middle two for an even count."""
    return float(np.median(np.asarray(samples_s)))


def percentile_s(samples_s: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile (90, 95 or 99), or None when there are too few samples to state it."""
    count = len(samples_s)
    if count < MIN_SAMPLES[percent]:
        return None
    return float(sorted(samples_s)[math.ceil(count * percent / 100) - 1])


def unpaired_ratio(
    samples_s: Sequence[float], reference_s: Sequence[float], seed: int = 0, resamples: int = 2000
) -> Ratio:
    """Median over the median of a separate run: both are drawn on their own, for no round is common to them.

    The interval knows only what happened within the two runs, not what changed about the machine between them.
    """
    ours, theirs = np.asarray(samples_s, np.float64), np.asarray(reference_s, np.float64)
    if not ours.size or not theirs.size:
        raise ValueError("samples of both runs are needed")
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // max(ours.size, theirs.size))
    ratios = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        above = np.median(ours[generator.integers(0, ours.size, (count, ours.size))], axis=1)  # [count]
        below = np.median(theirs[generator.integers(0, theirs.size, (count, theirs.size))], axis=1)  # [count]
        ratios.append(above / below)
    low, high = np.quantile(np.concatenate(ratios), (0.025, 0.975))
    return Ratio(float(np.median(ours) / np.median(theirs)), float(low), float(high))


def latency_ratio(
    samples_s: Sequence[float], reference_s: Sequence[float], seed: int = 0, resamples: int = 2000
) -> Ratio:
    """Median over the reference's median, with a seeded percentile bootstrap over whole rounds.

    Sample i of both was taken in round i, so a slow moment of the machine is drawn for both or for neither.

    Raises:
        ValueError: no samples, or unequal numbers of them.
    """
    ours = np.asarray(samples_s, dtype=np.float64)  # [rounds]
    theirs = np.asarray(reference_s, dtype=np.float64)  # [rounds]
    if ours.size == 0 or ours.shape != theirs.shape:
        raise ValueError(f"paired samples of the same rounds are needed, found {ours.size} and {theirs.size}")
    value = float(np.median(ours) / np.median(theirs))
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // ours.size)
    ratios = []
    for start in range(0, resamples, block):
        rounds = generator.integers(0, ours.size, (min(block, resamples - start), ours.size))  # [block, rounds]
        ratios.append(np.median(ours[rounds], axis=1) / np.median(theirs[rounds], axis=1))  # [block]
    low, high = np.quantile(np.concatenate(ratios), (0.025, 0.975))
    return Ratio(value, float(low), float(high))
