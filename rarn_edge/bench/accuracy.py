"""The accuracy of what was timed, each file evaluated in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import rarn_edge
from rarn_edge.bench.cases import BenchCase
from rarn_edge.bench.result import Accuracy, BenchReport, Failure

_TIMEOUT_S = 3600.0


def measure_accuracy(
    report: BenchReport, cases: Sequence[BenchCase], data: Path, split: str | None, provider: str
) -> BenchReport:
    """The report with the accuracy of every file that was trained; random weights have none worth stating."""
    timed = {row.label for row in report.rows}
    found: dict[str, Accuracy] = {}
    failures = list(report.failures)
    for case in cases:
        if case.label not in timed or not _is_trained(case):
            continue
        command = [sys.executable, "-P", "-m", "rarn_edge", "evaluate", str(case.path), "--data", str(data), "--json"]
        command += ["--provider", provider, *(("--split", split) if split is not None else ())]
        home = str(Path(rarn_edge.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "500"}
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            failures.append(Failure(case.label, None, None, "accuracy", f"not evaluated within {_TIMEOUT_S:g} s"))
            continue
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[0]
            failures.append(Failure(case.label, None, None, "accuracy", last.removeprefix("error: ")))
            continue
        score = json.loads(done.stdout)
        found[case.label] = Accuracy(
            score["accuracy"], score["accuracy_low"], score["accuracy_high"], score["images"], score["faces"]
        )
    rows = tuple(replace(row, accuracy=found.get(row.label)) for row in report.rows)
    return replace(report, rows=rows, failures=tuple(failures))


def _is_trained(case: BenchCase) -> bool:
    """Any file with a contract, unless that says that its weights are random."""
    return case.contract is not None and not str(case.contract.provenance.get("weights", "")).startswith("random")
