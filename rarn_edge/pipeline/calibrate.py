"""Activation ranges from real images, in flat memory whatever their number.

One pass finds the extremes of each tensor (`minmax` needs no more), a second its histogram between them; every method of
`histograms` reads its range from that, so that comparing methods costs no third pass. ONNX Runtime's own calibrators keep every
activation of every image instead.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.assets import shipped_labels, shipped_models, shipped_ranges
from rarn_edge.boundary.documents import read_json, to_json
from rarn_edge.boundary.paths import reason
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import model_input
from rarn_edge.data import Faces
from rarn_edge.data.stream import Images, batch_for, batches
from rarn_edge.decode import decode
from rarn_edge.errors import InputError
from rarn_edge.files import write_text
from rarn_edge.host.threads import default_threads
from rarn_edge.onnx_graph import LoadedModel, tapped_session
from rarn_edge.pipeline.prepare import Prepared, prepare
from rarn_edge.stats.histograms import BINS, DEFAULT_METHOD, Method, find_range

BATCH = 32
BATCH_PIXELS = 224 * 224
SCHEMA_VERSION = 2
_MAKE = "make one with: rarn-edge quantize --calib DATA --save-ranges FILE"
SEVERAL_IMAGES = 32  # fewer do not show what a tensor can reach

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Ranges:
    """The range [low, high] of each float tensor of one graph, and what it was measured on."""

    tensors: dict[str, tuple[float, float]]
    method: Method
    images: int
    weights_sha256: str | None  # of the network the ranges belong to, where its file states it
    model_sha256: str  # of the float32 file they were measured with
    sample: str  # what was shown to it
    sample_sha256: str

    def belong_to(self, model: LoadedModel) -> bool:
        """Whether they were measured on this network: the same weights or, for one that names none, the same file."""
        if model.weights_sha256 is None and self.weights_sha256 is None:
            return model.source is not None and self.model_sha256 == model.source.sha256
        return self.weights_sha256 == model.weights_sha256

    def save(self, path: Path) -> None:
        content = {"schema_version": SCHEMA_VERSION, **self.__dict__}
        write_text(path, to_json(content, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Ranges":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or not a ranges file.
        """
        try:
            data = read_json(path)
            if not isinstance(data, dict) or data.pop("schema_version", None) != SCHEMA_VERSION:
                raise InputError(f"schema_version is not {SCHEMA_VERSION}")
            ranges = decode(cls, data)
            if not all(low <= high for low, high in ranges.tensors.values()):
                raise InputError("a range is upside down")
        except InputError as error:
            raise InputError(f"{path}: not a ranges file ({reason(error, path)}); {_MAKE}") from error
        return ranges


def ranges_of(model: str, weights_sha256: str | None) -> Ranges:
    """The ranges shipped for these weights of `model`.

    Raises:
        InputError: these weights are not the shipped ones, so their ranges must be measured.
    """
    if model not in shipped_models():
        raise InputError(f"no activation ranges are shipped for '{model}'; measure them with --calib DATA")
    for labels in shipped_labels(model):
        ranges = Ranges.load(shipped_ranges(model, labels))
        if ranges.weights_sha256 == weights_sha256:
            return ranges
    raise InputError(
        f"the ranges shipped for '{model}' were measured on other weights; measure yours with --calib DATA"
    )


@dataclass(frozen=True)
class Observed:
    """What every float tensor of one graph reached over some images; any method's ranges follow from it."""

    lows: dict[str, float]
    highs: dict[str, float]
    histograms: dict[str, NDArray[np.int64]]  # [BINS] each; empty after a single pass
    images: int
    weights_sha256: str | None
    model_sha256: str
    sample: str
    sample_sha256: str

    def ranges(self, method: Method) -> Ranges:
        """The ranges of one method; zero is always inside, since padding, ReLU and absent values are zeros."""
        none = np.zeros(BINS, dtype=np.int64)
        found = {
            name: find_range(method, self.histograms.get(name, none), self.lows[name], self.highs[name])
            for name in self.lows
        }
        tensors = {name: (min(0.0, low), max(0.0, high)) for name, (low, high) in found.items()}
        return Ranges(
            tensors,
            method,
            self.images,
            self.weights_sha256,
            self.model_sha256,
            self.sample,
            self.sample_sha256,
        )


