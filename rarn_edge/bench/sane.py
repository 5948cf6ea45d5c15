"""Whether a result that was read can have been measured: comparing zeros or nothing would say anything.

Types are `decode`'s, and that numbers are finite `parse_json`'s, before it comes here.
"""

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
    if report.seed < 0:
        raise InputError(f"{path}: damaged benchmark result: seed is a whole number of at least 0")
    for number, row in enumerate(report.rows):
        if wrong := _wrong(row):
            raise InputError(f"{path}: damaged benchmark result: row {number + 1}: {wrong}")
    if not all(_is_time(seconds) for seconds in report.workload_s):
        raise InputError(f"{path}: damaged benchmark result: workload_s holds a value that is no time")
    return report


def _wrong(row: BenchRow) -> str | None:
    if min(row.batch, row.threads, row.file_size_bytes) < 1:
        return "batch, threads and file_size_bytes are whole numbers above 0"
    if not row.samples_s:
        return "samples_s is empty"
    if not all(_is_time(seconds) for seconds in (*row.samples_s, row.latency_median_s)):
        return "samples_s and latency_median_s are seconds above 0"
    if not len(row.samples_s) == len(row.sample_rounds) == len(row.sample_launches):
        return "samples_s, sample_rounds and sample_launches differ in length"
    if row.peak_rss_bytes is not None and row.peak_rss_bytes < 0:
        return "peak_rss_bytes is a whole number or null"
    return None


def _is_time(seconds: float) -> bool:
    return 0 < seconds <= LONGEST_S
