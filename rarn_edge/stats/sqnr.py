"""Signal-to-quantization-noise ratio: how far one array of numbers is from another, whatever their scale."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_SQNR_DB = 200.0  # of equal answers; float32 itself ends near 150


def sqnr_db(before: NDArray[Any], after: NDArray[Any]) -> float:
    """Power of `before` over the power of the difference, in decibels; at most `MAX_SQNR_DB`, at least its negative.

    Where one of them has values that are not finite, it is the least.
    """
    signal = float(np.square(before, dtype=np.float64).sum())
    noise = float(np.square(before.astype(np.float64) - after).sum())
    if not (math.isfinite(signal) and math.isfinite(noise)):
        return -MAX_SQNR_DB
    if noise == 0:
        return MAX_SQNR_DB
    if signal == 0:
        return -MAX_SQNR_DB
    return max(-MAX_SQNR_DB, min(MAX_SQNR_DB, 10 * (math.log10(signal) - math.log10(noise))))
