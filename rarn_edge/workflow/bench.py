"""Benchmark models by name, by file or by suite, and compare two results."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rarn_edge.bench.cases import load_cases
from rarn_edge.bench.compare import ComparedRow, Comparison, compare_reports, slower_than
from rarn_edge.bench.config import BenchConfig, Progress
from rarn_edge.bench.record import check_journal
from rarn_edge.bench.result import BenchReport
from rarn_edge.bench.runner import benchmark as measure
from rarn_edge.bench.sane import load_sane_report
from rarn_edge.bench.suite import Suite
from rarn_edge.data import load_faces
from rarn_edge.data.select import to_measure_on
from rarn_edge.errors import InputError
from rarn_edge.files import check_outputs, write_text
from rarn_edge.models.catalog import CATALOG
from rarn_edge.models.find import NetworkInput
from rarn_edge.report.bench import bench_json
from rarn_edge.runtime.providers import check_provider
from rarn_edge.workflow.bench_files import bench_files, suite_files
from rarn_edge.workflow.callbacks import AnyPath, SomePaths, each_of


def benchmark(
    models: SomePaths = (),
    *,
    suite: Suite | None = None,
    files: AnyPath | None = None,
    baselines: bool = False,
    config: BenchConfig | None = None,
    data: AnyPath | None = None,
    split: str | None = None,
    votes: AnyPath | None = None,
    out: AnyPath | None = None,
    html: AnyPath | None = None,
    work: AnyPath = Path("build/models"),
    takes: NetworkInput | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> BenchReport:
    """Latency, throughput, memory and size of models, interleaved in one run, each beside a named reference.

    Args:
        models: Networks (names, or `my_net.py:build`, exported into `work`) and ONNX files; the first is the reference.
        suite: A suite instead of `models`, as `rarn_edge.bench.suite.load_suite` reads it.
        files: The folder of the ONNX files that the suite names.
        baselines: Add the baseline models.
        config: Batch sizes, threads, rounds and what else to measure (default: the suite's).
        data: Labelled faces: also the accuracy of trained models.
        split: Of `data` (default: the held-out one, or all without splits).
        votes: People's votes for `data` (FER+): their majority is then the label.
        out: Write the result as JSON; raw samples are saved there after every round.
        html: Also write one self-contained page.
        work: Where networks are exported.
        takes: The input of networks of one's own (default: as the TOML beside each says).
        on_progress: Told how far it is.

    Raises:
        InputError: nothing to measure, or unusable models.
        ProviderError: the provider cannot be had.

    Example:
        >>> import rarn_edge
        >>> from rarn_edge.bench.config import BenchConfig
        >>> report = rarn_edge.benchmark(["rarn-s.onnx"], config=BenchConfig(rounds=10))  # doctest: +SKIP
        >>> report.rows[0].latency_median_s  # doctest: +SKIP
        0.0021
    """
    models = each_of(models)
    if (suite is None) == (not models and not baselines):
        raise InputError(
            "name models or ONNX files, or a suite with --suite; not both"
            if models
            else "nothing to benchmark: name models or ONNX files, or a suite with --suite"
        )
    asked = config or (BenchConfig() if suite is None else suite.config)
    if data is not None:
        asked = replace(asked, data=Path(data), split=split, votes=None if votes is None else Path(votes))
    elif votes is not None or split is not None:
        raise InputError(f"--{'split' if votes is None else 'votes'} needs --data")
    if files is not None and suite is None:
        raise InputError(
            "--files is the folder of the files that a suite names: add --suite, or name the files themselves"
        )
    check_provider(asked.provider)
    result, page, folder = (None if path is None else Path(path) for path in (out, html, files))
    journal = None if result is None else result.with_name(f"{result.name}.partial")
    check_outputs([result, journal, page], [*models, data, votes, *(() if suite is None else suite.reads(folder))])
    if journal is not None:
        check_journal(journal)
    if page is not None:
        from rarn_edge.report.page import require_html

        require_html()
    if data is not None:
        # unusable data is said first: none of its faces are decoded
        load_faces(Path(data), lambda found: to_measure_on(found, split).where(np.empty(0, dtype=np.intp)), asked.votes)
    if suite is None:
        more = [name for name, entry in CATALOG.items() if baselines and entry.role == "baseline"]
        paths = bench_files([*map(str, models), *more], Path(work), takes)
    else:
        paths = suite_files(suite, folder, Path(work))
    cases = load_cases(paths)
    report = measure(cases, asked, journal, on_progress)
    if result is not None and journal is not None:
        write_text(result, bench_json(report))
        journal.unlink(missing_ok=True)
    if page is not None:
        from rarn_edge.report.page import bench_page
        from rarn_edge.workflow.answers import shown_face

        write_text(page, bench_page(report, answers=shown_face(cases, report, asked.provider)))
    return report


@dataclass(frozen=True)
class CompareResult:
    """Two results row by row, and the rows that a limit is about."""

    comparison: Comparison
    slower: tuple[ComparedRow, ...]  # than the limit, for certain
    unclear: tuple[ComparedRow, ...]  # it cannot be told


def compare(before: AnyPath, after: AnyPath, *, fail_if_slower: float | None = None) -> CompareResult:
    """Two benchmark results: same machine or not, ratios with intervals.

    Args:
        before: A result of `benchmark`, as JSON.
        after: Another one.
        fail_if_slower: A ratio of at least 1, such as 1.10; what is slower than that comes back.

    Raises:
        InputError: no such results, nothing in common, or a limit for results of different machines.

    Example:
        >>> import rarn_edge
        >>> rarn_edge.compare("before.json", "after.json").comparison.rows[0].ratio  # doctest: +SKIP
        Interval(value=1.02, low=0.99, high=1.05)
    """
    comparison = compare_reports(load_sane_report(Path(before)), load_sane_report(Path(after)))
    slower, unclear = ([], []) if fail_if_slower is None else slower_than(comparison, fail_if_slower)
    return CompareResult(comparison, tuple(slower), tuple(unclear))
