"""The pipeline from weights to a report: export, simplify, quantize, parity, benchmark, each stage checked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.bench.cases import load_cases
from rarn_edge.bench.request import Request
from rarn_edge.bench.result import BenchReport
from rarn_edge.bench.run import benchmark
from rarn_edge.boundary.documents import to_json
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.files import write_text
from rarn_edge.models.catalog import CATALOG
from rarn_edge.parity.hops import Hop
from rarn_edge.parity.inputs import show
from rarn_edge.parity.ledger import run_ledger
from rarn_edge.pipeline.calibrate import Ranges, calibrate
from rarn_edge.pipeline.named import named_models
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.pipeline.simplify import simplify
from rarn_edge.pipeline.to_onnx import export
from rarn_edge.report.html import bench_page
from rarn_edge.report.markdown import report_markdown
from rarn_edge.train.checkpoint import Weights

BENCH_ROUNDS = 100


@dataclass(frozen=True)
class PipelineResult:
    """What a run made and found; `files` are (path, what it is)."""

    hops: tuple[Hop, ...]
    bench: BenchReport
    kept_because: str | None  # why the graph was not simplified
    files: tuple[tuple[Path, str], ...]


def export_and_simplify(weights: Weights, out: Path, simplified: bool = True) -> tuple[Artifact, str | None]:
    """Export to `out`, simplified unless the check fails or it is not wanted; also returns why it was not."""
    if not simplified:
        return export(weights, out), None
    raw = out.with_name(f".{out.stem}.exported.onnx")
    try:
        done = simplify(export(weights, raw), out)
    finally:
        raw.unlink(missing_ok=True)
    return done.artifact, done.kept_because


@dataclass(frozen=True)
class Forms:
    """The files of one model in pipeline order."""

    exported: Artifact
    simplified: Artifact
    int8: Artifact
    kept_because: str | None  # why the graph was not simplified

    @property
    def artifacts(self) -> list[Artifact]:
        return [self.exported, self.simplified, self.int8]


def make_forms(
    weights: Weights, target: Target, folder: Path, calibration: Faces | Ranges, on_stage: Callable[[str], None]
) -> Forms:
    """Export, simplify and quantize into `folder`; `calibration` is the ranges, or the faces to measure them on.

    Raises:
        InputError: unusable weights, ranges or folder.
        GateError: the export itself is not what was asked for.
    """
    name = weights.spec.name
    on_stage(f"export {name}")
    exported = export(weights, folder / f"{name}.exported.onnx")
    on_stage("simplify")
    simplified = simplify(exported, folder / f"{name}.onnx")
    on_stage(f"quantize for {target.value}")
    ranges = calibration if isinstance(calibration, Ranges) else calibrate(simplified.artifact, calibration)
    int8 = quantize(simplified.artifact, target, ranges, folder / f"{name}.int8.onnx").artifact
    return Forms(exported, simplified.artifact, int8, simplified.kept_because)


def run_pipeline(
    weights: Weights,
    folder: Path,
    target: Target,
    faces: Faces,
    labels: NDArray[np.int64] | None,
    faces_description: str,
    *,
    calibration: Faces | Ranges,
    baselines: bool,
    threads: int,
    on_stage: Callable[[str], None],
) -> PipelineResult:
    """Run every stage in `folder`; a failed parity hop is in the result, not an exception, so that the report exists.

    `calibration` is the activation ranges, or the faces to measure them on.

    Raises:
        InputError: unusable weights, ranges or folder.
        GateError: the export itself is not what was asked for.
    """
    name = weights.spec.name
    made = make_forms(weights, target, folder, calibration, on_stage)
    shown = show(faces, labels, faces_description, weights.spec.preprocess)
    hops, _ = run_ledger(
        made.artifacts, weights, shown, threads=threads, on_stage=lambda form: on_stage(f"parity of {form}")
    )
    paths = [made.simplified.path, made.int8.path]
    if baselines:
        names = [entry.name for entry in CATALOG.values() if entry.role == "baseline"]
        on_stage(f"export the baselines {', '.join(names)}")
        paths += [artifact.path for artifact in named_models(names, folder / "baselines")]
    on_stage("benchmark")
    bench = benchmark(load_cases(paths), Request(threads=(1,), rounds=BENCH_ROUNDS, audit=True, title=name))
    on_stage("report")
    report = folder / "report.md"
    write_text(report, report_markdown(name, hops, faces_description, bench))
    data = {
        "model": name,
        "faces": faces_description,
        "hops": [hop.to_dict() for hop in hops],
        "bench": bench.to_dict(),
    }
    page = folder / "report.html"
    write_text(page, bench_page(bench, hops, faces_description))
    write_text(folder / "report.json", to_json(data, indent=1) + "\n")
    files = (
        (made.simplified.path, "float32 model"),
        (made.int8.path, f"INT8 model for {target.value}"),
        (report, "parity and benchmark, to read"),
        (page, "the same as one page with plots"),
        (folder / "report.json", "the same with raw samples, for programs"),
    )
    return PipelineResult(tuple(hops), bench, made.kept_because, files)
