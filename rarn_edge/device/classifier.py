"""A model ready to answer: from pictures to labels with calibrated probabilities.

>>> from rarn_edge.data import synthetic_faces
>>> classifier = Classifier("rarn-s")  # the INT8 file for this machine, from inside the package
>>> faces = synthetic_faces(3, seed=1).images  # or paths, bytes, arrays of any size
>>> answers = classifier.predict(list(faces))
>>> len(answers), answers[0].label in classifier.classes, abs(sum(answers[0].probabilities) - 1) < 1e-5
(3, True, True)
>>> Classifier("rarn-s", min_confidence=0.999999).predict(faces[0])[0].abstained
True
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.limits import LARGEST_PIXELS, MAX_BATCH, MAX_FILE_BYTES, MAX_PIXELS, check_count
from rarn_edge.boundary.paths import read_bytes
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import decode, fit, model_input
from rarn_edge.contract.targets import detect_host
from rarn_edge.data.stream import batch_for
from rarn_edge.device.model import find_model_file
from rarn_edge.errors import InputError
from rarn_edge.runtime.logits import BATCH, BATCH_PIXELS, run_logits
from rarn_edge.runtime.providers import CPU, open_session
from rarn_edge.stats.classification import softmax

ColourOrder = Literal["rgb", "bgr"]
Image = NDArray[np.uint8] | str | Path | bytes
"""A face crop: a path, an image file's bytes, or uint8 pixels [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]."""


