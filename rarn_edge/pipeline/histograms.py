"""From the histogram of a tensor to the range that its 8 bits should span: four answers to one question.

What lies outside a range is clipped, what lies inside is rounded to one of 256 levels; a narrow range rounds finely and clips
much. `minmax` clips nothing, `percentile` clips a fixed share, `mse` minimises the squared error of both together, `entropy`
the Kullback-Leibler divergence between the histogram and its 8-bit form (as TensorRT does, for each side in turn).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["minmax", "percentile", "entropy", "mse"]

DEFAULT_METHOD: Method = "mse"  # the nearest to float32 on the shipped model: docs/results/int8.md

BINS = 2048
PERCENTILE = 99.99  # of the values kept, both tails together
LEVELS = 256
_CANDIDATES = 64  # ends tried on each side
_KEPT_AT_LEAST = 0.25  # of the distance from zero to an extreme


def find_range(method: Method, counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """The range [low, high] of a tensor with extremes `low` and `high` and `counts` [BINS] in equal bins between them."""
    if method == "minmax" or counts.sum() == 0 or not high > low:
        return low, high
    if method == "percentile":
        return _percentile(counts, low, high)
    return _least_squares(counts, low, high) if method == "mse" else _least_divergence(counts, low, high)


def _percentile(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """Move each extreme inwards so that half of (100 - PERCENTILE) % of the values lies beyond it."""
    tail = (1 - PERCENTILE / 100) / 2
    cumulative = np.cumsum(counts) / counts.sum()
    width = (high - low) / (BINS - 1)
    cut_low = low + width * int(np.searchsorted(cumulative, tail, side="right"))
    cut_high = low + width * (int(np.searchsorted(cumulative, 1 - tail, side="left")) + 1)
    return cut_low, min(cut_high, high)


def _ends(low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Candidate ends: from the extreme inwards to a quarter of its distance from zero; zero stays inside."""
    shares = np.linspace(1.0, _KEPT_AT_LEAST, _CANDIDATES)
    return shares * min(low, 0.0), shares * max(high, 0.0)


def _least_squares(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """Clipping error from cumulated moments, rounding error step^2 / 12 for each value inside but exact zeros."""
    centres = low + (np.arange(BINS) + 0.5) * (high - low) / BINS
    weights = counts.astype(np.float64)
    if low == 0.0:
        weights[0] = 0.0  # the zeros of a ReLU: exact in any range
    moments = np.stack([np.cumsum(weights * centres**power) for power in range(3)])  # [3, BINS]
    lows, highs = _ends(low, high)
    below = np.concatenate([np.zeros((3, 1)), moments], axis=1)[:, np.searchsorted(centres, lows)]  # [3, candidates]
    above = moments[:, -1:] - np.concatenate([np.zeros((3, 1)), moments], axis=1)[:, np.searchsorted(centres, highs)]

    def clipped(moment: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(moment[2] - 2 * end * moment[1] + end**2 * moment[0])  # sum of (x - end)^2

    inside = moments[0, -1] - below[0][:, None] - above[0][None, :]
    step = (highs[None, :] - lows[:, None]) / (LEVELS - 1)
    error = clipped(below, lows)[:, None] + clipped(above, highs)[None, :] + inside * step**2 / 12
    row, column = np.unravel_index(int(error.argmin()), error.shape)
    return float(lows[row]), float(highs[column])


def _least_divergence(counts: NDArray[np.int64], low: float, high: float) -> tuple[float, float]:
    """The end of each side in turn, the longer side first."""
    edges = np.linspace(low, high, BINS + 1)
    weights = counts.astype(np.float64)
    if low == 0.0:
        weights[0] = 0.0  # a spike of exact zeros would decide alone
    if weights.sum() == 0:
        return low, high
    lows, highs = _ends(low, high)
    first = min(low, 0.0), max(high, 0.0)
    for side in ("high", "low") if high >= -low else ("low", "high"):
        options = [(first[0], end) for end in highs] if side == "high" else [(end, first[1]) for end in lows]
        options = list(dict.fromkeys(options))
        first = min(options, key=lambda ends: _divergence(weights, edges, *ends))
    return float(first[0]), float(first[1])


def _divergence(weights: NDArray[np.float64], edges: NDArray[np.float64], low: float, high: float) -> float:
    """Kullback-Leibler divergence of the clipped histogram from the same rounded to LEVELS steps between low and high."""
    start = int(np.searchsorted(edges, low, side="right")) - 1
    stop = int(np.searchsorted(edges, high, side="left"))
    start, stop = max(0, min(start, BINS - 1)), max(1, min(stop, BINS))
    if stop - start < 2:
        return float("inf")
    inside = weights[start:stop]
    clipped = inside.copy()
    clipped[0] += weights[:start].sum()
    clipped[-1] += weights[stop:].sum()
    level = np.minimum(np.arange(len(inside)) * LEVELS // len(inside), LEVELS - 1)
    filled = inside > 0
    sums = np.bincount(level, inside, LEVELS)
    widths = np.bincount(level, filled, LEVELS)
    rounded = np.where(filled, (sums / np.maximum(widths, 1))[level], 0.0)
    p, q = clipped / clipped.sum(), rounded / max(rounded.sum(), 1e-300)
    used = p > 0
    return float(np.sum(p[used] * np.log(p[used] / np.maximum(q[used], 1e-9))))
