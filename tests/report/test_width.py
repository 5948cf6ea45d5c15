"""Every table fits a terminal of 80 columns: no figure is cut, no name breaks inside a word."""

import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from rarn_edge.assets import shipped_bundle, shipped_onnx
from rarn_edge.bench.compare import compare_reports
from rarn_edge.bench.doctor import ProviderState, diagnose
from rarn_edge.bench.result import BenchReport, load_report
from rarn_edge.contract.spec import FERPLUS_CLASSES
from rarn_edge.models.catalog import CATALOG
from rarn_edge.parity.bundle import load_bundle
from rarn_edge.parity.verify import verify
from rarn_edge.pipeline.calibrate import MethodRow
from rarn_edge.report.bench import bench_table, extra_tables
from rarn_edge.report.compare import compare_table
from rarn_edge.report.doctor import facts_table, providers_table
from rarn_edge.report.evaluation import evaluation_table, methods_table, paired_table
from rarn_edge.report.models import models_table
from rarn_edge.report.parity import parity_tables
from rarn_edge.report.table import Table, table
from rarn_edge.stats.classification import evaluate_logits
from rarn_edge.stats.paired import compare_decisions

COLUMNS = 80
LONGEST = "rarn-s.ferplus.x86-avx2.int8"
RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
RECORDED = ["amd-epyc-zen1-2-cores/peers.json", "nvidia-h100-80gb-hbm3/gpu.json"]


def terminal(shown: Table) -> str:
    console = Console(width=COLUMNS, file=io.StringIO(), force_terminal=False)
    console.print(shown.to_rich())
    return console.file.getvalue()  # type: ignore[attr-defined]


def broken(shown: Table) -> list[str]:
    """What a reader would miss: parts of headings and cells that no line has whole. A name may break after `.`, `-`, `_`, `/`."""
    printed = terminal(shown)
    missed = [line for line in printed.splitlines() if len(line) > COLUMNS or "\N{HORIZONTAL ELLIPSIS}" in line]
    for index, column in enumerate(shown.columns):
        if not column.is_wide:
            for cell in (column.name, *(row.cells[index] for row in shown.rows)):
                words = re.split(r"(?<=[._/-])|\s+", cell) if column.is_text else re.split(r"\s+", cell)
                missed += [word for word in words if word and word not in printed]
    return missed


def renamed(report: BenchReport) -> BenchReport:
    """The recorded result, as if its models had the longest name and a sweep of batches and threads."""

    def longer(parts: tuple) -> tuple:  # type: ignore[type-arg]  # rows, profiles, audits: whatever has a label
        return tuple(replace(each, label=LONGEST) if each.label.startswith("rarn-s") else each for each in parts)

    rows = longer(report.rows)
    return replace(
        report,
        rows=(*rows, *(replace(row, threads=16, batch=256, latency_median_s=1.2345) for row in rows)),
        profiles=longer(report.profiles),
        audits=longer(report.audits),
        servers=longer(report.servers),
        multi_streams=longer(report.multi_streams),
    )


@pytest.mark.parametrize("recorded", RECORDED)
def test_benchmarks(recorded: str) -> None:
    report = renamed(load_report(RESULTS / recorded))
    tables = [bench_table(report), *extra_tables(report), compare_table(compare_reports(report, report))]
    assert {each.title: broken(each) for each in tables if broken(each)} == {}


def other_tables() -> Iterator[Table]:
    found = verify(load_bundle(shipped_bundle("rarn-n")), shipped_onnx("rarn-n"))
    yield from parity_tables(replace(found, faces=f"{found.faces}: {LONGEST}.onnx"))
    logits = np.eye(8, dtype=np.float32)[np.arange(64) % 8]
    labels = np.arange(64) % 8
    yield evaluation_table(evaluate_logits(logits, labels, FERPLUS_CLASSES), f"{LONGEST}.onnx on 7,178 faces")
    right = np.arange(64) > 3
    yield paired_table(compare_decisions(right, ~right), f"{LONGEST}.onnx", "emotion-ferplus-8.onnx")
    yield methods_table([MethodRow("percentile", 0.8765, 0.9912, 32.1)], "3,573 faces of fer2013.zip (PublicTest)")
    yield models_table(list(CATALOG.values()), {"rarn-s": "88.71% on FER+, 71.42% on FER-2013 (PublicTest)"})
    here = diagnose()
    reason = "libcudnn.so.9: cannot open shared object file: No such file or directory (/usr/lib/x86_64-linux-gnu)"
    lost = ProviderState("tensorrt-rtx", "NvTensorRTRTXExecutionProvider", "does not start", reason, "pip install x")
    yield facts_table(here)
    yield providers_table(replace(here, providers=(*here.providers, lost)))


def test_all_other_tables() -> None:
    tables = list(other_tables())
    assert len(tables) > 8
    assert {each.title: broken(each) for each in tables if broken(each)} == {}


def test_what_is_broken_is_found() -> None:
    """More figures than fit, and a word that is longer than its column."""
    crowded = table("", ["model", *map(str, range(20))], [(LONGEST, *["123456"] * 20)])
    assert "123456" in broken(crowded)
    assert broken(table("", ("model", "ms"), [("x" * 90, "1.5")])) == ["x" * 90]
