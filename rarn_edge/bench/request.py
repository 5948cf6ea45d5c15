"""What a benchmark is asked for, and how it tells how far it is."""

import math
from dataclasses import dataclass
from typing import Literal

from rarn_edge.errors import InputError
from rarn_edge.runtime.providers import CPU

Scenario = Literal["single-stream", "offline", "server", "multi-stream"]
OFFLINE_BATCHES = (1, 2, 4, 8, 16, 32)
SCENARIOS: tuple[Scenario, ...] = ("single-stream", "offline", "server", "multi-stream")


def read_seconds(text: str, what: str) -> float:
    """`60s`, `90`, `5m`, `500ms` -> seconds."""
    number, factor = text.strip().lower(), 1.0
    for unit, seconds in (("ms", 1e-3), ("min", 60.0), ("m", 60.0), ("h", 3600.0), ("s", 1.0)):
        if number.endswith(unit):
            number, factor = number.removesuffix(unit), seconds
            break
    try:
        value = float(number) * factor
    except ValueError as error:
        raise InputError(f"{what} takes a duration such as 60s or 5m; found '{text}'") from error
    if not 0 < value < math.inf:
        raise InputError(f"{what} takes a duration above 0; found '{text}'")
    return value


@dataclass(frozen=True)
class Progress:
    """How far a benchmark is, for a progress bar."""

    stage: Literal["open", "warm-up", "timing", "server", "multi-stream", "profile", "memory", "audit"]
    label: str  # the model, or the batch size while timing
    done: int
    total: int | None  # None: as many as the time budget allows


@dataclass(frozen=True)
class Request:
    """What to measure and how.

    Attributes:
        provider: A key of `rarn_edge.runtime.providers.PROVIDERS`.
        batches: Images per call.
        threads: Threads within an operator, each a sweep of its own; empty: `default_threads()`.
        rounds: Most timed calls of each case per batch size and thread count; None: as many as the budget allows.
        starts: How often every process is started anew, with its share of the rounds: what differs between two processes of the
            same file is then within the interval. Fewer where there would be less than three rounds for each.
        budget_s: About how long opening, warm-up and timing may take in all; after some rounds of every case it goes to the case
            whose ratio is least certain. Three rounds of each start run anyway.
        reference_label: The case that ratios refer to, default the first.
        memory: Also measure memory, fresh processes for each case, batch size and thread count.
        seed: Of the inputs, the order within rounds, the arrivals and the bootstrap.
        allow_fallback: Nodes that the provider cannot take may run on the CPU; the rows then say so.
        cuda_graph: Capture the call in a CUDA graph (cuda and tensorrt).
        profile: Also say where the time goes.
        server: Also find the highest rate of arrivals.
        server_bound_s: What p99 must keep to there; None: five times the median latency.
        multi_stream: Also measure queries of eight images.
        audit: Also audit the INT8 files: what really runs in INT8, and saturation.
        title: Of the report.
    """

    provider: str = CPU
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = ()
    rounds: int | None = 100
    starts: int = 5
    budget_s: float | None = None
    reference_label: str | None = None
    memory: bool = True
    seed: int = 0
    allow_fallback: bool = False
    cuda_graph: bool = False
    profile: bool = False
    server: bool = False
    server_bound_s: float | None = None
    multi_stream: bool = False
    audit: bool = False
    title: str = "benchmark"
