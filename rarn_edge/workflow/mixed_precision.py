"""An INT8 file within an accuracy budget: the cheapest change that keeps the drop below what is allowed.

1. The ranges of each method at hand: another range costs no time at all.
2. With calibration faces, corrected biases: they cost no time either.
3. Sensitivity: each layer alone back in float, and what that removes of the noise in the logits.
4. Layers go back to float one by one, the noisiest first, and stay there only if the accuracy rises.

Every judgement is of the file as ONNX Runtime runs it. Each is remembered beside the output, so that an interrupted search goes
on where it stopped. A result with layers in float is refused if it is no faster than float32.
"""

import hashlib
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.bench.runner import time_files
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.decode import decode
from rarn_edge.errors import GateError, InputError, first_line
from rarn_edge.files import check_output, write_text
from rarn_edge.parity.outputs import file_form
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.prepare import Prepared, prepare
from rarn_edge.pipeline.quantize import Quantized, quantize
from rarn_edge.runtime.operators import WEIGHTED_OPS
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.sqnr import sqnr_db

SENSITIVITY_FACES = 256
ROUNDS, STARTS = 60, 3


@dataclass(frozen=True)
class SearchOptions:
    """What a search may choose from, and what it must keep to."""

    target: Target
    ranges: tuple[Ranges, ...]  # to choose from, the preferred ones first
    max_drop_points: float  # of accuracy, such as 0.3
    input_dtype: InputDtype = "float32"  # of the file to write
    calibration: Faces | None = None  # other faces, to correct biases on; None: biases stay


@dataclass(frozen=True)
class Trial:
    """One INT8 file that was judged."""

    method: str
    in_float: tuple[str, ...]
    right: int  # faces decided rightly
    flipped: int  # decisions that differ from float32's
    signal_db: float  # of the logits against float32's
    biases_corrected: bool = False


@dataclass(frozen=True)
class Reverted:
    """A layer that went back to float: what it gained and what it costs."""

    node: str
    gained_points: float
    cost_s: float  # median, batch 1, one thread


@dataclass(frozen=True)
class MixedPrecision:
    """The file written, how it was reached, and its speed beside float32."""

    quantized: Quantized
    method: str
    drop_points: float
    reverted: tuple[Reverted, ...]
    sensitivity: tuple[Trial, ...]  # each with one layer in float, the noisiest layer first; empty if not needed
    latency_ratio: float  # over float32; below 1 is faster
    biases_corrected: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def quantize_within(
    source: Artifact | Prepared,
    faces: Faces,
    out: Path,
    options: SearchOptions,
    on_step: Callable[[str], None] = lambda _: None,
    on_notice: Callable[[str], None] = lambda _: None,
) -> MixedPrecision:
    """Write an INT8 file that loses at most `options.max_drop_points` of accuracy on `faces`.

    Args:
        source: The float32 file, or what was prepared of it.
        faces: Labelled; judged in full.
        out: The file to write.
        options: What to choose from.
        on_step: Told what is being tried.
        on_notice: Told when an earlier search cannot be gone on with, and why.

    Raises:
        InputError: unusable input.
        GateError: the budget cannot be held, or only with layers in float that cost the whole speed-up; nothing is written.
    """
    check_output(out)
    allowed = options.max_drop_points
    if not options.ranges or not allowed >= 0:  # nor NaN
        raise InputError("--max-drop takes a number of points, 0 or more")
    prepared = prepare(source)
    with tempfile.TemporaryDirectory() as folder:
        on_step("float32")
        search = _Search(prepared, options, faces, out, Path(folder), on_step)
        search.resume(on_notice)
        kept = search.cheapest()
        sensitivity = search.sensitivity(kept[0].method) if search.drop(kept[0]) > allowed else []
        for (node,) in (trial.in_float for trial in sensitivity):
            if search.drop(kept[-1]) <= allowed:
                break
            trial = search.judge(kept[0].method, (*kept[-1].in_float, node), biases=kept[0].biases_corrected)
            if trial.right > kept[-1].right:
                kept.append(trial)
        final = kept[-1]
        if search.drop(final) > allowed:
            raise GateError(
                f"the budget of {allowed:g} points cannot be held: the best INT8 file loses {search.drop(final):.2f}"
                f" with {len(final.in_float)} layers in float32; keep float32, or allow more with --max-drop"
            )
        on_step("timing")
        times = search.time([None, *kept])
        _, ratio = times[-1]
        if final.in_float and ratio.value >= 1:
            raise GateError(
                f"the budget of {allowed:g} points holds only with {', '.join(final.in_float)} in float32, and then INT8"
                f" takes {ratio.value:.2f}x of float32's time: keep float32"
            )
        float32_s, _ = times[0]
        costs_s = [float32_s * ratio.value for _, ratio in times[1:]]  # of the same launches, unlike the medians
        reverted = tuple(
            Reverted(
                after.in_float[-1],
                100 * (after.right - before.right) / len(faces),
                costs_s[index + 1] - costs_s[index],
            )
            for index, (before, after) in enumerate(itertools.pairwise(kept))
        )
        done = search.write(final.method, final.in_float, final.biases_corrected, out)
        search.state.unlink(missing_ok=True)
    return MixedPrecision(
        done, final.method, search.drop(final), reverted, tuple(sensitivity), ratio.value, final.biases_corrected
    )


