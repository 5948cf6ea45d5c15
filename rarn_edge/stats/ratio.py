"""What samples allow one to say: medians, percentiles only when enough samples exist, ratios with their uncertainty.

Two processes that run the same file differ by up to some percent for as long as they live (where their memory came to lie), and
no number of rounds averages that away. So a benchmark launches its processes several times, and a ratio's interval is Student's
over those launches, never narrower than what the rounds alone would say.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rarn_edge.stats.interval import Interval

Pair = tuple[Sequence[float], Sequence[float]]
"""Seconds of two models, sample i of both from the same round."""

MIN_SAMPLES = {90: 64, 95: 130, 99: 662}
"""Timed runs below which a percentile is not stated: MLPerf's early-stopping bound (99 % confidence)."""

MIN_ROUNDS = 3
"""Rounds of a launch below which it says nothing by itself."""

_T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131),
    *(2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""Student's t for 1 to 30 degrees of freedom: 95 % of it lies between minus and plus this."""

_RESAMPLES = 2000
_BLOCK_ELEMENTS = 1_000_000  # of one bootstrap block: memory stays flat for any number of rounds


def median_s(samples_s: Sequence[float]) -> float:
    """The median; the mean of the middle two for an even count."""
    return float(np.median(np.asarray(samples_s)))


def percentile_s(samples_s: Sequence[float], percent: int) -> float | None:
    """The nearest-rank percentile (90, 95 or 99), or None when there are too few samples to state it."""
    count = len(samples_s)
    if count < MIN_SAMPLES[percent]:
        return None
    return float(sorted(samples_s)[rank(count, percent) - 1])


def rank(count: int, percent: int) -> int:
    """Which of so many samples, in order and counted from 1, is the nearest-rank percentile."""
    return math.ceil(count * percent / 100)


def ratio_over_launches(launches: Sequence[Pair], seed: int = 0) -> Interval:
    """The mean over launches of the ratio of medians, with Student's 95 % interval of its logarithm.

    Five launches agree by chance now and then: the interval is at least that of `latency_ratio` over all rounds, which is all
    there is for a single launch. A launch that was cut short counts among the rounds alone.

    Args:
        launches: Of each process launch, the samples and the reference's, paired by round.
        seed: Of the bootstrap.

    Raises:
        ValueError: no samples, or unpaired ones.
    """
    ours = [value for launch, _ in launches for value in launch]
    theirs = [value for _, launch in launches for value in launch]
    within = latency_ratio(ours, theirs, seed)
    logs = np.log([median_s(our) / median_s(their) for our, their in launches if len(our) >= MIN_ROUNDS])  # [launches]
    if len(logs) < 2:
        return within
    margin = _t_975(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return _joined(float(logs.mean()), margin, within)


def unpaired_ratio_over_launches(
    ours: Sequence[Sequence[float]], reference: Sequence[Sequence[float]], seed: int = 0
) -> Interval:
    """The same for two separate runs, each with its own launches: Welch's interval, degrees of freedom rounded down.

    A run of a single launch is taken to vary from launch to launch as the other does. The interval knows what happened within
    the two runs, not what changed about the machine between them.

    Args:
        ours: The samples of each launch.
        reference: Those of the other run.
        seed: Of the bootstrap.

    Raises:
        ValueError: a run without samples.
    """
    if not (_flat(ours) and _flat(reference)):
        raise ValueError("samples of both runs are needed")
    # both runs are drawn on their own, for no round is common to them
    within = _bootstrap(np.asarray(_flat(ours)), np.asarray(_flat(reference)), False, seed, _RESAMPLES)
    logs = [_log_medians(run) for run in (ours, reference)]
    known = [float(values.var(ddof=1)) for values in logs if len(values) > 1]
    if not known:
        return within
    shares = [float(values.var(ddof=1)) if len(values) > 1 else known[0] for values in logs]
    shares = [share / len(values) for share, values in zip(shares, logs, strict=True)]
    variance = sum(shares)
    if len(known) == 1:
        freedom = max(map(len, logs)) - 1
    else:
        spread = sum(share**2 / (len(values) - 1) for share, values in zip(shares, logs, strict=True))
        freedom = max(int(variance**2 / spread), 1) if spread else 1
    margin = _t_975(freedom) * math.sqrt(variance)
    return _joined(float(logs[0].mean() - logs[1].mean()), margin, within)


def _log_medians(launches: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Of the launches that were not cut short; of all rounds together if there is none: [launches]."""
    whole = [launch for launch in launches if len(launch) >= MIN_ROUNDS] or [_flat(launches)]
    return np.log([median_s(launch) for launch in whole])


def _flat(launches: Sequence[Sequence[float]]) -> list[float]:
    return [value for launch in launches for value in launch]


def _t_975(freedom: int) -> float:
    return _T_975[min(freedom, len(_T_975)) - 1]


def _joined(log_ratio: float, margin: float, within: Interval) -> Interval:
    low, high = math.exp(log_ratio - margin), math.exp(log_ratio + margin)
    return Interval(math.exp(log_ratio), min(low, within.low), max(high, within.high))


def latency_ratio(
    samples_s: Sequence[float], reference_s: Sequence[float], seed: int = 0, resamples: int = _RESAMPLES
) -> Interval:
    """Median over the reference's median, with a seeded percentile bootstrap over whole rounds.

    Sample i of both was taken in round i, so a slow moment of the machine is drawn for both or for neither.

    Raises:
        ValueError: no samples, or unequal numbers of them.
    """
    ours, theirs = np.asarray(samples_s, np.float64), np.asarray(reference_s, np.float64)
    if ours.size == 0 or ours.shape != theirs.shape:
        raise ValueError(f"paired samples of the same rounds are needed, found {ours.size} and {theirs.size}")
    return _bootstrap(ours, theirs, True, seed, resamples)


def _bootstrap(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], paired: bool, seed: int, resamples: int
) -> Interval:
    """Ratio of the medians of [rounds] and [rounds], with its 95 % percentile interval."""
    generator = np.random.default_rng(seed)
    block = max(1, _BLOCK_ELEMENTS // max(ours.size, theirs.size))
    ratios = []
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = generator.integers(0, ours.size, (count, ours.size))  # [count, rounds]
        other = drawn if paired else generator.integers(0, theirs.size, (count, theirs.size))
        ratios.append(np.median(ours[drawn], axis=1) / np.median(theirs[other], axis=1))  # [count]
    low, high = np.quantile(np.concatenate(ratios), (0.025, 0.975))
    return Interval(float(np.median(ours) / np.median(theirs)), float(low), float(high))
