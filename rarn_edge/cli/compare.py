"""`rarn-edge compare`: two benchmark results."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import CHECK, Json, app, note, out, print_json, say
from rarn_edge.errors import GateError


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
    from rarn_edge.bench.compare import compare_reports, slower_than
    from rarn_edge.bench.result import load_report
    from rarn_edge.report.compare import compare_lines, compare_table, slower_line

    comparison = compare_reports(load_report(before), load_report(after))
    certain, unclear = ([], []) if fail_if_slower is None else slower_than(comparison, fail_if_slower)
    if as_json:
        print_json(comparison.to_dict())
    else:
        for line in compare_lines(comparison):
            say(line)
        out.print(compare_table(comparison).to_rich())
    for row in unclear:
        note(
            f"{slower_line(row)}: cannot tell whether it is slower than {fail_if_slower:g} times; take more rounds and starts",
            "warning",
        )
    if certain:
        raise GateError(f"slower than {fail_if_slower:g} times\n" + "\n".join(map(slower_line, certain)))