@dataclass
class _Search:
    """Judges INT8 files and remembers every answer in `<out>.search.json`."""

    prepared: Prepared
    options: SearchOptions
    faces: Faces
    out: Path
    folder: Path  # for the files that are judged
    on_step: Callable[[str], None]

    def __post_init__(self) -> None:
        options, source = self.options, self.prepared.model.source
        self.float32 = self.prepared.model.save(self.folder / "float32.onnx")
        self.labels: NDArray[np.int64] = self.faces.labels_in(self.float32.spec.classes)
        self.reference = file_form(self.float32, self.faces).logits
        self.state = self.out.with_name(f"{self.out.name}.search.json")
        identity: list[object] = [None if source is None else source.sha256, options.target.value, options.input_dtype]
        identity += [faces and faces.sha256() for faces in (self.faces, options.calibration)]
        identity += [[each.method, each.sample_sha256, sorted(each.tensors.items())] for each in options.ranges]
        self.identity = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        self.known: dict[str, Trial] = {}

    @cached_property
    def right(self) -> int:
        """Faces that float32 decides rightly."""
        return int((self.reference.argmax(1) == self.labels).sum())

    def drop(self, trial: Trial) -> float:
        """Points of accuracy lost."""
        return 100 * (self.right - trial.right) / len(self.faces)

    def resume(self, on_notice: Callable[[str], None]) -> None:
        """Take over what an interrupted search of exactly this found; anything else is started over, and told."""
        if not self.state.exists():
            return
        try:
            data = json.loads(self.state.read_text(encoding="utf-8"))
            identity = data["identity"]
            trials = {key: decode(Trial, fields) for key, fields in data["trials"].items()}
        except (InputError, OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            on_notice(f"{self.state} is damaged: the search starts over ({first_line(error)})")
            return
        methods = {ranges.method for ranges in self.options.ranges}
        if identity == self.identity and {trial.method for trial in trials.values()} <= methods:
            self.known = trials
        else:
            on_notice(f"{self.state} is of another model or data: the search starts over")

    def cheapest(self) -> list[Trial]:
        """Rules 1 and 2: the best of all ranges and, where that is not enough, with corrected biases."""
        allowed, (first, *others) = self.options.max_drop_points, self.options.ranges
        tried = [self.judge(first.method, ())]
        for ranges in others:
            if self.drop(tried[-1]) <= allowed:
                break
            tried = [_better(tried[-1], self.judge(ranges.method, ()))]
        if self.drop(tried[-1]) > allowed and self.options.calibration is not None:
            tried = [_better(tried[-1], self.judge(tried[-1].method, (), biases=True))]
        return tried

    def write(self, method: str, in_float: tuple[str, ...], biases: bool, path: Path) -> Quantized:
        """One INT8 file."""
        ranges = next(each for each in self.options.ranges if each.method == method)
        faces = self.options.calibration if biases else None
        return quantize(self.prepared, self.options.target, ranges, path, self.options.input_dtype, in_float, faces)

    def _path(self, method: str, in_float: tuple[str, ...], biases: bool) -> Path:
        path = self.folder / f"{hashlib.sha256(repr((method, in_float, biases)).encode()).hexdigest()[:16]}.onnx"
        if not path.exists():
            self.write(method, in_float, biases, path)
        return path

    def judge(self, method: str, in_float: tuple[str, ...], faces: int | None = None, biases: bool = False) -> Trial:
        """One INT8 file on the first `faces` faces (default all)."""
        count = len(self.faces) if faces is None else min(faces, len(self.faces))
        key = json.dumps([method, in_float, count, biases])
        if key not in self.known:
            corrected = ", biases corrected" if biases else ""
            last = f": {in_float[-1]}" if in_float else ""
            self.on_step(f"{method}{corrected}, {len(in_float)} layers in float{last}")
            part = self.faces.where(np.arange(count))
            logits = file_form(Artifact.load(self._path(method, in_float, biases)), part).logits
            decisions, reference = logits.argmax(1), self.reference[:count]
            self.known[key] = Trial(
                method,
                in_float,
                int((decisions == self.labels[:count]).sum()),
                int((decisions != reference.argmax(1)).sum()),
                sqnr_db(reference, logits),
                biases,
            )
            trials = {key: asdict(trial) for key, trial in self.known.items()}
            write_text(self.state, json.dumps({"identity": self.identity, "trials": trials}, indent=1) + "\n")
        return self.known[key]

    def sensitivity(self, method: str) -> list[Trial]:
        """Each weighted layer alone in float, the one that removes most noise first."""
        nodes = self.prepared.integer.graph.node
        layers = [node.name for node in nodes if node.op_type in WEIGHTED_OPS]
        trials = [self.judge(method, (name,), SENSITIVITY_FACES) for name in layers]
        return sorted(trials, key=lambda trial: -trial.signal_db)

    def time(self, trials: Sequence[Trial | None]) -> tuple[tuple[float, Interval], ...]:
        """Median seconds and ratio to the first, interleaved, batch 1 and one thread; None is float32."""
        artifacts = [
            self.float32 if t is None else Artifact.load(self._path(t.method, t.in_float, t.biases_corrected))
            for t in trials
        ]
        return time_files([artifact.path for artifact in artifacts], 1, ROUNDS, STARTS).files


def _better(one: Trial, other: Trial) -> Trial:
    return max(one, other, key=lambda trial: (trial.right, trial.signal_db))
