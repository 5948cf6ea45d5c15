"""Compare the forms of a model step by step, from torch to INT8 on a device; write the evidence, or name the node at fault."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.contract.targets import detect_host
from rarn_edge.errors import InputError, require_extra
from rarn_edge.evaluation.sanity import doubts
from rarn_edge.files import check_outputs
from rarn_edge.parity.bundle import Bundle, make_bundle, save_bundle
from rarn_edge.parity.inputs import Shown, show
from rarn_edge.parity.outputs import check_same_model
from rarn_edge.parity.report import ParityReport, compare_forms, rejudge
from rarn_edge.parity.steps import Execution, Form, Origin
from rarn_edge.parity.tolerances import TOLERANCES, read_tolerances
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, OnStage, SomePaths, each_of, ignore, warn
from rarn_edge.workflow.inputs import (
    CALIBRATION_IMAGES,
    comparison_faces,
    ranges_for,
    read_target,
    read_weights,
    tell_origin,
)

if TYPE_CHECKING:  # they need torch or onnx, which a device has not
    from rarn_edge.data import Faces
    from rarn_edge.models.find import AnyNetwork
    from rarn_edge.parity.explain import NodeRow
    from rarn_edge.train.checkpoint import Weights

EXPLAINED_FACES = 16


@dataclass(frozen=True)
class ParityResult:
    """The report; the evidence for a device, where the run was made now; and the nodes of each failed step, if asked for."""

    report: ParityReport
    evidence: Bundle | None = None
    explained: "tuple[tuple[str, list[NodeRow]], ...]" = ()  # (`rarn-s -> rarn-s.int8`, its nodes in graph order)


def parity(
    files: SomePaths = (),
    *,
    model: "AnyNetwork | None" = None,
    spec: ModelSpec | None = None,
    weights: AnyPath | None = None,
    labels: str | None = None,
    data: AnyPath | None = None,
    split: str | None = None,
    votes: AnyPath | None = None,
    provider: str = "cpu",
    threads: int | None = None,
    target: str = "auto",
    tolerances: AnyPath | None = None,
    bundle: AnyPath | None = None,
    explain: bool = False,
    on_stage: OnStage = ignore,
    on_notice: OnNotice = warn,
) -> ParityResult:
    """Compare the forms of one model on the same faces, each with the one before it.

    Args:
        files: ONNX files in pipeline order; none: every form is made anew, in a folder that is gone afterwards.
        model: Start in torch, with this model's shipped weights (or as a callable made it, or as a module is) ...
        spec: The contract of a callable or a module.
        weights: ... or with these.
        labels: Of the shipped weights: `ferplus` (default) or `fer2013`.
        data: Labelled faces (default: synthetic ones).
        votes: People's votes for `data` (FER+): their majority is then the label.
        split: Of `data` (default: the held-out one).
        provider: That runs the last forms; never falls back to another.
        threads: Default: the cores this process may use.
        target: Of the INT8 file that is made anew.
        tolerances: A TOML file with other limits.
        bundle: Write the evidence for `verify` here, if every step passes.
        explain: Compare the nodes of each failed step.
        on_stage: Told what is being done.
        on_notice: Told what a caller should know.

    Returns:
        Figures and checks of each step; `result.report.passed` says whether all hold.

    Raises:
        InputError: nothing to compare, files of different models or weights, or unusable faces.
        ProviderError: the provider cannot be had or does not take a whole graph.

    Example:
        >>> import rarn_edge
        >>> from rarn_edge.assets import shipped_onnx
        >>> result = rarn_edge.parity([shipped_onnx("rarn-n")], threads=1)
        >>> result.report.passed, result.report.steps[0].measured.kind
        (True, 'fuse')
    """
    files = each_of(files)
    limits = TOLERANCES if tolerances is None else read_tolerances(Path(tolerances))
    if explain:
        require_extra("onnx", "export")
    check_outputs([None if bundle is None else Path(bundle)], [*files, weights, data, votes, tolerances])
    named = [Artifact.load(Path(file)) for file in files]
    for artifact in named:
        tell_origin(artifact, on_notice)
    if not named and model is None and weights is None:
        raise InputError("compare what? Name ONNX files, or --model rarn-s to make and compare every form of it")
    if labels is not None and model is None and weights is None:
        raise InputError("--labels chooses between shipped weights: name their --model, or leave it out")
    if named and target != "auto":
        raise InputError("--target is of an INT8 file that is made anew, and these files are there; leave it out")
    precisions = [artifact.contract.precision for artifact in named]
    if "float32" in precisions[1:] and precisions[0] != "float32":
        raise InputError(
            f"{named[0].path}: is {precisions[0]}; name the float32 file before what was made of it:"
            f" rarn-edge parity {named[precisions.index('float32')].path.name} {named[0].path.name}"
        )
    start = None if model is None and weights is None else read_weights(model, weights, labels, spec)
    if bundle is not None and start is None and named[0].contract.precision != "float32":
        raise InputError("--bundle needs float32 answers: name the float32 file first, or --model to start in torch")
    with tempfile.TemporaryDirectory(prefix="rarn-edge-") as folder:
        artifacts = named
        if not named and start is not None:
            from rarn_edge.workflow.model_files import make_files

            own = start.network is not None and start.network.own
            ranges = ranges_for(start, data if own else None, CALIBRATION_IMAGES, on_notice=on_notice)
            artifacts = make_files(start, read_target(target, on_notice), Path(folder), ranges, on_stage).artifacts
        if start is None:
            check_same_model(artifacts)
        else:
            check_same_model(artifacts, start.spec, start.sha256)
        here = detect_host()
        for artifact in artifacts:
            made_for = artifact.contract.target
            if here.mismatch(made_for) is not None:
                text = f"made for {made_for}, and {here.target} runs other kernels: check it there too, with verify"
                on_notice(text, "warning")
        contract = artifacts[0].spec
        faces = comparison_faces(data, split, contract, votes=votes, on_notice=on_notice)
        shown = show(*faces, contract.preprocess)
        first = None
        if start is not None:
            on_stage("torch")
            first = torch_form(start, shown)
        report, reference = compare_forms(
            artifacts, shown, first, provider=provider, threads=threads, tolerances=limits, on_stage=on_stage
        )
        explained = _explain(report, artifacts, start, shown, on_stage) if explain else ()
    if data is None and any(not step.passed and step.measured.kind == "int8" for step in report.steps):
        on_notice(
            "judged on drawn faces, which are unlike the pictures that INT8 ranges were measured on: --data DATA takes yours",
            "",
        )
    if shown.labels is not None:
        for doubt in doubts(reference.logits[: shown.faces], shown.labels, contract):
            on_notice(doubt, "warning")
    made_from = start.sha256 if start else artifacts[0].contract.provenance.get("weights_sha256")
    evidence = make_bundle(contract, shown, reference, made_from, limits, named)
    if bundle is not None and report.passed:
        save_bundle(evidence, Path(bundle))
    return ParityResult(report, evidence, explained)


def parity_again(saved: AnyPath, tolerances: AnyPath | None = None) -> ParityResult:
    """Judge what `rarn-edge parity --json` printed by other tolerances; nothing is run.

    Raises:
        InputError: not such a file.
    """
    limits = TOLERANCES if tolerances is None else read_tolerances(Path(tolerances))
    return ParityResult(rejudge(Path(saved), limits))


def torch_form(weights: "Weights", faces: "Faces | Shown") -> Form:
    """The answers of the torch model, the first of all forms."""
    from rarn_edge.train.evaluate import torch_logits

    logits = torch_logits(weights.model(), weights.spec.preprocess, faces.images)
    return Form("torch", "float32", logits, Origin(Execution.TORCH))


def _explain(
    report: ParityReport, artifacts: list[Artifact], start: "Weights | None", shown: Shown, on_stage: OnStage
) -> "tuple[tuple[str, list[NodeRow]], ...]":
    """Node by node, each failed step from one form to the next."""
    from rarn_edge.parity.explain import explain, failed_pairs

    images = shown.images[:EXPLAINED_FACES]
    found = []
    from_torch = [step for step in report.steps if step.before is not None and step.before.execution is Execution.TORCH]
    if start is not None and not all(step.passed for step in from_torch):
        from rarn_edge.workflow.explain_torch import explain_torch

        on_stage("export anew, to name modules")
        found.append((f"torch -> {artifacts[0].path.name}", explain_torch(start, artifacts[0], images)))
    for before, after in failed_pairs(report.steps, artifacts):
        found.append((f"{before.path.name} -> {after.path.name}", explain(before, after, images)))
    return tuple(found)
