"""Two results of separate runs, model by model: how much slower the second is, and what may be concluded from that."""

from dataclasses import dataclass, field
from typing import Any, Literal

from rarn_edge.bench.result import BenchReport, BenchRow
from rarn_edge.decode import encode, key
from rarn_edge.errors import InputError
from rarn_edge.host.environment import MACHINE_FACTS, SOFTWARE_FACTS, different_facts
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.ratio import median_s, unpaired_ratio_over_launches

Verdict = Literal["same", "slower", "faster"]


@dataclass(frozen=True)
class ComparedRow:
    """One model at one batch size and thread count in both results."""

    label: str
    batch: int
    threads: int
    before_s: float
    after_s: float
    ratio: Interval  # after over before; above 1 is slower
    peak_rss_ratio: float | None
    size_ratio: float

    @property
    def verdict(self) -> Verdict:
        """What the interval says; `same` is: no difference can be told."""
        return "slower" if self.ratio.low > 1 else "faster" if self.ratio.high < 1 else "same"

    def to_dict(self) -> dict[str, Any]:
        return {**encode(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Comparison:
    """Everything that can be said about two results."""

    machine_differences: tuple[str, ...]
    software_differences: tuple[str, ...]
    rows: tuple[ComparedRow, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    workload_ratio: float | None = field(metadata=key("yardstick_ratio"))  # of the reference workload

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with the schema version; ratios are after over before."""
        return {"schema_version": 1, "kind": "bench-comparison", **encode(self)}


def compare_reports(before: BenchReport, after: BenchReport) -> Comparison:
    """Compare rows of the same label, batch size, thread count and provider; a ratio is after over before, above 1 is slower.

    Raises:
        InputError: the results have no row in common.
    """
    ours, theirs = ({_name(row): row for row in report.rows} for report in (before, after))
    common = [name for name in ours if name in theirs]
    if not common:
        raise InputError(
            f"the results have no row in common: {', '.join(ours)} / {', '.join(theirs)}; a row is a label, provider, batch size "
            "and number of threads"
        )
    workload = None
    if before.workload_s and after.workload_s:
        workload = median_s(after.workload_s) / median_s(before.workload_s)
    return Comparison(
        tuple(different_facts(before.environment, after.environment, MACHINE_FACTS)),
        tuple(different_facts(before.environment, after.environment, SOFTWARE_FACTS)),
        tuple(_compare(ours[name], theirs[name], before.seed) for name in common),
        tuple(name for name in ours if name not in theirs),
        tuple(name for name in theirs if name not in ours),
        workload,
    )


def slower_than(comparison: Comparison, limit: float) -> tuple[list[ComparedRow], list[ComparedRow]]:
    """Rows that are slower by more than `limit` for certain (the whole interval is), and those where it cannot be told.

    Raises:
        InputError: the results are from different machines, or the limit is below 1.
    """
    if not limit >= 1:
        raise InputError(f"--fail-if-slower takes a ratio of at least 1, such as 1.10; found {limit:g}")
    if comparison.machine_differences:
        raise InputError(
            "the results are from different machines, so a slowdown says nothing about the model: "
            + "; ".join(comparison.machine_differences)
            + "\nMeasure both on one machine, or compare without --fail-if-slower"
        )
    certain = [row for row in comparison.rows if row.ratio.low > limit]
    unclear = [row for row in comparison.rows if row.ratio.low <= limit < row.ratio.high]
    return certain, unclear


def _compare(before: BenchRow, after: BenchRow, seed: int) -> ComparedRow:
    peaks = (before.peak_rss_bytes, after.peak_rss_bytes)
    return ComparedRow(
        label=before.label,
        batch=before.batch,
        threads=before.threads,
        before_s=before.latency_median_s,
        after_s=after.latency_median_s,
        ratio=unpaired_ratio_over_launches(after.samples_by_launch(), before.samples_by_launch(), seed),
        peak_rss_ratio=peaks[1] / peaks[0] if peaks[0] and peaks[1] is not None else None,
        size_ratio=after.file_size_bytes / before.file_size_bytes,
    )


def _name(row: BenchRow) -> str:
    """Rows of the same name are compared."""
    return f"{row.label} ({row.provider}, batch {row.batch}, {row.threads} threads)"
