"""`rarn-edge evaluate`: accuracy of one model, and with --report everything else that is known of it."""

from pathlib import Path
from typing import Annotated

import typer

from rarn_edge.cli.app import (
    CHECK,
    Data,
    Device,
    Json,
    Provider,
    Split,
    Threads,
    app,
    err,
    note,
    out,
    print_json,
    say,
    with_device,
)
from rarn_edge.errors import InputError, require_extra


@app.command(rich_help_panel=CHECK)
def evaluate(
    file: Annotated[Path, typer.Argument(help="An ONNX file, or weights from `train`", metavar="MODEL")],
    data: Data,
    split: Split = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write confidence, roll, copies, plots and tables into this folder", metavar="DIR"),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(help="Another model on the same faces: difference, interval, McNemar; repeat it", metavar="MODEL"),
    ] = None,
    calibrated: Annotated[
        Path | None, typer.Option(help="Write the ONNX file again with the temperature that fits", metavar="OUT.onnx")
    ] = None,
    provider: Provider = "cpu",
    device: Device = None,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Accuracy with its 95 % interval, macro-F1 and a per-class table of a checkpoint or an ONNX file."""
    provider = with_device(provider, device)
    from rarn_edge.cli.inputs import describe, held_out_and_training, labelled_faces, read_subject
    from rarn_edge.evaluation.confidence import fit_temperature
    from rarn_edge.evaluation.judge import compare, judge
    from rarn_edge.files import make_folder
    from rarn_edge.report.evaluation_files import write_judgement
    from rarn_edge.report.progress import stage_progress
    from rarn_edge.report.tables import evaluation_table, judgement_table, paired_table
    from rarn_edge.stats.classification import evaluate_logits

    if calibrated is not None:
        _check_calibrated(file, calibrated)
    if report is not None:
        require_extra("matplotlib", "train")
        make_folder(report)
    subject = read_subject(file, provider, threads)
    others = [read_subject(path, provider, threads) for path in against or []]
    faces, training = (labelled_faces(data, split), None) if report is None else held_out_and_training(data, split)
    labels = faces.labels_in(subject.classes)
    logits = subject.predict(faces.images)
    evaluation = evaluate_logits(logits, labels, subject.classes)
    right = logits.argmax(axis=1) == labels
    result = {"file": str(file), "faces": describe(faces), **evaluation.to_dict()}
    if not as_json:
        out.print(evaluation_table(evaluation, f"{file.name} on {describe(faces)}"))
    if report is None:
        compared = [(other.name, compare(other, faces, right)) for other in others]
    else:
        with stage_progress(err) as on_stage:
            judgement = judge(
                subject,
                logits,
                faces,
                describe(faces),
                training,
                others,
                lambda model, done, total: on_stage(f"roll of {model}: {done} of {total} angles"),
            )
        compared = [(rival.model, rival.paired) for rival in judgement.against]
        written = write_judgement(judgement, report)
        result["judgement"] = judgement.to_dict()
        if not as_json:
            out.print(judgement_table(judgement))
            say(f"{report}: {', '.join(path.name for path in written)}")
        if judgement.pixels.warning:
            note(judgement.pixels.warning, "warning")
    result["against"] = [{"model": name, **paired.to_dict()} for name, paired in compared]
    if not as_json:
        for name, paired in compared:
            out.print(paired_table(paired, subject.name, name))
    if calibrated is not None:
        from rarn_edge.contract.artifact import Artifact
        from rarn_edge.pipeline.temperature import with_temperature

        made = with_temperature(Artifact.load(file), fit_temperature(logits, labels), describe(faces), calibrated)
        result["calibrated"] = {"file": str(made.path), "temperature": made.spec.temperature}
        if not as_json:
            say(f"{made.path}: {file.name} with temperature {made.spec.temperature:.3f}, fitted on {describe(faces)}")
    if as_json:
        print_json(result)


def _check_calibrated(file: Path, calibrated: Path) -> None:
    """Refuse before the work what --calibrated cannot do."""
    from rarn_edge.files import check_output

    if file.suffix == ".safetensors":
        raise InputError(
            f"--calibrated writes an ONNX file again; export first: rarn-edge export --weights {file} -o OUT.onnx"
        )
    require_extra("onnx", "export")
    check_output(calibrated)
    if calibrated.resolve() == file.resolve():
        raise InputError(f"{calibrated}: is the model itself; name another file")
