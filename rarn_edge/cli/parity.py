"""`rarn-edge parity`: compare the forms of a model."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rarn_edge.cli.app import (
    CHECK,
    Device,
    Json,
    OptionalData,
    Provider,
    Split,
    Target,
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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.parity.bundle import Bundle
    from rarn_edge.parity.explain import NodeRow
    from rarn_edge.parity.hops import Hop
    from rarn_edge.parity.tolerances import Tolerances
    from rarn_edge.train.checkpoint import Weights

EXPLAINED_FACES = 16


@app.command(rich_help_panel=CHECK)
def parity(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="ONNX files in pipeline order (default: made anew)", metavar="MODEL.onnx..."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Start the chain in torch, with this model's weights")] = None,
    weights: Annotated[Path | None, typer.Option(help="Start the chain in torch, with these weights")] = None,
    data: OptionalData = None,
    split: Split = None,
    provider: Provider = "cpu",
    device: Device = None,
    threads: Threads = None,
    target: Target = "auto",
    bundle: Annotated[
        Path | None, typer.Option(help="Write the evidence for `verify` on a device, if it passes")
    ] = None,
    saved: Annotated[
        Path | None, typer.Option("--from", help="Judge what --json printed again; nothing is run")
    ] = None,
    tolerances: Annotated[Path | None, typer.Option(help="TOML with other limits, such as [faces.int8]")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also write the ledger as Markdown")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Name the first node of each failed hop, and why")] = False,
    as_json: Json = False,
) -> None:
    """Compare the forms of a model hop by hop: torch, ONNX, simplified, optimised, INT8. Exit code 1 when a hop fails."""
    provider = with_device(provider, device)
    from rarn_edge.cli.gate import gate
    from rarn_edge.files import check_output, write_text
    from rarn_edge.parity.saved import judge_again, ledger_to_dict
    from rarn_edge.parity.tolerances import TOLERANCES, read_tolerances
    from rarn_edge.report.decisions import decision_tables, paired_line, telling_hops, worst_line
    from rarn_edge.report.ledger import ledger_table, limits_table, nodes_table
    from rarn_edge.report.markdown import ledger_markdown

    for path in (bundle, markdown):
        if path is not None:
            check_output(path)
    limits = TOLERANCES if tolerances is None else read_tolerances(tolerances)
    if saved is not None:
        if files or model or weights or data or bundle or explain:
            raise InputError(
                "--from judges a saved run again; it takes no model, data or bundle, and runs no --explain"
            )
        judged = _Judged(*judge_again(saved, limits))
    else:
        if explain:
            require_extra("onnx", "export")
        with tempfile.TemporaryDirectory(prefix="rarn-edge-") as folder:
            chain = _chain(files or [], model, weights, target, bundle is not None, Path(folder))
            judged = _run(chain, data, split, provider, threads, limits, explain)
    if markdown is not None:
        write_text(markdown, ledger_markdown(judged.hops, judged.description, judged.classes))
    if as_json:
        print_json(ledger_to_dict(judged.hops, judged.description, judged.classes))
    else:
        out.print(ledger_table(judged.hops, judged.description))
        out.print(limits_table(judged.hops))
        for hop in telling_hops(judged.hops):
            for table in decision_tables(hop, judged.classes):
                out.print(table)
            for line in (paired_line(hop), worst_line(hop)):
                if line:
                    say(line)
    for title, rows in judged.explained:
        faulty = [row for row in rows if row.cause]
        if faulty and not as_json:
            out.print(nodes_table(rows, f"{title}: {len(faulty)} of {len(rows)} nodes out of tolerance"))
        first = (
            f"look at {faulty[0].node}: {faulty[0].cause}" if faulty else "every node is right by itself; errors add up"
        )
        note(f"{title}: {first}", "explained")
    if explain and not judged.explained:
        note("no hop from one form to the next failed", "explained")
    gate(judged.hops)
    if bundle is not None and judged.evidence is not None:
        from rarn_edge.parity.bundle import save_bundle

        save_bundle(judged.evidence, bundle)
        size = f"{bundle.stat().st_size / 1e6:.2f} MB"
        note(f"{bundle}: {size} with the pictures of {judged.evidence.shown.faces:,} faces in it; mind their licence")


@dataclass(frozen=True)
class _Chain:
    """The forms to compare, in order; `start` in torch, or None."""

    artifacts: list["Artifact"]
    start: "Weights | None"
    named: list["Artifact"]  # those the user has; the others are gone after this run
    folder: Path  # for files of this run


@dataclass(frozen=True)
class _Judged:
    """What was found: hops, on which faces, and the evidence of a run made now."""

    hops: list["Hop"]
    description: str
    classes: tuple[str, ...]
    evidence: "Bundle | None" = None
    explained: Sequence[tuple[str, list["NodeRow"]]] = ()


def _chain(
    files: list[Path], model: str | None, weights: Path | None, target: str, bundled: bool, folder: Path
) -> _Chain:
    """The files named, or every form made anew in `folder`."""
    from rarn_edge.cli.inputs import read_target, read_weights
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.parity.chain import check_same_model
    from rarn_edge.report.progress import quiet_or_progress

    named = [Artifact.load(file) for file in files]
    if not named and not model and not weights:
        raise InputError("compare what? Name ONNX files, or --model rarn-s to make and compare every form of it")
    name = model or (named[0].spec.name if named else "rarn-s")
    start = read_weights(name, weights) if model or weights else None
    if bundled and start is None and named[0].contract.precision != "float32":
        raise InputError("--bundle needs float32 answers: name the float32 file first, or --model to start in torch")
    artifacts = named
    if not named and start is not None:
        from rarn_edge.pipeline.calibrate import ranges_of
        from rarn_edge.pipeline.run import make_forms

        with quiet_or_progress(err) as on_stage:
            ranges = ranges_of(name, start.sha256)
            artifacts = make_forms(start, read_target(target), folder, ranges, on_stage).artifacts
    check_same_model(artifacts, start)
    return _Chain(artifacts, start, named, folder)


def _run(
    chain: _Chain,
    data: Path | None,
    split: str | None,
    provider: str,
    threads: int | None,
    limits: "Tolerances",
    explain: bool,
) -> _Judged:
    from rarn_edge.cli.inputs import comparison_faces
    from rarn_edge.parity.bundle import make_bundle
    from rarn_edge.parity.inputs import show
    from rarn_edge.parity.ledger import run_ledger
    from rarn_edge.report.progress import quiet_or_progress

    spec, start = chain.artifacts[0].spec, chain.start
    faces, labels, description = comparison_faces(data, split, spec.classes)
    shown = show(faces, labels, description, spec.preprocess)
    with quiet_or_progress(err) as on_stage:
        hops, reference = run_ledger(
            chain.artifacts, start, shown, provider=provider, threads=threads, tolerances=limits, on_stage=on_stage
        )
        explained = _explain(chain, hops, shown.images[:EXPLAINED_FACES], on_stage) if explain else []
    made_from = start.sha256 if start else chain.artifacts[0].contract.provenance.get("weights_sha256")
    evidence = make_bundle(spec, shown, reference, made_from, limits, chain.named)
    return _Judged(hops, description, spec.classes, evidence, explained)


def _explain(
    chain: _Chain, hops: list["Hop"], images: "NDArray[np.uint8]", on_stage: "Callable[[str], None]"
) -> list[tuple[str, list["NodeRow"]]]:
    """Node by node, each failed step from one form to the next."""
    from rarn_edge.parity.explain import explain, failed_pairs

    found = []
    if chain.start is not None and any(hop.before == "torch" and not hop.passed for hop in hops):
        from rarn_edge.parity.hooks import explain_torch

        on_stage("export anew, to name modules")
        rows = explain_torch(chain.start, chain.artifacts[0], images, chain.folder)
        found.append((f"torch -> {chain.artifacts[0].path.name}", rows))
    for before, after in failed_pairs(hops, chain.artifacts):
        found.append((f"{before.path.name} -> {after.path.name}", explain(before, after, images)))
    return found
