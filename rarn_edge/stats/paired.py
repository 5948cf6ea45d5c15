"""Two models on the same faces: what one gains over the other, and whether chance explains it.

Unpaired intervals of two accuracies overlap long before the difference is doubtful; on the same faces only those count on
which exactly one of the two is right.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.stats.interval import Interval


@dataclass(frozen=True)
class Paired:
    """`other` beside `reference` on the same faces; differences are fractions of all faces, other minus reference."""

    faces: int
    only_reference_right: int
    only_other_right: int
    accuracy_difference: float
    difference_low: float  # 95 %
    difference_high: float
    p_value: float  # McNemar's exact test: both are equally often right where they differ

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_decisions(reference_right: NDArray[np.bool_], other_right: NDArray[np.bool_]) -> Paired:
    """Compare two models by which faces each gets right: [N] bool each, N >= 1, same faces in the same order.

    The interval is Wald's with one face added to each discordant count (Bonett and Price 2012), which stays sensible with
    no discordant face at all; the test is McNemar's, exact (binomial).
    """
    faces = len(reference_right)
    lost = int((reference_right & ~other_right).sum())
    gained = int((other_right & ~reference_right).sum())
    share_lost, share_gained = (lost + 1) / (faces + 2), (gained + 1) / (faces + 2)
    centre = share_gained - share_lost
    half = 1.96 * math.sqrt((share_gained + share_lost - centre**2) / (faces + 2))
    low, high = max(-1.0, centre - half), min(1.0, centre + half)
    return Paired(faces, lost, gained, (gained - lost) / faces, low, high, mcnemar_exact(lost, gained))


def mean_difference(reference: NDArray[np.float64], other: NDArray[np.float64]) -> Interval:
    """Mean over faces of other minus reference, with its normal 95 % interval.

    [N] float64 each, same faces in the same order: what a face scored, such as the share of its views that were answered rightly.
    """
    difference = other - reference
    mean = float(difference.mean())
    half = 1.96 * float(difference.std()) / math.sqrt(len(difference))
    return Interval(mean, mean - half, mean + half)


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact p-value of McNemar's test (1947) from the two discordant counts; 1 where nothing differs."""
    trials = lost + gained
    binomial = tail = 1  # whole numbers: exact for any count
    for k in range(min(lost, gained)):
        binomial = binomial * (trials - k) // (k + 1)
        tail += binomial
    return min(1.0, 2 * tail / (1 << trials))
