"""`rarn-edge doctor`: one page on this machine."""

from rarn_edge.cli.app import SHOW, app, err, note, out, print_json
from rarn_edge.cli.options import Json


@app.command(rich_help_panel=SHOW)
def doctor(as_json: Json = False) -> None:
    """One page on this machine: INT8 abilities, threads, memory, runtimes, and which providers really start."""
    from rarn_edge.errors import require_extra

    require_extra("onnxruntime", "cpu")
    from rarn_edge.bench.doctor import diagnose
    from rarn_edge.report.doctor import facts_table, providers_table

    with err.status("starting each provider"):
        found = diagnose()
    if as_json:
        print_json(found.to_dict())
    else:
        out.print(facts_table(found).to_rich())
        out.print(providers_table(found).to_rich())
    for problem in found.problems:
        note(problem, "problem")
