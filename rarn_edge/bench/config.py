"""What a benchmark is asked for, and how it tells how far it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.extras.scenarios import MULTI_STREAM_IMAGES
from rarn_edge.errors import InputError
from rarn_edge.runtime.providers import CPU

Scenario = Literal["single-stream", "offline", "server", "multi-stream"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
OFFLINE_BATCHES = (1, 2, 4, 8, 16, 32)

Stage = Literal["open", "warm-up", "timing", "server", "multi-stream", "profile", "memory", "audit", "accuracy"]


@dataclass(frozen=True)
class Progress:
    """How far a benchmark is, for a progress bar."""

    stage: Stage
    label: str  # the model, or the batch size while timing
    done: int
    total: int | None  # None: as many as the time budget allows


@dataclass(frozen=True)
class BenchConfig:
    """What to measure and how.

    Attributes:
        provider: A key of `rarn_edge.runtime.providers.PROVIDERS`.
        batches: Images per call.
        threads: Threads within an operator, each a sweep of its own; empty: `default_threads()`.
        rounds: Most timed calls of each case per batch size and thread count; None: as many as the budget allows.
        launches: How often every process is launched, with its share of the rounds: what differs between two processes of the
            same file is then within the interval. Fewer where there would be less than three rounds for each.
        budget_s: About how long opening, warm-up and timing may take in all; after some rounds of every case it goes to the case
            whose ratio is least certain. Three rounds of each launch run anyway.
        reference_label: The case that ratios refer to, default the first.
        memory: Also measure memory, fresh processes for each case, batch size and thread count.
        seed: Of the inputs, the order within rounds, the arrivals and the bootstrap.
        allow_fallback: Nodes that the provider cannot take may run on the CPU; the rows then say so.
        cuda_graph: Capture the call in a CUDA graph (cuda and tensorrt).
        profile: Also say where the time goes.
        server: Also find the highest rate of arrivals.
        server_bound_s: What p99 must keep to there; None: five times the median latency.
        multi_stream: Also measure queries of eight images.
        audit: Also audit the INT8 files: what really runs in INT8, and saturation; on the CPU.
        data: Labelled faces (a zip, a folder or a CSV): also the accuracy of every trained file; None: no accuracy.
        split: Of `data`; None: the held-out one, or all without splits.
        votes: People's votes for `data` (FER+): their majority is then the label.
        title: Of the report.
    """

    provider: str = CPU
    batches: tuple[int, ...] = (1,)
    threads: tuple[int, ...] = ()
    rounds: int | None = 100
    launches: int = 5
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
    data: Path | None = None
    split: str | None = None
    votes: Path | None = None
    title: str = "benchmark"


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


def find_reference(cases: Sequence[BenchCase], config: BenchConfig) -> BenchCase:
    """The case that ratios refer to; every wrong option is found here, before any work.

    Raises:
        InputError: an impossible option, or cases that cannot be measured with these options.
    """
    if not cases:
        raise InputError("nothing to benchmark: name at least one model or ONNX file")
    if not config.batches:
        raise InputError("no batch size given; for example --batch 1,8")
    for what, values in (("batch size", config.batches), ("number of threads", config.threads)):
        if len(set(values)) != len(values):
            raise InputError(f"a {what} is given twice: {', '.join(map(str, values))}")
    counts = (*(("threads", each) for each in config.threads), ("rounds", config.rounds), ("starts", config.launches))
    for what, count in counts:
        if count is not None and count < 1:
            raise InputError(f"{what} is at least 1, found {count}")
    if config.rounds is None and config.budget_s is None:
        raise InputError("give a number of rounds or a time budget")
    if config.budget_s is not None and not config.budget_s > 0:
        raise InputError(f"the time budget is more than 0 s, found {config.budget_s:g}")
    if config.data is not None and not config.data.exists():
        raise InputError(f"{config.data}: no such data set")
    if config.audit and config.provider != CPU:
        raise InputError("an audit says what runs in INT8 on the CPU: leave --audit or --provider out")
    if config.votes is not None and config.data is None:
        raise InputError("--votes needs --data")
    working = [case for case in cases if case.broken is None]
    if not working:
        raise InputError(f"{cases[0].label}: cannot be benchmarked: {cases[0].broken}")
    extra = {1} if config.server else set()
    if config.multi_stream:
        extra.add(MULTI_STREAM_IMAGES)
    for batch in sorted(extra.union(config.batches)):
        for case in working:
            case.shape(batch)
    labels = [case.label for case in cases]
    if len(set(labels)) != len(labels):
        raise InputError(f"two models have the same label: {', '.join(labels)}; give each its own")
    if config.reference_label is None:
        return working[0]
    if config.reference_label not in labels:
        raise InputError(f"no model '{config.reference_label}' to compare with; one of: {', '.join(labels)}")
    return cases[labels.index(config.reference_label)]
