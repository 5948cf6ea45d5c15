"""MLPerf's server scenario on one model: queries arrive at random, one at a time, and wait for their turn."""

import time

import numpy as np

from rarn_edge.bench.timing import Call


def serve(call: Call, rate_per_s: float, queries: int, seed: int, limit_s: float) -> list[float]:
    """Seconds from each query's arrival to its answer; fewer than `queries` when the queue cannot keep up with `limit_s`.

    Args:
        call: Answers one query.
        rate_per_s: Mean arrivals per second; the gaps are exponential (a Poisson process).
        queries: How many arrive.
        seed: Of the gaps.
        limit_s: No further query is taken after this long.
    """
    arrivals_s = np.cumsum(np.random.default_rng(seed).exponential(1 / rate_per_s, queries))
    latencies_s = []
    start_s = time.perf_counter()
    for arrival_s in arrivals_s.tolist():
        now_s = time.perf_counter() - start_s
        if now_s > limit_s:
            break
        if now_s < arrival_s:
            time.sleep(arrival_s - now_s)
        call()
        latencies_s.append(time.perf_counter() - start_s - arrival_s)
    return latencies_s