@dataclass(frozen=True)
class Prediction:
    """One face: the likeliest class, the probability and logit of every class, in the order of `classes`.

    `abstained` says that `confidence` is below the classifier's `min_confidence`: `label` is then a guess not to rely on.
    """

    label: str
    confidence: float
    abstained: bool
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]  # of the calibrated softmax
    logits: tuple[float, ...]
    latency_s: float = field(compare=False)  # this face's share of the time of its batch, preprocessing included

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary, probabilities and logits by class name."""
        return {
            "label": self.label,
            "confidence": self.confidence,
            "abstained": self.abstained,
            "probabilities": dict(zip(self.classes, self.probabilities, strict=True)),
            "logits": dict(zip(self.classes, self.logits, strict=True)),
            "latency_s": self.latency_s,
        }


class Classifier:
    """An ONNX Runtime session over a file with a contract, which fixes preprocessing, classes and temperature.

    Answers depend on the image alone, and calls from several threads may share one classifier: it holds no state but the
    session, whose `run` is thread-safe.
    """

    def __init__(
        self,
        model: str | Path = "rarn-s",
        *,
        labels: str | None = None,
        provider: str = CPU,
        threads: int | None = None,
        min_confidence: float = 0.0,
        batch: int = BATCH,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Open a model.

        Args:
            model: The name of a shipped model, or the path of an ONNX file that rarn-edge wrote or stamped.
            labels: Of a shipped model: `ferplus` (default; what people see) or `fer2013`.
            provider: `cpu`, `cuda`, ...; never falls back to another.
            threads: Threads within an operator (default: the cores this process may use).
            min_confidence: Predictions below it are marked as `abstained`; 0..1.
            batch: At most so many images go through the network at once; one, where the file is of dynamic INT8.
            max_pixels: Larger image files are refused before they are decoded.

        Raises:
            InputError: no such model, not an ONNX file, no contract, or an option out of range.
            ProviderError: the provider cannot be had.
        """
        if not isinstance(min_confidence, int | float) or not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence is between 0 and 1, found {min_confidence!r}")
        check_count(batch, "batch", MAX_BATCH)
        check_count(max_pixels, "max_pixels", LARGEST_PIXELS)
        path = find_model_file(model, labels)
        self._session = open_session(path, provider, threads)
        self.artifact = Artifact.of_session(path, self._session)
        self.min_confidence = min_confidence
        self._batch = self.artifact.contract.batch or batch
        self._max_pixels = max_pixels

    def __repr__(self) -> str:
        return f"Classifier({str(self.artifact.path)!r}: {self.artifact.spec.name}, {self.artifact.contract.precision})"

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names, in the order of `Prediction.probabilities`."""
        return self.artifact.spec.classes

    @property
    def in_colour(self) -> bool:
        """Whether the model looks at colours."""
        return self.artifact.spec.preprocess.in_colour

    @property
    def host_warning(self) -> str | None:
        """One line when an INT8 file was made for another kind of CPU than this one."""
        return detect_host().mismatch(self.artifact.contract.target)

    def predict(
        self, images: Image | Sequence[Image] | NDArray[np.uint8], *, colour: ColourOrder = "rgb"
    ) -> list[Prediction]:
        """Classify face crops, batched; the answers are in the order of the images, one image gives a list of one.

        Args:
            images: One image or many: see `Image`. An array [N, H, W] whose last axis is neither 1, 3 nor 4 and an array
                [N, H, W, C] are batches; a list may mix sizes and kinds. No images give no answers.
            colour: The channel order of colour arrays (OpenCV reads `bgr`).

        Raises:
            InputError: an image that cannot be read, another type than uint8, or another shape; which one is named.
        """
        if colour not in get_args(ColourOrder):
            raise InputError(f"colour is one of {', '.join(get_args(ColourOrder))}, found {colour!r}")
        start_s = time.perf_counter()
        items = split_images(images)
        answers: list[Prediction] = []
        for first in range(0, len(items), self._batch):
            part = items[first : first + self._batch]
            answers += self.predict_pixels(self.pixels(part, first, colour), start_s)
            start_s = time.perf_counter()
        return answers

    def predict_pixels(self, pixels: NDArray[np.uint8], start_s: float | None = None) -> list[Prediction]:
        """Classify what `pixels` gives; `start_s`, by `time.perf_counter`: since when it took time."""
        start_s = time.perf_counter() if start_s is None else start_s
        logits = self.logits(pixels)
        return self.answers(logits, (time.perf_counter() - start_s) / max(1, len(pixels)))

    def logits(self, pixels: NDArray[np.uint8], finite: bool = True) -> NDArray[np.float32]:
        """The answers [n, classes] to what `pixels` gives; without `finite` also those that are no numbers.

        Raises:
            InputError: ONNX Runtime cannot run the model, or an answer is no number.
        """
        spec = self.artifact.spec
        batch = batch_for(spec.preprocess, self._batch, BATCH_PIXELS)  # fewer of large ones
        return run_logits(self._session, spec, pixels, batch, finite=finite)

    def pixels(self, images: Sequence[Image], first: int = 0, colour: ColourOrder = "rgb") -> NDArray[np.uint8]:
        """What the model is shown: gray [n, height_px, width_px] or, in colour, [n, height_px, width_px, 3] (red, green, blue);
        `first` is the number of the first in messages."""
        preprocess = self.artifact.spec.preprocess
        pixels = np.empty((len(images), *preprocess.picture_shape), dtype=np.uint8)
        for index, image in enumerate(images):
            pixels[index] = fit(self._picture(image, first + index, colour), preprocess)
        return pixels

    def answers(self, logits: NDArray[np.float32], latency_s: float) -> list[Prediction]:
        """Logits [n, classes] as predictions."""
        spec = self.artifact.spec
        probabilities = softmax(logits, spec.temperature)
        best = probabilities.argmax(axis=1).tolist()
        rows = zip(best, probabilities.tolist(), logits.tolist(), strict=True)
        return [
            Prediction(
                label=spec.classes[top],
                confidence=chances[top],
                abstained=chances[top] < self.min_confidence,
                classes=spec.classes,
                probabilities=tuple(chances),
                logits=tuple(values),
                latency_s=latency_s,
            )
            for top, chances, values in rows
        ]

    def attention(self, pixels: NDArray[np.uint8], output: str = "attention") -> NDArray[np.float32]:
        """The attention mask [n, h, w], 0..1, of what `pixels` gives; from a file exported with it.

        Raises:
            InputError: the model has no such output.
        """
        if output not in [value.name for value in self._session.get_outputs()]:
            raise InputError(
                f"{self.artifact.path}: has no output '{output}', so there is no mask to draw.\n"
                "Export a file that has one: rarn-edge export --attention -o rarn-s.attention.onnx"
            )
        spec = self.artifact.spec
        starts = range(0, max(1, len(pixels)), self._batch)
        parts = (model_input(pixels[start : start + self._batch], spec) for start in starts)  # [batch, C, H, W]
        masks = [self._session.run([output], {spec.input_name: part})[0] for part in parts]  # of [batch, 1, h, w]
        return np.concatenate(masks)[:, 0].astype(np.float32)

    def _picture(self, image: Image, index: int, colour: ColourOrder) -> NDArray[np.uint8]:
        """[H, W], or [H, W, 3] red, green, blue."""
        if isinstance(image, str | Path):
            return decode(read_bytes(Path(image), MAX_FILE_BYTES), str(image), self._max_pixels)
        if isinstance(image, bytes | bytearray | memoryview):
            return decode(bytes(image), f"image {index}", self._max_pixels)
        if not isinstance(image, np.ndarray):
            raise InputError(f"image {index}: expected a path, bytes or a uint8 array, found {type(image).__name__}")
        _check_pixels(image, f"image {index}")
        if image.ndim == 2 or image.shape[2] == 1:
            return image.reshape(image.shape[:2])
        seen = image[..., :3]  # an alpha channel is left out
        return seen if colour == "rgb" else seen[..., ::-1]


def split_images(images: object) -> Sequence[Image]:
    """One image or a batch of them as a sequence; an array is looked at as `Classifier.predict` says."""
    if isinstance(images, np.ndarray):
        if images.dtype == object:
            return list(images)
        one = images.ndim == 2 or (images.ndim == 3 and images.shape[2] in (1, 3, 4))
        if not one and images.ndim not in (3, 4):
            raise InputError(
                f"expected [H, W], [H, W, 3], [N, H, W] or [N, H, W, 3] uint8, found {list(images.shape)} {images.dtype}"
            )
        return [images] if one else list(images)
    if isinstance(images, str | Path | bytes | bytearray | memoryview):
        return [images]  # type: ignore[list-item]  # the odd kinds of bytes are turned into bytes later
    try:
        return list(images)  # type: ignore[call-overload, no-any-return]  # whatever it is, its items are checked one by one
    except TypeError as error:
        raise InputError(f"expected one image or a list of images, found {type(images).__name__}") from error


def _check_pixels(image: NDArray[Any], name: str) -> None:
    if image.dtype != np.uint8:
        hint = "pixels are 0..255"
        if np.issubdtype(image.dtype, np.floating):
            finite = bool(np.isfinite(image).all())
            hint = (
                "for values 0..1: (image * 255).round().astype('uint8')" if finite else "and it holds NaN or infinity"
            )
        elif image.dtype == np.uint16:
            hint = "for 16-bit pixels: (image >> 8).astype('uint8')"
        raise InputError(f"{name}: expected a uint8 array, found {image.dtype}; {hint}")
    shaped = image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3, 4))
    if not shaped or 0 in image.shape:
        raise InputError(f"{name}: expected pixels [H, W] or [H, W, 3], found {list(image.shape)}")
