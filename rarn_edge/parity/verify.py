"""Hold an ONNX file against a bundle on the machine that will run it: no torch, no onnx, no data set."""

from pathlib import Path

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.host.threads import default_threads
from rarn_edge.parity.bundle import Bundle, check_bundle_fits
from rarn_edge.parity.report import ParityReport
from rarn_edge.parity.steps import Execution, Form, Origin, compare_shown
from rarn_edge.parity.tolerances import Kind
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import CPU, open_session

ALONE = 64  # faces that are also run one by one


def verify(bundle: Bundle, file: Path, provider: str = CPU, threads: int | None = None) -> ParityReport:
    """The file as written, as `provider` runs it, and face by face, each against what it must answer.

    The graph as written runs unfused on the CPU, so the step to `provider` shows what that provider's kernels change
    (saturation above all), apart from what quantization cost.

    Raises:
        InputError: not our file, or a bundle of another model, of other weights or with other preprocessing.
        ProviderError: the provider cannot be had or does not take the whole graph.
    """
    artifact = Artifact.load(file)
    check_bundle_fits(bundle, artifact.spec, artifact.contract.provenance.get("weights_sha256"), str(file))
    precision, spec, shown, batch = artifact.contract.precision, artifact.spec, bundle.shown, artifact.contract.batch
    session = open_session(file, provider, threads)  # first: its refusal must not wait for the rest
    plain = run_logits(open_unoptimised(file, threads or default_threads()), spec, shown.images, batch, finite=False)
    few = shown.images[: min(ALONE, shown.faces)]
    reference = Form(bundle.reference, "float32", bundle.logits, Origin(Execution.RECORDED))
    written = Form("written", precision, plain, Origin(Execution.WRITTEN, file))
    as_run = run_logits(session, spec, shown.images, batch, finite=False)
    run = Form(provider, precision, as_run, Origin(Execution.RUN, file))
    alone = Form(
        "alone", precision, run_logits(session, spec, few, batch=1, finite=False), Origin(Execution.VARIED, file)
    )
    kinds: tuple[Kind, Kind, Kind] = ("quantize", "fuse", "int8")
    if precision == "float32":
        kinds = ("float", "float", "float")
    pairs: tuple[tuple[Form, Form, Kind], ...] = (
        (reference, written, kinds[0]),
        (written, run, kinds[1]),
        (reference, run, kinds[2]),
        (run, alone, "batch"),
    )
    steps = [step for pair in pairs for step in compare_shown(*pair, shown, spec.classes, bundle.tolerances)]
    steps.sort(key=lambda step: (step.measured.kind == "batch", shown.parts.index(step.measured.inputs)))
    return ParityReport(tuple(steps), shown.description, spec.classes)
