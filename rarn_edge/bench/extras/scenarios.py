"""MLPerf's scenarios beside single-stream: server (random arrivals under a latency bound) and multi-stream.

Offline is throughput over a batch sweep, which the ordinary benchmark measures.
"""

from dataclasses import dataclass

from rarn_edge.bench.worker.client import Worker
from rarn_edge.stats.ratio import MIN_SAMPLES, median_s, percentile_s, rank

SERVER_QUERIES = MIN_SAMPLES[99]
DEFAULT_BOUND = 5.0  # times the median latency, where the user names no bound
MULTI_STREAM_IMAGES = 8  # MLPerf's number of samples in one query
_STEPS = 6  # halvings of the rate interval: its last width is about 1.5 % of the rate that no queue could sustain
_ANSWER_S = 60.0  # for the last call and the answer
_SLACK = 3.0  # a probe may take this many times as long as its arrivals: past that, the queue has lost


@dataclass(frozen=True)
class RateProbe:
    """One rate that was tried."""

    rate_per_s: float
    p99_s: float | None  # None: given up when it was sure to be above the bound
    met: bool


@dataclass(frozen=True)
class Server:
    """The highest rate of Poisson arrivals, one image each, whose p99 latency stays within the bound."""

    label: str
    threads: int
    bound_s: float
    rate_per_s: float | None  # None: the bound is not met at any rate tried
    p99_s: float | None  # at that rate
    queries: int  # in each probe
    probes: tuple[RateProbe, ...]


@dataclass(frozen=True)
class MultiStream:
    """Latency of queries of several images each, answered as one batch."""

    label: str
    threads: int
    images: int
    p99_s: float | None
    median_s: float


def find_server_rate(
    worker: Worker,
    label: str,
    threads: int,
    latency_s: float,
    bound_s: float | None,
    seed: int,
    queries: int = SERVER_QUERIES,
) -> Server:
    """Halve the interval between no arrivals and as many as could be answered without a pause.

    Args:
        worker: Holds the model, prepared at batch 1.
        label: Of the model.
        threads: Of the session, for the record.
        latency_s: Median of one call.
        bound_s: What p99 must keep to; None: five times the median.
        seed: Of the arrivals.
        queries: In each probe; below 662 there is no p99.
    """
    bound = DEFAULT_BOUND * latency_s if bound_s is None else bound_s
    low, high = 0.0, 1 / latency_s
    best: RateProbe | None = None
    probes = []
    for _ in range(_STEPS):
        rate = (low + high) / 2
        limit_s = _SLACK * queries / rate
        late = queries - rank(queries, 99)  # so many queries above the bound leave p99 below it
        answer = worker.ask_within(
            limit_s + _ANSWER_S,
            "serve",
            rate_per_s=rate,
            queries=queries,
            seed=seed,
            limit_s=limit_s,
            bound_s=bound,
            late=late,
        )
        latencies_s = answer["latencies_s"]
        p99_s = percentile_s(latencies_s, 99) if len(latencies_s) == queries else None
        probe = RateProbe(rate, p99_s, p99_s is not None and p99_s <= bound)
        probes.append(probe)
        if probe.met:
            low, best = rate, probe
        else:
            high = rate
    rate_per_s, p99_s = (None, None) if best is None else (best.rate_per_s, best.p99_s)
    return Server(label, threads, bound, rate_per_s, p99_s, queries, tuple(probes))


def measure_stream(worker: Worker, label: str, threads: int) -> MultiStream:
    """Time as many queries as p99 needs; `worker` is prepared at `MULTI_STREAM_IMAGES`."""
    samples_s = [worker.ask("call")["wall_s"] for _ in range(MIN_SAMPLES[99])]
    return MultiStream(label, threads, MULTI_STREAM_IMAGES, percentile_s(samples_s, 99), median_s(samples_s))
