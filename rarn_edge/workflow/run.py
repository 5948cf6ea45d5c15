"""The pipeline from weights to a report: export, simplify, quantize, parity, benchmark, each stage checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rarn_edge.bench.cases import load_cases
from rarn_edge.bench.config import BenchConfig
from rarn_edge.bench.result import BenchReport
from rarn_edge.bench.runner import benchmark
from rarn_edge.boundary.documents import to_json
from rarn_edge.boundary.limits import MAX_THREADS, check_count
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError, require_extras
from rarn_edge.files import check_apart, make_folder, write_text
from rarn_edge.host.threads import default_threads
from rarn_edge.models.catalog import CATALOG
from rarn_edge.parity.inputs import show
from rarn_edge.parity.report import ParityReport, compare_forms
from rarn_edge.workflow.callbacks import AnyPath, OnNotice, OnStage, ignore, warn
from rarn_edge.workflow.inputs import CALIBRATION_IMAGES, comparison_faces, ranges_for, read_target, read_weights
from rarn_edge.workflow.model_files import ModelFiles, make_files, named_models
from rarn_edge.workflow.parity import torch_form

if TYPE_CHECKING:
    from rarn_edge.models.find import AnyNetwork

BENCH_ROUNDS = 100


@dataclass(frozen=True)
class RunResult:
    """What a run made and found; `files` are (path, what it is)."""

    parity: ParityReport
    bench: BenchReport
    kept_because: str | None  # why the graph was not simplified
    files: tuple[tuple[Path, str], ...]


def run(
    folder: AnyPath,
    model: "AnyNetwork | None" = None,
    *,
    spec: ModelSpec | None = None,
    weights: AnyPath | None = None,
    labels: str | None = None,
    target: str = "auto",
    data: AnyPath | None = None,
    split: str | None = None,
    votes: AnyPath | None = None,
    calib: AnyPath | None = None,
    images: int | None = None,
    baselines: bool = True,
    threads: int | None = None,
    seed: int | None = None,
    on_stage: OnStage = ignore,
    on_notice: OnNotice = warn,
) -> RunResult:
    """Run every stage in `folder`; a failed parity step is in the result, not an exception, so that the report exists.

    Args:
        folder: Of everything that is made; it need not exist.
        model: Of the catalog, `my_net.py:build`, a callable that makes a network, or an `nn.Module` as it is (default: what
            the weights are of, else `rarn-s`).
        spec: The contract of a callable or a module: name, classes, input.
        weights: From training (default: the shipped ones, or what the callable made).
        labels: Of the shipped weights: `ferplus` (default) or `fer2013`.
        target: What the INT8 file is for; `auto`: this machine.
        data: Labelled faces to compare on (default: synthetic ones).
        split: Of `data` (default: the held-out one).
        votes: People's votes for `data` (FER+): their majority is then the label.
        calib: Data to measure activation ranges on (default: the shipped ranges; of a network of one's own drawn faces, which is
            said).
        images: How many of them (default: 512).
        baselines: Benchmark beside the baseline models.
        threads: Of parity (default: the cores this process may use); the benchmark has one.
        seed: Of the calibration sample (default: 0).
        on_stage: Told what is being done.
        on_notice: Told what a caller should know.

    Raises:
        InputError: unusable weights, ranges, data or folder.
        GateError: the export itself is not what was asked for.

    Example:
        >>> import rarn_edge
        >>> rarn_edge.run("build/demo", "rarn-s").parity.passed  # doctest: +SKIP
        True
    """
    require_extras("export")
    require_extras("report")
    if threads is not None:
        check_count(threads, "threads", MAX_THREADS)
    if images is not None and calib is None:
        raise InputError("--images says how many faces to measure ranges on; name them: --calib DATA")
    if seed is not None and calib is None:
        raise InputError("--seed is of the faces that ranges are measured on; name them: --calib DATA")
    from rarn_edge.report.page import bench_page, run_markdown
    from rarn_edge.workflow.answers import answers_of

    loaded = read_weights(model, weights, labels, spec)
    name = loaded.spec.name
    named = ("{}.exported.onnx", "{}.onnx", "{}.int8.onnx", "report.md", "report.html", "report.json")
    check_apart([Path(folder, each.format(name)) for each in named], [weights, data, calib, votes], [data, calib])
    chosen, out = read_target(target, on_notice), Path(folder)
    ranges = ranges_for(loaded, calib, images or CALIBRATION_IMAGES, seed or 0, on_notice)
    faces = comparison_faces(data, split, loaded.spec, votes=votes, on_notice=on_notice)
    make_folder(out)
    made = make_files(loaded, chosen, out, ranges, on_stage)
    shown = show(*faces, loaded.spec.preprocess)
    on_stage("parity of torch")
    parity, _ = compare_forms(
        made.artifacts,
        shown,
        torch_form(loaded, shown),
        threads=threads or default_threads(),
        on_stage=lambda form: on_stage(f"parity of {form}"),
    )
    paths = [made.simplified.path, made.int8.path]
    if baselines:
        names = [entry.name for entry in CATALOG.values() if entry.role == "baseline"]
        on_stage(f"export the baselines {', '.join(names)}")
        paths += [artifact.path for artifact in named_models(names, out / "baselines")]
    on_stage("benchmark")
    bench = benchmark(load_cases(paths), BenchConfig(threads=(1,), rounds=BENCH_ROUNDS, audit=True, title=name))
    on_stage("answers")
    answers = answers_of([made.simplified.path, made.int8.path], faces, threads)
    bench = answers.beside(bench)
    on_stage("report")
    write_text(out / "report.md", run_markdown(name, parity, bench))
    write_text(out / "report.html", bench_page(bench, parity, answers.plots))
    steps = [step.to_dict() for step in parity.steps]
    data_of_it = {"model": name, "faces": parity.faces, "hops": steps, "bench": bench.to_dict()}
    write_text(out / "report.json", to_json(data_of_it, indent=1) + "\n")
    return RunResult(parity, bench, made.kept_because, _files(made, chosen, out))


def _files(made: ModelFiles, target: Target, folder: Path) -> tuple[tuple[Path, str], ...]:
    return (
        (made.simplified.path, "float32 model"),
        (made.int8.path, f"INT8 model for {target.value}"),
        (folder / "report.md", "parity and benchmark, to read"),
        (folder / "report.html", "the same as one page with plots"),
        (folder / "report.json", "the same with raw samples, for programs"),
    )
