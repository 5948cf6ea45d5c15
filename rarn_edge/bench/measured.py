"""What a run measures, before anything is concluded from it: the plan, and what came in."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rarn_edge.bench.audited import AuditFacts
from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.environment import Environment
from rarn_edge.bench.memory import MemoryResult
from rarn_edge.bench.profile import Profile
from rarn_edge.bench.result import Accuracy, Failure
from rarn_edge.bench.rounds import Samples
from rarn_edge.bench.scenarios import MultiStream, Server
from rarn_edge.contract.artifact import Contract


@dataclass(frozen=True)
class Group:
    """Rows that are compared with each other: the same batch size and number of threads."""

    batch: int
    threads: int


@dataclass(frozen=True)
class Opened:
    """What a worker said when it had opened its model."""

    session_s: float
    nodes: int
    nodes_elsewhere: int
    quantized: bool


@dataclass(frozen=True)
class Plan:
    """What is going to be measured, and where."""

    environment: Environment
    provider: str
    reference_label: str
    seed: int
    groups: tuple[Group, ...]
    cases: tuple[BenchCase, ...]
    title: str = "benchmark"

    def case(self, label: str) -> BenchCase:
        """The case of that label, which is unique."""
        return next(case for case in self.cases if case.label == label)

    def to_dict(self) -> dict[str, Any]:
        cases = [
            {
                **asdict(case),
                "path": str(case.path),
                "contract": None if case.contract is None else case.contract.to_json(),
            }
            for case in self.cases
        ]
        return {**asdict(self), "cases": cases}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Plan":
        return cls(
            **{
                **data,
                "environment": Environment(**data["environment"]),
                "groups": tuple(Group(**group) for group in data["groups"]),
                "cases": tuple(_case(case) for case in data["cases"]),
            }
        )


def _case(data: Mapping[str, Any]) -> BenchCase:
    contract = data["contract"]
    fields = {
        **data,
        "path": Path(data["path"]),
        "input_shape": tuple(data["input_shape"]),
        "contract": None if contract is None else Contract.from_json(contract, data["path"]),
    }
    return BenchCase(**fields)


@dataclass(frozen=True)
class Round:
    """One round of a group: seconds of each model that took its turn."""

    start: int  # of the processes
    seconds: Mapping[str, float]
    device_s: Mapping[str, float]  # without the copies, on a GPU
    cpu_s: Mapping[str, float]  # processor time, where the system counts it finely
    yard_s: float  # the fixed piece of work


@dataclass
class Measured:
    """Everything that came in so far."""

    plan: Plan
    samples: dict[Group, dict[str, Samples]] = field(default_factory=dict)
    starts: dict[Group, list[int]] = field(default_factory=dict)  # of each round, which start of the processes
    device: dict[tuple[str, Group], list[float]] = field(default_factory=dict)  # without the copies
    cpu: dict[tuple[str, Group], list[float]] = field(default_factory=dict)  # processor time of the calls
    opened: dict[tuple[str, int], Opened] = field(default_factory=dict)  # by label and threads
    unstable: Counter[tuple[str, Group]] = field(default_factory=Counter)  # starts that still changed after the warm-up
    failures: list[Failure] = field(default_factory=list)
    yardstick_s: list[float] = field(default_factory=list)
    memory: dict[tuple[str, Group], MemoryResult] = field(default_factory=dict)
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    overhead_s: float | None = None
    notes: list[str] = field(default_factory=list)  # warnings about the whole run
    profiles: list[Profile] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)
    multi_streams: list[MultiStream] = field(default_factory=list)
    audits: list[AuditFacts] = field(default_factory=list)

    def add(self, group: Group, taken: Round) -> int:
        """Take in a round; returns its number."""
        starts = self.starts.setdefault(group, [])
        number = len(starts)
        starts.append(taken.start)
        samples = self.samples.setdefault(group, {})
        for label, seconds in taken.seconds.items():
            ours = samples.setdefault(label, Samples())
            ours.seconds.append(seconds)
            ours.rounds.append(number)
        for kept, found in ((self.device, taken.device_s), (self.cpu, taken.cpu_s)):
            for label, seconds in found.items():
                kept.setdefault((label, group), []).append(seconds)
        self.yardstick_s.append(taken.yard_s)
        return number
