"""Activation ranges from real images, in flat memory whatever their number.

`minmax` needs one pass. `percentile` needs a second for a histogram of each tensor between its extremes, and cuts the tails
that a few outliers stretch; on a trained net of this family it kept 0.4 points that minmax lost.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx
from numpy.typing import NDArray

from rarn_edge.artifact import Artifact, open_unoptimised
from rarn_edge.data import Faces
from rarn_edge.errors import InputError
from rarn_edge.files import write_text
from rarn_edge.pipeline.graph import float_activations, load_graph
from rarn_edge.preprocess import to_input
from rarn_edge.threads import default_threads

Method = Literal["minmax", "percentile"]

BATCH = 32
BINS = 2048
PERCENTILE = 99.99  # of the values kept, both tails together
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Ranges:
    """The range [low, high] of each float tensor of one graph, and what it was measured on."""

    tensors: dict[str, tuple[float, float]]
    method: Method
    images: int
    weights_sha256: str | None  # of the network the ranges belong to
    sample: str  # what was shown to it

    def save(self, path: Path) -> None:
        content = {"schema_version": SCHEMA_VERSION, **self.__dict__}
        write_text(path, json.dumps(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Ranges":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or not a ranges file.
        """
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("schema_version") != SCHEMA_VERSION or data["method"] not in get_args(Method):
                raise ValueError("another schema version or method")
            data["tensors"] = {name: (float(low), float(high)) for name, (low, high) in data["tensors"].items()}
            if not all(low <= high and np.isfinite([low, high]).all() for low, high in data["tensors"].values()):
                raise ValueError("a range is not finite or upside down")
            return cls(**data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not a ranges file ({error}); make one with: rarn-edge quantize --calib DATA"
            ) from error


def calibrate(
    artifact: Artifact,
    faces: Faces,
    method: Method = "percentile",
    on_progress: Callable[[int, int], None] | None = None,
) -> Ranges:
    """Measure the range of every float tensor of `artifact` over `faces`; `on_progress(done, total)` counts images.

    Raises:
        InputError: no faces, or a tensor that is not finite (node named).
    """
    if len(faces) == 0:
        raise InputError("calibration needs at least one image")
    if artifact.contract.precision != "float32":
        raise InputError(
            f"{artifact.path}: calibration needs the float32 file; this one is {artifact.contract.precision}"
        )
    model = onnx.shape_inference.infer_shapes(load_graph(artifact.path))
    names = list(float_activations(model))
    tap = _Tap(model, names, artifact, faces)
    total = len(faces) * (2 if method == "percentile" else 1)
    done = 0

    def report(images: int) -> None:
        nonlocal done
        done += images
        if on_progress is not None:
            on_progress(done, total)

    lows, highs = tap.extremes(report)
    if method == "percentile":
        lows, highs = _cut_tails(tap.histograms(lows, highs, report), lows, highs)
    # zero must be representable exactly: padding, ReLU and absent values are zeros
    tensors = {name: (min(0.0, lows[name]), max(0.0, highs[name])) for name in names}
    classes = np.bincount(faces.labels[faces.labels >= 0], minlength=1).tolist()
    sample = f"{len(faces)} images of {Path(faces.source).name}, per class {classes}"
    return Ranges(tensors, method, len(faces), artifact.contract.provenance.get("weights_sha256"), sample)


class _Tap:
    """A session whose every float tensor is an output: a held resource, so that both passes share it."""

    def __init__(self, model: onnx.ModelProto, names: list[str], artifact: Artifact, faces: Faces) -> None:
        self.names = names
        self.spec = artifact.spec
        self.faces = faces
        outputs = {value.name for value in model.graph.output}
        inputs = {value.name for value in model.graph.input}
        self.fetched = [name for name in names if name not in inputs]
        for name in self.fetched:
            if name not in outputs:
                model.graph.output.add(name=name).type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        self.session = open_unoptimised(model.SerializeToString(), threads=default_threads())

    def _batches(self, report: Callable[[int], None]) -> Any:
        for start in range(0, len(self.faces), BATCH):
            inputs = to_input(self.faces.images[start : start + BATCH], self.spec.preprocess)
            values = self.session.run(self.fetched, {self.spec.input_name: inputs})
            yield zip([self.spec.input_name, *self.fetched], [inputs, *values], strict=True)
            report(len(inputs))

    def extremes(self, report: Callable[[int], None]) -> tuple[dict[str, float], dict[str, float]]:
        lows = dict.fromkeys(self.names, float("inf"))
        highs = dict.fromkeys(self.names, float("-inf"))
        for batch in self._batches(report):
            for name, value in batch:
                low, high = float(value.min()), float(value.max())
                if not (np.isfinite(low) and np.isfinite(high)):
                    raise InputError(
                        f"tensor '{name}' is not finite on these images ({low}..{high}); check weights and images"
                    )
                lows[name], highs[name] = min(lows[name], low), max(highs[name], high)
        return lows, highs

    def histograms(
        self, lows: dict[str, float], highs: dict[str, float], report: Callable[[int], None]
    ) -> dict[str, NDArray[np.int64]]:
        counts = {name: np.zeros(BINS, dtype=np.int64) for name in self.names}
        for batch in self._batches(report):
            for name, value in batch:
                if highs[name] > lows[name]:
                    scale = np.float32((BINS - 1) / (highs[name] - lows[name]))
                    bins = ((value.ravel() - np.float32(lows[name])) * scale).astype(np.int64)
                    counts[name] += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
        return counts


def _cut_tails(
    histograms: dict[str, NDArray[np.int64]], lows: dict[str, float], highs: dict[str, float]
) -> tuple[dict[str, float], dict[str, float]]:
    """Move each extreme inwards so that half of (100 - PERCENTILE) % of the values lies beyond it."""
    cut_lows, cut_highs = dict(lows), dict(highs)
    tail = (1 - PERCENTILE / 100) / 2
    for name, counts in histograms.items():
        total = counts.sum()
        if total == 0:
            continue  # a constant tensor: its extremes are its range
        cumulative = np.cumsum(counts) / total
        width = (highs[name] - lows[name]) / (BINS - 1)
        cut_lows[name] = lows[name] + width * int(np.searchsorted(cumulative, tail, side="right"))
        cut_highs[name] = lows[name] + width * (int(np.searchsorted(cumulative, 1 - tail, side="left")) + 1)
        cut_highs[name] = min(cut_highs[name], highs[name])
    return cut_lows, cut_highs
