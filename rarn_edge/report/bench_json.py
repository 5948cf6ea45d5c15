"""A benchmark as JSON text that keeps every raw sample and still diffs row by row."""

import json

from rarn_edge.bench.result import BenchReport


def bench_json(report: BenchReport) -> str:
    """One line per row, profile, and so on: a recorded result is read in reviews too."""
    data = report.to_dict()
    parts = []
    for key, value in data.items():
        if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
            lines = ",\n".join("  " + json.dumps(each, allow_nan=False) for each in value)
            parts.append(f"{json.dumps(key)}: [\n{lines}\n ]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n " + ",\n ".join(parts) + "\n}\n"
