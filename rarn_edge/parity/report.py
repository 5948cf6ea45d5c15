"""Every step of a model's way to the device, on the same inputs: each file as written, as it runs, and in other company.

torch -> each float32 file as written -> as ONNX Runtime optimises it -> INT8 computed in float ("simulated") -> INT8 as its
kernels compute it ("fused"), and what runs at other batch sizes and thread counts.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rarn_edge.boundary.documents import read_json
from rarn_edge.boundary.paths import reason
from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.errors import InputError, first_line
from rarn_edge.host.threads import default_threads
from rarn_edge.parity.inputs import Shown
from rarn_edge.parity.steps import (
    Execution,
    Form,
    Origin,
    Step,
    compare_shown,
    judge,
    measurement_from_dict,
    would_pass,
)
from rarn_edge.parity.tolerances import TOLERANCES, Kind, Tolerances
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import CPU, open_session

SCHEMA_VERSION = 1
BATCHES = (2, 7)
SOME = 256  # faces that are also run at those sizes and with other threads; float32 runs all one by one


@dataclass(frozen=True)
class ParityReport:
    """All steps in pipeline order, what was shown, and the classes by index."""

    steps: tuple[Step, ...]
    faces: str
    classes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return all(step.passed for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Everything measured and judged; each step with the tightest limits that it would pass."""
        return {
            "schema_version": SCHEMA_VERSION,
            "faces": self.faces,
            "classes": list(self.classes),
            "hops": [{**step.to_dict(), "would_pass": asdict(would_pass(step))} for step in self.steps],
        }


def rejudge(path: Path, tolerances: Tolerances) -> ParityReport:
    """A saved report held against `tolerances`; nothing is run.

    Raises:
        InputError: not a parity report of this version.
    """
    try:
        data = read_json(path)
        version = data["schema_version"]
        saved, faces, classes = list(data["hops"]), str(data["faces"]), tuple(map(str, data["classes"]))
    except InputError as error:
        raise InputError(f"{path}: not what `rarn-edge parity --json` prints ({reason(error, path)})") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        lacking = f"it has no {error}" if isinstance(error, KeyError) else first_line(error)
        raise InputError(f"{path}: not what `rarn-edge parity --json` prints ({lacking})") from error
    if version != SCHEMA_VERSION or not saved:
        raise InputError(
            f"{path}: a parity report of schema {version} with {len(saved)} steps; run rarn-edge parity --json anew"
        )
    measured = [measurement_from_dict(step, str(path)) for step in saved]
    if any(len(each.decisions.classes) != len(classes) for each in measured):
        raise InputError(f"{path}: not what `rarn-edge parity --json` prints (a step is of other classes)")
    steps = tuple(judge(each, tolerances[each.inputs][each.kind]) for each in measured)
    return ParityReport(steps, faces, classes)


def compare_forms(
    artifacts: list[Artifact],
    shown: Shown,
    start: Form | None = None,
    *,
    provider: str = CPU,
    threads: int | None = None,
    tolerances: Tolerances = TOLERANCES,
    on_stage: Callable[[str], None] = lambda _: None,
) -> tuple[ParityReport, Form]:
    """All steps from `start` (torch's answers), or from the first file, and the first form: the reference for a bundle.

    Memory does not grow with the images but for seven numbers a face and form.

    Raises:
        ProviderError: the provider cannot be had or does not take a whole graph.
    """
    count = threads or default_threads()
    classes = artifacts[0].spec.classes
    forms: list[Form] = [] if start is None else [start]
    steps: list[Step] = []

    def add(before: Form, after: Form, kind: Kind) -> None:
        steps.extend(compare_shown(before, after, kind, shown, classes, tolerances))

    last: Form | None = None  # of float32 files, as it runs
    for position, artifact in enumerate(artifacts):
        name, spec, precision = artifact.path.name, artifact.spec, artifact.contract.precision
        is_float = precision == "float32"
        session = open_session(artifact.path, provider, count)
        label = name if is_float else f"{name} simulated"
        on_stage(label)
        # unfused operators are too small to share among threads: whole batches are shared instead
        batch = artifact.contract.batch
        plain = run_logits(open_unoptimised(artifact.path), spec, shown.images, batch, callers=count, finite=False)
        written = Form(label, precision, plain, Origin(Execution.WRITTEN, artifact.path))
        if is_float and forms:
            add(forms[-1], written, "float")
        elif last is not None or forms:
            add(last or forms[-1], written, "quantize")
        forms.append(written)
        if is_float and any(later.contract.precision == "float32" for later in artifacts[position + 1 :]):
            continue  # only the last float32 file goes to a device
        on_stage(f"{name} on {provider}")
        runs = f"{name} fused" if provider == CPU and not is_float else f"{name} on {provider}"
        as_run = run_logits(session, spec, shown.images, batch, finite=False)
        run = Form(runs, precision, as_run, Origin(Execution.RUN, artifact.path))
        add(written, run, "float" if is_float else "fuse")
        if is_float:
            last = run
        elif last is not None or len(forms) > 1:
            add(last or forms[0], run, "int8")
        on_stage(f"{name} at other batch sizes and threads")
        some = shown.images[: min(SOME, shown.faces)]
        varied = {f"batches of {size}": run_logits(session, spec, some, batch=size, finite=False) for size in BATCHES}
        if provider == CPU:
            others = 1 if count > 1 else 2
            threaded = open_session(artifact.path, provider, others)
            varied[f"{others} thread{'' if others == 1 else 's'}"] = run_logits(
                threaded, spec, some, batch, finite=False
            )
        single = run_logits(session, spec, shown.images if is_float else some, batch=1, finite=False)
        for how, logits in {"one by one": single, **varied}.items():
            add(run, Form(how, precision, logits, Origin(Execution.VARIED, artifact.path)), "batch")
    return ParityReport(tuple(steps), shown.description, classes), forms[0]
