"""`rarn-edge compare`: two benchmark results."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, app, note, out, print_json, say
from rarn_edge.errors import GateError

if TYPE_CHECKING:
    from rarn_edge.bench.stats import Ratio


@app.command(rich_help_panel=CHECK)
def compare(
    before: Annotated[Path, typer.Argument(help="A result of `bench --out`", metavar="BEFORE.json")],
    after: Annotated[Path, typer.Argument(help="Another one", metavar="AFTER.json")],
    fail_if_slower: Annotated[
        float | None,
        typer.Option(help="Exit code 1 when a model is slower by more than this ratio for certain, such as 1.10"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Two benchmark results: same machine or not, ratios with intervals, and a gate for continuous integration."""
    from dataclasses import asdict

    from rarn_edge.bench.compare import compare_reports, slower_than
    from rarn_edge.bench.result import load_report
    from rarn_edge.report.compare_table import compare_lines, compare_table

    comparison = compare_reports(load_report(before), load_report(after))
    certain, unclear = ([], []) if fail_if_slower is None else slower_than(comparison, fail_if_slower)
    if as_json:
        rows = [{**asdict(row), "verdict": row.verdict} for row in comparison.rows]
        print_json({"schema_version": 1, "kind": "bench-comparison", **asdict(comparison), "rows": rows})
    else:
        for line in compare_lines(comparison):
            say(line)
        out.print(compare_table(comparison))
    for row in unclear:
        note(
            f"{row.label} at batch {row.batch}: cannot tell whether it is slower than {fail_if_slower:g} times "
            f"(it is {_times(row.ratio)}); take more rounds and more starts",
            "warning",
        )
    if certain:
        slow = [
            f"{r.label} at batch {r.batch}: {r.ratio.value:.2f} times ({r.ratio.low:.2f} to {r.ratio.high:.2f})"
            for r in certain
        ]
        raise GateError(f"slower than {fail_if_slower:g} times\n" + "\n".join(slow))


def _times(ratio: "Ratio") -> str:
    return f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
