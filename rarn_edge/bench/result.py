"""What a benchmark answers, as data and as versioned JSON with its raw samples, so that it can be judged again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rarn_edge.bench.environment import Environment
from rarn_edge.bench.stats import Ratio
from rarn_edge.errors import InputError

SCHEMA_VERSION = 1
"""1: the first."""

NOT_MEASURED = "not asked for"
"""`peak_rss_missing` when the caller wanted no memory figures: nothing to warn about."""


@dataclass(frozen=True)
class BenchRow:
    """One model at one batch size. A fact that is not known is None, never zero."""

    label: str
    provider: str
    batch: int
    threads: int
    samples_s: tuple[float, ...]  # seconds per call; sample i is from round i, as in every row of the same batch
    latency_median_s: float  # of one call, that is of `batch` images
    latency_p90_s: float | None  # None below 64 samples
    throughput_images_per_s: float
    latency_ratio: Ratio  # to the reference at the same batch size
    peak_rss_bytes: int | None  # above an import-only process
    peak_rss_missing: str | None  # why peak_rss_bytes is None
    file_size_bytes: int
    model: str | None
    parameters: int | None
    multiply_adds: int | None  # one image
    precision: str | None
    target: str | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class BenchReport:
    """One run: where, against what, and the rows, grouped by batch size in the order asked for."""

    environment: Environment
    provider: str
    reference_label: str
    seed: int
    rows: tuple[BenchRow, ...]

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with the schema version."""
        return {"schema_version": SCHEMA_VERSION, "kind": "bench", **asdict(self)}

    @classmethod
    def from_dict(cls, data: object) -> "BenchReport":
        """Read what `to_dict` wrote.

        Raises:
            InputError: another schema version, or keys missing or unknown.
        """
        if not isinstance(data, dict) or data.get("kind") != "bench":
            raise InputError("not a benchmark result; make one with: rarn-edge bench MODEL --json")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"benchmark result of schema {data.get('schema_version')!r}, expected {SCHEMA_VERSION}; run it again"
            )
        try:
            return cls(
                environment=Environment(**data["environment"]),
                provider=data["provider"],
                reference_label=data["reference_label"],
                seed=data["seed"],
                rows=tuple(_row_from_dict(row) for row in data["rows"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"damaged benchmark result: {error}") from error


def _row_from_dict(data: Mapping[str, Any]) -> BenchRow:
    fields = dict(data)
    fields["samples_s"] = tuple(fields["samples_s"])
    fields["latency_ratio"] = Ratio(**fields["latency_ratio"])
    fields["warnings"] = tuple(fields["warnings"])
    return BenchRow(**fields)
