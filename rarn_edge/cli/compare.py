"""`rarn-edge compare`: two benchmark results."""

from typing import TYPE_CHECKING

from rarn_edge.cli.app import CHECK, app, note, out, print_json, say
from rarn_edge.cli.options import After, Before, FailIfSlower, Json
from rarn_edge.errors import GateError

if TYPE_CHECKING:
    from rarn_edge.bench.stats import Ratio


@app.command(rich_help_panel=CHECK)
def compare(before: Before, after: After, fail_if_slower: FailIfSlower = None, as_json: Json = False) -> None:
    """Two benchmark results: same machine or not, ratios with intervals, and a gate for continuous integration."""
    from dataclasses import asdict

    from rarn_edge.report.compare_table import compare_lines, compare_table
    from rarn_edge.workflow.bench import compare as compare_results

    done = compare_results(before, after, fail_if_slower=fail_if_slower)
    if as_json:
        rows = [{**asdict(row), "verdict": row.verdict} for row in done.comparison.rows]
        print_json({"schema_version": 1, "kind": "bench-comparison", **asdict(done.comparison), "rows": rows})
    else:
        for line in compare_lines(done.comparison):
            say(line)
        out.print(compare_table(done.comparison))
    for row in done.unclear:
        note(
            f"{row.label} at batch {row.batch}: cannot tell whether it is slower than {fail_if_slower:g} times "
            f"(it is {_times(row.ratio)}); take more rounds and more starts",
            "warning",
        )
    if done.slower:
        slow = [
            f"{r.label} at batch {r.batch}: {r.ratio.value:.2f} times ({r.ratio.low:.2f} to {r.ratio.high:.2f})"
            for r in done.slower
        ]
        raise GateError(f"slower than {fail_if_slower:g} times\n" + "\n".join(slow))


def _times(ratio: "Ratio") -> str:
    return f"{ratio.value:.2f} times ({ratio.low:.2f} to {ratio.high:.2f})"
