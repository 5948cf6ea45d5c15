"""Hold an ONNX file against a bundle on the machine that will run it: no torch, no onnx, no data set."""

from pathlib import Path

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.host.threads import default_threads
from rarn_edge.parity.bundle import Bundle, check_bundle_fits
from rarn_edge.parity.hops import Form, Hop, compare
from rarn_edge.parity.tolerances import Inputs, Kind
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import CPU, open_session

ALONE = 64  # faces that are also run one by one


def verify(bundle: Bundle, file: Path, provider: str = CPU, threads: int | None = None) -> list[Hop]:
    """The file as written, as `provider` runs it, and face by face, each against what it must answer.

    The graph as written runs unfused on the CPU, so the step to `provider` shows what that provider's kernels change
    (saturation above all), apart from what quantization cost.

    Raises:
        InputError: not our file, or a bundle of another model, of other weights or with other preprocessing.
        ProviderError: the provider cannot be had or does not take the whole graph.
    """
    artifact = Artifact.load(file)
    check_bundle_fits(bundle, artifact.spec, artifact.contract.provenance.get("weights_sha256"), str(file))
    precision, spec = artifact.contract.precision, artifact.spec
    session = open_session(file, provider, threads)  # first: its refusal must not wait for the rest
    written = run_logits(open_unoptimised(file, threads or default_threads()), spec, bundle.images, finite=False)
    fused = run_logits(session, spec, bundle.images, finite=False)
    alone = run_logits(session, spec, bundle.images[:ALONE], batch=1, finite=False)
    step: Kind = "float" if precision == "float32" else "quantize"
    total: Kind = "float" if precision == "float32" else "int8"
    kernels: Kind = "float" if precision == "float32" else "fuse"
    hops = []
    for inputs in bundle.shown.parts:
        part = bundle.shown.part(inputs)
        reference = Form(bundle.reference, "float32", bundle.logits[part])
        as_written = Form("written", precision, written[part])
        as_run = Form(provider, precision, fused[part])
        steps = ((reference, as_written, step), (as_written, as_run, kernels), (reference, as_run, total))
        hops += [_hop(bundle, inputs, *each) for each in steps]
    count = min(ALONE, bundle.shown.faces)
    batch, single = Form(provider, precision, fused[:count]), Form("alone", precision, alone[:count])
    return [*hops, _hop(bundle, "faces", batch, single, "batch")]


def _hop(bundle: Bundle, inputs: Inputs, before: Form, after: Form, kind: Kind) -> Hop:
    shown, count = bundle.shown, len(before.logits)
    return compare(
        before,
        after,
        None if shown.labels is None or inputs == "adversarial" else shown.labels[:count],
        kind=kind,
        inputs=inputs,
        names=shown.names[shown.part(inputs)][:count],
        classes=bundle.spec.classes,
        tolerances=bundle.tolerances,
    )
