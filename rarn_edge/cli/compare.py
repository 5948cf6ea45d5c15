"""`rarn-edge compare`: two benchmark results."""

from rarn_edge.cli.app import CHECK, app, note, out, print_json, say
from rarn_edge.cli.options import After, Before, FailIfSlower, Json
from rarn_edge.errors import GateError


@app.command(rich_help_panel=CHECK)
def compare(before: Before, after: After, fail_if_slower: FailIfSlower = None, as_json: Json = False) -> None:
    """Two benchmark results: same machine or not, ratios with intervals, and a gate for continuous integration."""
    from rarn_edge.report.compare import compare_lines, compare_table, slower_line
    from rarn_edge.workflow.bench import compare as compare_results

    done = compare_results(before, after, fail_if_slower=fail_if_slower)
    if as_json:
        print_json(done.comparison.to_dict())
    else:
        for line in compare_lines(done.comparison):
            say(line)
        out.print(compare_table(done.comparison).to_rich())
    for row in done.unclear:
        note(f"{slower_line(row)}, unclear: take more --rounds", "warning")
    if done.slower:
        raise GateError(f"slower than {fail_if_slower:g} times\n" + "\n".join(map(slower_line, done.slower)))
