"""An INT8 file within an accuracy budget: the cheapest change that keeps the drop below what is allowed.

1. The ranges of each method at hand: another range costs no time at all.
2. With calibration faces, corrected biases: they cost no time either.
3. Sensitivity: each layer alone back in float, and what that removes of the noise in the logits.
4. Layers go back to float one by one, the noisiest first, and stay there only if the accuracy rises.

Every judgement is of the file as ONNX Runtime runs it. Each is remembered beside the output, so that an interrupted search goes
on where it stopped; a result that is slower than float32 is refused.
"""

import hashlib
import itertools
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.bench.runner import time_files
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import InputDtype
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.errors import GateError, InputError, first_line
from rarn_edge.files import check_output, write_text
from rarn_edge.parity.chain import file_form
from rarn_edge.parity.hops import signal_to_noise_db
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.graph import load_graph
from rarn_edge.pipeline.integer import integer_form
from rarn_edge.pipeline.quantize import WEIGHTED_OPS, Quantized, quantize
from rarn_edge.stats.interval import Interval

SENSITIVITY_FACES = 256
ROUNDS, STARTS = 60, 3


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
class BudgetResult:
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
    artifact: Artifact,
    target: Target,
    options: Sequence[Ranges],
    faces: Faces,
    out: Path,
    max_drop_points: float,
    input_dtype: InputDtype = "float32",
    calibration: Faces | None = None,
    on_step: Callable[[str], None] = lambda _: None,
    on_notice: Callable[[str], None] = lambda _: None,
) -> BudgetResult:
    """Write an INT8 file that loses at most `max_drop_points` of accuracy on `faces`.

    Args:
        artifact: The float32 file.
        target: What the file is made for.
        options: Ranges to choose from, the preferred ones first.
        faces: Labelled; judged in full.
        out: The file to write.
        max_drop_points: Such as 0.3.
        input_dtype: Of the file to write.
        calibration: Other faces, to correct biases on; None: biases stay.
        on_step: Told what is being tried.
        on_notice: Told when an earlier search cannot be gone on with, and why.

    Raises:
        InputError: unusable input.
        GateError: the budget cannot be held, or only at the price of the speed-up; nothing is written.
    """
    check_output(out)
    if not options or max_drop_points < 0:
        raise InputError("--max-drop takes a number of points, 0 or more")
    labels = faces.labels_in(artifact.spec.classes)
    on_step("float32")
    reference = file_form(artifact, faces).logits
    right = int((reference.argmax(1) == labels).sum())
    with tempfile.TemporaryDirectory() as folder:
        search = _Search(
            artifact, target, options, faces, labels, reference, input_dtype, calibration, out, Path(folder), on_step
        )
        search.resume(on_notice)

        def drop(trial: Trial) -> float:
            return 100 * (right - trial.right) / len(faces)

        best = search.judge(options[0].method, ())
        for ranges in options[1:]:
            if drop(best) <= max_drop_points:
                break
            best = max(best, search.judge(ranges.method, ()), key=lambda trial: (trial.right, trial.signal_db))
        if drop(best) > max_drop_points and calibration is not None:
            corrected = search.judge(best.method, (), biases=True)
            best = max(best, corrected, key=lambda trial: (trial.right, trial.signal_db))
        biases = best.biases_corrected
        sensitivity: list[Trial] = []
        kept: list[Trial] = [best]
        if drop(best) > max_drop_points:
            sensitivity = search.sensitivity(best.method)
        for (node,) in (trial.in_float for trial in sensitivity):
            if drop(kept[-1]) <= max_drop_points:
                break
            trial = search.judge(best.method, (*kept[-1].in_float, node), biases=biases)
            if trial.right > kept[-1].right:
                kept.append(trial)
        final = kept[-1]
        if drop(final) > max_drop_points:
            raise GateError(
                f"the budget of {max_drop_points:g} points cannot be held: the best INT8 file loses {drop(final):.2f}"
                f" with {len(final.in_float)} layers in float32; keep float32, or allow more with --max-drop"
            )
        on_step("timing")
        times = search.time([None, *kept])
        _, ratio = times[-1]
        if final.in_float and ratio.value >= 1:
            raise GateError(
                f"the budget of {max_drop_points:g} points holds only with {', '.join(final.in_float)} in float32, and then INT8"
                f" takes {ratio.value:.2f}x of float32's time: keep float32"
            )
        float32_s, _ = times[0]
        costs_s = [float32_s * ratio.value for _, ratio in times[1:]]  # of the same starts, unlike the medians
        reverted = tuple(
            Reverted(
                after.in_float[-1],
                100 * (after.right - before.right) / len(faces),
                costs_s[index + 1] - costs_s[index],
            )
            for index, (before, after) in enumerate(itertools.pairwise(kept))
        )
        ranges = next(ranges for ranges in options if ranges.method == final.method)
        done = quantize(artifact, target, ranges, out, input_dtype, final.in_float, calibration if biases else None)
        search.state.unlink(missing_ok=True)
    return BudgetResult(done, final.method, drop(final), reverted, tuple(sensitivity), ratio.value, biases)


