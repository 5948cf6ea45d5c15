"""`rarn-edge parity`: compare the forms of a model."""

from typing import TYPE_CHECKING

from rarn_edge.cli import options as o
from rarn_edge.cli.app import CHECK, app, err, note, out, print_json, say, with_device
from rarn_edge.cli.network import network_if_named, says_input
from rarn_edge.errors import InputError

if TYPE_CHECKING:
    from rarn_edge.models.find import NetworkInput
    from rarn_edge.parity.report import ParityReport
    from rarn_edge.workflow.parity import ParityResult


@app.command(rich_help_panel=CHECK)
@says_input
def parity(
    takes: "NetworkInput",
    files: o.Files = None,
    model: o.StartModel = None,
    weights: o.StartWeights = None,
    labels: o.Labels = None,
    data: o.OptionalData = None,
    split: o.Split = None,
    votes: o.Votes = None,
    provider: o.Provider = "cpu",
    device: o.Device = None,
    threads: o.Threads = None,
    target: o.Target = "auto",
    bundle: o.BundleOut = None,
    saved: o.Saved = None,
    tolerances: o.Tolerances = None,
    markdown: o.Markdown = None,
    explain: o.ExplainNodes = False,
    verbose: o.Verbose = False,
    as_json: o.Json = False,
) -> None:
    """Compare the forms of a model step by step: torch, ONNX, simplified, optimised, INT8. Exit code 1 when one fails."""
    provider = with_device(provider, device)
    from rarn_edge.cli.gate import gate
    from rarn_edge.cli.stages import stages
    from rarn_edge.files import check_outputs, write_text
    from rarn_edge.report.parity import parity_markdown
    from rarn_edge.workflow.parity import parity as compare
    from rarn_edge.workflow.parity import parity_again

    check_outputs([bundle, markdown], [*(files or ()), weights, data, votes, saved, tolerances])
    of_a_run = {
        "files": files, "--model": model, "--weights": weights, "--labels": labels, "--data": data, "--split": split,
        "--votes": votes, "--provider": provider != "cpu", "--threads": threads, "--target": target != "auto",
        "--bundle": bundle, "--explain": explain, "what the network takes": not takes.says_nothing,
    }  # fmt: skip
    chosen = network_if_named(model, takes)
    if saved is None:
        with stages(err, quiet=True) as on_stage:
            done = compare(
                files or (), model=chosen, weights=weights, labels=labels, data=data, split=split, votes=votes, provider=provider,
                threads=threads, target=target, tolerances=tolerances, bundle=bundle, explain=explain,
                on_stage=on_stage, on_notice=note,
            )  # fmt: skip
    elif given := [name for name, value in of_a_run.items() if value]:
        raise InputError(f"--from judges a saved run again and runs nothing: leave out {', '.join(given)}")
    else:
        done = parity_again(saved, tolerances)
    if markdown is not None:
        write_text(markdown, parity_markdown(done.report))
    if as_json:
        print_json(done.report.to_dict())
    else:
        _print(done.report, verbose)
    if explain:
        _print_nodes(done, as_json)
    gate(done.report)
    if bundle is not None and done.evidence is not None:
        size, faces = f"{bundle.stat().st_size / 1e6:.2f} MB", done.evidence.shown.faces
        note(f"{bundle}: {size} with the pictures of {faces:,} faces in it; mind their licence")


def _print(report: "ParityReport", verbose: bool) -> None:
    from rarn_edge.report.parity import paired_line, parity_tables, telling_steps, worst_line

    tables = parity_tables(report)
    for table in tables if verbose else tables[:1]:
        out.print(table.to_rich())
    for step in telling_steps(report.steps):
        for line in (paired_line(step), worst_line(step) if verbose else None):
            if line:
                say(line)


def _print_nodes(done: "ParityResult", as_json: bool) -> None:
    from rarn_edge.report.parity import nodes_table

    for title, rows in done.explained:
        faulty = [row for row in rows if row.cause]
        if faulty and not as_json:
            out.print(nodes_table(rows, f"{title}: {len(faulty)} of {len(rows)} nodes out of tolerance").to_rich())
        first = (
            f"look at {faulty[0].node}: {faulty[0].cause}" if faulty else "every node is right by itself; errors add up"
        )
        note(f"{title}: {first}", "explained")
    if not done.explained:
        failed = "; what failed is how a file runs here" if not done.report.passed else ""
        note(f"no step from one form to the next failed{failed}", "explained")
