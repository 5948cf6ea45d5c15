"""`rarn-edge verdict`: is the quantized file worth shipping?"""

from rarn_edge.cli.app import CHECK, app, note, print_json, say
from rarn_edge.cli.options import Candidate, Json, OptionalData, Reference, Split, VerdictRounds, VerdictThreads, Votes
from rarn_edge.errors import InputError


@app.command(rich_help_panel=CHECK)
def verdict(
    reference: Reference,
    candidate: Candidate,
    data: OptionalData = None,
    split: Split = None,
    votes: Votes = None,
    threads: VerdictThreads = 1,
    rounds: VerdictRounds = 200,
    as_json: Json = False,
) -> None:
    """One line: how much faster on this CPU, what it costs in accuracy (paired interval), and whether to ship it."""
    from rarn_edge.workflow.verdict import verdict as measure

    if reference.resolve() == candidate.resolve():
        raise InputError(
            f"{candidate}: is named twice; the second file is the quantized one, made by: rarn-edge quantize {reference}"
            " -o OUT.onnx"
        )
    done = measure(
        reference, candidate, data=data, split=split, votes=votes, threads=threads, rounds=rounds, on_notice=note
    )
    for warning in done.verdict.warnings:
        note(warning, "warning")
    if as_json:
        print_json(done.to_dict())
    else:
        say(f"{done.model} on {done.faces}: {done.verdict.line()}")
