"""Whether a result that was read can have been measured: comparing zeros, text or nothing would say anything."""

import math
from pathlib import Path

from rarn_edge.bench.result import BenchReport, BenchRow, load_report
from rarn_edge.errors import InputError

LONGEST_S = 1e6  # of one call


def load_sane_report(path: Path) -> BenchReport:
    """A result file, if every row has samples that are times and the facts that comparing needs.

    Raises:
        InputError: as `load_report`; or which row and what of it.
    """
    report = load_report(path)
    if not isinstance(report.reference_label, str) or not isinstance(report.seed, int) or report.seed < 0:
        raise InputError(
            f"{path}: damaged benchmark result: reference_label is a text and seed a whole number of at least 0"
        )
    for number, row in enumerate(report.rows):
        if wrong := _wrong(row):
            raise InputError(f"{path}: damaged benchmark result: row {number + 1}: {wrong}")
    if not all(_is_time(seconds) for seconds in report.workload_s):
        raise InputError(f"{path}: damaged benchmark result: workload_s holds a value that is no time")
    return report


def _wrong(row: BenchRow) -> str | None:
    if not all(isinstance(text, str) for text in (row.label, row.provider, *row.warnings)):
        return "label, provider and warnings are texts"
    if not all(_is_count(count) for count in (row.batch, row.threads, row.file_size_bytes)):
        return "batch, threads and file_size_bytes are whole numbers above 0"
    if not row.samples_s:
        return "samples_s is empty"
    if not all(_is_time(seconds) for seconds in (*row.samples_s, row.latency_median_s)):
        return "samples_s and latency_median_s are seconds above 0"
    if not len(row.samples_s) == len(row.sample_rounds) == len(row.sample_launches):
        return "samples_s, sample_rounds and sample_launches differ in length"
    if row.peak_rss_bytes is not None and not (isinstance(row.peak_rss_bytes, int) and row.peak_rss_bytes >= 0):
        return "peak_rss_bytes is a whole number or null"
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_time(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and 0 < value <= LONGEST_S
    )