class _Search:
    """Judges INT8 files and remembers every answer in `<out>.search.json`."""

    def __init__(
        self,
        artifact: Artifact,
        target: Target,
        options: Sequence[Ranges],
        faces: Faces,
        labels: NDArray[np.int64],
        reference: NDArray[np.float32],
        input_dtype: InputDtype,
        calibration: Faces | None,
        out: Path,
        folder: Path,
        on_step: Callable[[str], None],
    ) -> None:
        self.artifact, self.target, self.input_dtype = artifact, target, input_dtype
        self.options: Mapping[str, Ranges] = {ranges.method: ranges for ranges in options}
        self.faces, self.labels, self.reference = faces, labels, reference
        self.calibration, self.folder, self.on_step = calibration, folder, on_step
        self.state = out.with_name(f"{out.name}.search.json")
        identity: list[object] = [artifact.sha256, target.value, input_dtype, faces.sha256()]
        identity.append(None if calibration is None else calibration.sha256())
        identity += [[ranges.method, ranges.sample_sha256, sorted(ranges.tensors.items())] for ranges in options]
        self.identity = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        self.known: dict[str, Trial] = {}

    def resume(self, on_notice: Callable[[str], None]) -> None:
        """Take over what an interrupted search of exactly this found; anything else is started over, and told."""
        if not self.state.exists():
            return
        try:
            data = json.loads(self.state.read_text(encoding="utf-8"))
            identity = data["identity"]
            trials = {key: _trial(fields) for key, fields in data["trials"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            on_notice(f"{self.state} is damaged, starting the search over ({first_line(error)})")
            return
        if identity == self.identity:
            self.known = trials
        else:
            on_notice(f"{self.state} is of another model, target, ranges or faces, starting the search over")

    def _path(self, method: str, in_float: tuple[str, ...], biases: bool) -> Path:
        path = self.folder / f"{hashlib.sha256(repr((method, in_float, biases)).encode()).hexdigest()[:16]}.onnx"
        if not path.exists():
            bias_faces = self.calibration if biases else None
            quantize(self.artifact, self.target, self.options[method], path, self.input_dtype, in_float, bias_faces)
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
                signal_to_noise_db(reference, logits),
                biases,
            )
            trials = {key: asdict(trial) for key, trial in self.known.items()}
            write_text(self.state, json.dumps({"identity": self.identity, "trials": trials}, indent=1) + "\n")
        return self.known[key]

    def sensitivity(self, method: str) -> list[Trial]:
        """Each weighted layer alone in float, the one that removes most noise first."""
        nodes = integer_form(load_graph(self.artifact.path)).graph.node
        layers = [node.name for node in nodes if node.op_type in WEIGHTED_OPS]
        trials = [self.judge(method, (name,), SENSITIVITY_FACES) for name in layers]
        return sorted(trials, key=lambda trial: -trial.signal_db)

    def time(self, trials: Sequence[Trial | None]) -> tuple[tuple[float, Interval], ...]:
        """Median seconds and ratio to the first, interleaved, batch 1 and one thread; None is float32."""
        artifacts = [
            self.artifact if t is None else Artifact.load(self._path(t.method, t.in_float, t.biases_corrected))
            for t in trials
        ]
        return time_files([artifact.path for artifact in artifacts], 1, ROUNDS, STARTS).files


def _trial(fields: dict[str, Any]) -> Trial:
    """Read what was kept of one.

    Raises:
        TypeError, KeyError: it is something else.
    """
    trial = Trial(**{**fields, "in_float": tuple(fields["in_float"])})
    if not (isinstance(trial.right, int) and isinstance(trial.signal_db, float)):
        raise TypeError("a trial without figures")
    return trial
