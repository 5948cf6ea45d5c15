"""Every hop of a model's way to the device, on the same inputs: each file as written, as it runs, and in other company.

torch -> each float32 file as written -> as ONNX Runtime optimises it -> INT8 computed in float ("simulated") -> INT8 as its
kernels compute it ("fused"), and what runs at other batch sizes and thread counts.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.host.threads import default_threads
from rarn_edge.parity.chain import torch_form
from rarn_edge.parity.hops import Form, Hop, compare
from rarn_edge.parity.inputs import Shown
from rarn_edge.parity.tolerances import TOLERANCES, Kind, Tolerances
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import CPU, open_session

if TYPE_CHECKING:
    from rarn_edge.train.checkpoint import Weights

BATCHES = (2, 7)
SOME = 256  # faces that are also run at those sizes and with other threads; float32 runs all one by one


def run_ledger(
    artifacts: list[Artifact],
    weights: "Weights | None",
    shown: Shown,
    *,
    provider: str = CPU,
    threads: int | None = None,
    tolerances: Tolerances = TOLERANCES,
    on_stage: Callable[[str], None] = lambda _: None,
) -> tuple[list[Hop], Form]:
    """All hops, in pipeline order, and the first form, which is the reference for a bundle.

    Memory does not grow with the images but for seven numbers a face and form.

    Raises:
        ProviderError: the provider cannot be had or does not take a whole graph.
    """
    count = threads or default_threads()
    forms: list[Form] = []
    hops: list[Hop] = []

    def add(before: Form, after: Form, kind: Kind) -> None:
        hops.extend(_hops(before, after, kind, shown, artifacts[0].spec.classes, tolerances))

    if weights is not None:
        on_stage("torch")
        forms.append(torch_form(weights, shown))
    last: Form | None = None  # of float32 files, as it runs
    for position, artifact in enumerate(artifacts):
        name, spec, precision = artifact.path.name, artifact.spec, artifact.contract.precision
        is_float = precision == "float32"
        session = open_session(artifact.path, provider, count)
        label = name if is_float else f"{name} simulated"
        on_stage(label)
        # unfused operators are too small to share among threads: whole batches are shared instead
        plain = open_unoptimised(artifact.path)
        written = Form(label, precision, run_logits(plain, spec, shown.images, callers=count, finite=False))
        if is_float and forms:
            add(forms[-1], written, "float")
        elif last is not None or forms:
            add(last or forms[-1], written, "quantize")
        forms.append(written)
        if is_float and any(later.contract.precision == "float32" for later in artifacts[position + 1 :]):
            continue  # only the last float32 file goes to a device
        on_stage(f"{name} on {provider}")
        runs = f"{name} on {provider}" if is_float else f"{name} fused" if provider == CPU else f"{name} on {provider}"
        run = Form(runs, precision, run_logits(session, spec, shown.images, finite=False))
        add(written, run, "float" if is_float else "fuse")
        if is_float:
            last = run
        elif last is not None or len(forms) > 1:
            add(last or forms[0], run, "int8")
        on_stage(f"{name} at other batch sizes and threads")
        some = shown.images[: min(SOME, shown.faces)]
        few = Form(runs, precision, run.logits[: len(some)])
        single, compared = (shown.images, run) if is_float else (some, few)
        add(compared, Form("one by one", precision, run_logits(session, spec, single, batch=1, finite=False)), "batch")
        for batch in BATCHES:
            add(
                few,
                Form(f"batches of {batch}", precision, run_logits(session, spec, some, batch=batch, finite=False)),
                "batch",
            )
        others = 1 if count > 1 else 2
        if provider == CPU:
            threaded = open_session(artifact.path, provider, others)
            plural = "" if others == 1 else "s"
            add(
                few,
                Form(f"{others} thread{plural}", precision, run_logits(threaded, spec, some, finite=False)),
                "batch",
            )
    return hops, forms[0]


def _hops(
    before: Form, after: Form, kind: Kind, shown: Shown, classes: tuple[str, ...], tolerances: Tolerances
) -> list[Hop]:
    """The hop on faces and, where both forms answered them, on the adversarial images."""
    found = []
    for inputs in shown.parts:
        if inputs == "adversarial" and len(after.logits) < len(shown.images):
            continue
        part = shown.part(inputs)
        first, second = (Form(f.name, f.precision, f.logits[part]) for f in (before, after))
        labels = None if inputs == "adversarial" or shown.labels is None else shown.labels[: len(second.logits)]
        names = shown.names[part][: len(second.logits)]
        found.append(
            compare(
                first,
                second,
                labels,
                kind=kind,
                inputs=inputs,
                names=names,
                classes=classes,
                tolerances=tolerances,
            )
        )
    return found