@dataclass(frozen=True)
class MethodRow:
    """One method's INT8 file beside float32 (`name` float32 is the reference itself)."""

    name: str
    accuracy: float | None  # None: the faces have no labels that mean anything
    agreement: float
    signal_db: float


def calibrate(
    source: Artifact | Prepared, faces: Faces, method: Method = DEFAULT_METHOD, on_progress: OnProgress | None = None
) -> Ranges:
    """`observe` in as many passes as `method` needs, and its ranges."""
    return observe(source, faces, method != "minmax", on_progress).ranges(method)


def observe(
    source: Artifact | Prepared, faces: Faces, histograms: bool = True, on_progress: OnProgress | None = None
) -> Observed:
    """Run `faces` through every float tensor of a float32 model, once or twice; `on_progress(done, total)` counts images.

    Raises:
        InputError: no faces, not a float32 model, or a tensor that is not finite (named).
    """
    if len(faces) == 0:
        raise InputError("calibration needs at least one image")
    prepared = prepare(source, "calibration needs the float32 file")
    model = prepared.model
    tap = _Tap(prepared, faces)
    total = len(faces) * (2 if histograms else 1)
    done = 0

    def report(images: int) -> None:
        nonlocal done
        done += images
        if on_progress is not None:
            on_progress(done, total)

    lows, highs = tap.extremes(report)
    counts = tap.histograms(lows, highs, report) if histograms else {}
    classes = np.bincount(faces.labels[faces.labels >= 0], minlength=1).tolist()
    return Observed(
        lows=lows,
        highs=highs,
        histograms=counts,
        images=len(faces),
        weights_sha256=model.weights_sha256,
        model_sha256="" if model.source is None else model.source.sha256,
        sample=f"{len(faces)} images of {Path(faces.source).name}, per class {classes}",
        sample_sha256=_sample_sha256(faces.images),
    )


def check_sample(faces: Faces) -> list[str]:
    """What is wrong with a calibration set, one line each: it works, but its ranges will be poor.

    Raises:
        InputError: every image is constant, so that no range would mean anything.
    """
    constant = 0
    for pixels in batches(faces.images, BATCH):
        flat = pixels.reshape(len(pixels), -1)
        constant += int((flat.min(axis=1) == flat.max(axis=1)).sum())
    if constant == len(faces):
        raise InputError(
            f"all {len(faces)} calibration images are of one gray value each; ranges measured on them would mean nothing"
        )
    found = []
    if constant:
        found.append(f"{constant} of {len(faces)} calibration images are of one gray value each: leave them out")
    if len(faces) < SEVERAL_IMAGES:
        found.append(f"only {len(faces)} calibration images clip rare activations: give some hundreds")
    labels = np.unique(faces.labels[faces.labels >= 0])
    if len(labels) == 1 and len(faces) > 1:
        found.append("the calibration images are all of one class: give some of each")
    return found


def _sample_sha256(images: Images) -> str:
    digest = hashlib.sha256()
    for pixels in batches(images, BATCH):
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


class _Tap:
    """A session whose every float tensor is an output: a held resource, so that both passes share it."""

    def __init__(self, prepared: Prepared, faces: Faces) -> None:
        self.names = list(prepared.activations)
        self.spec = prepared.model.spec
        self.faces = faces
        self.fetched = [name for name in self.names if name != self.spec.input_name]
        self.session = tapped_session(prepared.integer, self.fetched, default_threads())

    def _batches(self, report: Callable[[int], None]) -> Iterator[Any]:
        size = batch_for(self.spec.preprocess, BATCH, BATCH_PIXELS)  # of large pictures few: every tensor is kept
        for pixels in batches(self.faces.images, size):
            inputs = model_input(pixels, self.spec)
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
                    bins = ((value.ravel() - np.float32(lows[name])) * scale).astype(np.int32)
                    counts[name] += np.bincount(np.clip(bins, 0, BINS - 1), minlength=BINS)
        return counts
