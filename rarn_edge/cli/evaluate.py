"""`rarn-edge evaluate`: accuracy of one model, and with --report everything else that is known of it."""

from typing import TYPE_CHECKING

from rarn_edge.cli import options as o
from rarn_edge.cli.app import CHECK, app, err, note, out, print_json, say, with_device

if TYPE_CHECKING:
    from rarn_edge.workflow.evaluate import EvaluateResult


@app.command(rich_help_panel=CHECK)
def evaluate(
    file: o.Evaluated,
    data: o.Data,
    model: o.WeightsModel = None,
    split: o.Split = None,
    votes: o.Votes = None,
    report: o.Report = None,
    against: o.Against = None,
    calibrated: o.Calibrated = None,
    provider: o.Provider = "cpu",
    device: o.Device = None,
    threads: o.Threads = None,
    as_json: o.Json = False,
) -> None:
    """Accuracy with its 95 % interval, macro-F1 and a per-class table of a checkpoint or an ONNX file."""
    provider = with_device(provider, device)
    from rarn_edge.cli.stages import stages
    from rarn_edge.workflow.evaluate import evaluate as evaluate_file

    with stages(err, quiet=report is None) as on_stage:
        done = evaluate_file(
            file, data, model=model, split=split, votes=votes, report=report, against=against or (), calibrated=calibrated,
            provider=provider, threads=threads, on_stage=on_stage, on_notice=note,
        )  # fmt: skip
    if as_json:
        print_json(done.to_dict())
    else:
        _print(done)


def _print(done: "EvaluateResult") -> None:
    from rarn_edge.report.evaluation import evaluation_table, judgement_table, paired_table, votes_table

    out.print(evaluation_table(done.evaluation, f"{done.name} on {done.faces}").to_rich())
    if done.report is not None:
        out.print(judgement_table(done.report).to_rich())
        say(f"{done.written[0].parent}: {', '.join(path.name for path in done.written)}")
    for name, paired in done.against:
        out.print(paired_table(paired, done.name, name).to_rich())
    if done.votes is not None:
        out.print(votes_table(done.votes).to_rich())
    made = done.calibrated
    if made is not None:
        say(f"{made.file}: {done.name} with temperature {made.temperature:.3f}, fitted on {done.faces}")
