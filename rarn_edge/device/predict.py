"""From a stream of pictures to one answer a face, in the pictures' order, with the network fed in batches."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import fit
from rarn_edge.device.boxes import Box, Face
from rarn_edge.device.classifier import Classifier, Prediction
from rarn_edge.device.faces import NO_DETECTOR, Detector, cut_face
from rarn_edge.device.sources import CROP_SIDE_PX, Picture
from rarn_edge.device.track import Tracker
from rarn_edge.errors import InputError

Origin = Literal["crop", "detected", "given"]
COLOUR_PICTURES = 8  # at most so many photographs or frames wait for their batch: they are large


@dataclass(frozen=True)
class FaceAnswer:
    """One face of a picture and what the network says of it; of a video, smoothed over the frames before."""

    face: Face
    origin: Origin
    prediction: Prediction
    track: int | None = None  # its number in a video
    attention: NDArray[np.float32] | None = None  # [h, w], 0..1

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return {
            "box": asdict(self.face.box),
            "box_from": self.origin,
            "box_score": self.face.score,
            "track": self.track,
            **self.prediction.to_dict(),
        }


@dataclass(frozen=True)
class Answered:
    """One picture with its faces, none when there is no face or, with `picture.error`, no picture."""

    picture: Picture
    faces: tuple[FaceAnswer, ...]


@dataclass(frozen=True)
class Finding:
    """How faces are found: a detector, given boxes, or each picture as one face."""

    detector: Detector | None = None
    boxes: Callable[[str], tuple[Face, ...]] | None = None
    crop: bool = False

    def faces(self, picture: Picture) -> tuple[tuple[Face, ...], Origin]:
        """The faces of one picture.

        Raises:
            InputError: it is a photograph and there is no way to find its faces.
        """
        assert picture.pixels is not None
        height_px, width_px = picture.pixels.shape[:2]
        whole = (Face(Box(0, 0, width_px, height_px)),)
        if self.boxes is not None:
            return self.boxes(picture.source), "given"
        small = picture.frame is None and max(height_px, width_px) <= CROP_SIDE_PX
        if self.crop or small or picture.pixels.ndim == 2:
            return whole, "crop"
        if self.detector is None:
            raise InputError(f"{picture.source}: {width_px} x {height_px} pixels: {NO_DETECTOR}")
        return self.detector(picture.pixels), "detected"


def answer_pictures(
    classifier: Classifier,
    pictures: Iterable[Picture],
    finding: Finding,
    *,
    batch: int = 64,
    smoothing_s: float = 0.5,
    live: bool = False,
    explain: bool = False,
) -> Iterator[Answered]:
    """Answers in the order of `pictures`; a picture that fails comes with its error.

    Args:
        classifier: The model.
        pictures: As `sources.read_pictures` gives them.
        finding: How faces are found.
        batch: So many crops are gathered before the network runs, fewer for photographs (they are large).
        smoothing_s: Time over which a face's probabilities are averaged in a video; 0: each frame for itself.
        live: Answer each picture at once, for a camera.
        explain: Add the attention mask, from a model that has one.

    Raises:
        InputError: a video without a way to find faces; or `explain` and the model has no mask.
    """
    preprocess = classifier.artifact.spec.preprocess
    trackers: dict[str, Tracker] = {}  # of the current video alone
    waiting: list[tuple[Picture, tuple[Face, ...], Origin]] = []
    crops: list[NDArray[np.uint8]] = []
    large = 0

    def flush() -> Iterator[Answered]:
        nonlocal large
        pixels = np.stack(crops) if crops else np.empty((0, *preprocess.picture_shape), dtype=np.uint8)
        answers = iter(classifier.predict_pixels(pixels))
        masks: Iterator[NDArray[np.float32]] = iter(list(classifier.attention(pixels)) if explain and crops else [])
        for picture, faces, origin in waiting:
            found = [FaceAnswer(face, origin, next(answers), None, next(masks, None)) for face in faces]
            if picture.frame is not None and picture.analysed and picture.time_s is not None and smoothing_s > 0:
                if picture.source not in trackers or picture.frame == 0:  # the same video may be named twice
                    trackers.clear()
                tracker = trackers.setdefault(picture.source, Tracker(smoothing_s))
                found = _smoothed(tracker, picture.time_s, found, classifier.min_confidence)
            yield Answered(picture, tuple(found))
        waiting.clear()
        crops.clear()
        large = 0

    for picture in pictures:
        faces: tuple[Face, ...] = ()
        origin: Origin = "crop"
        if picture.pixels is not None and picture.analysed:
            try:
                faces, origin = finding.faces(picture)
                if faces:
                    crops += list(face_pixels(classifier, picture.pixels, None if origin == "crop" else faces))
            except InputError as error:
                if picture.frame is not None:
                    raise  # the next frame would fail alike
                picture, faces = replace(picture, pixels=None, error=str(error)), ()
        waiting.append((picture, faces, origin))
        large += picture.pixels is not None and picture.pixels.ndim == 3
        if live or len(crops) >= batch or large >= COLOUR_PICTURES or len(waiting) >= 4 * batch:
            yield from flush()
    yield from flush()


def face_pixels(
    classifier: Classifier, picture: NDArray[np.uint8], faces: tuple[Face, ...] | None
) -> NDArray[np.uint8]:
    """The faces of a picture [H, W] or [H, W, 3] (blue, green, red) as `Classifier.pixels` gives them.

    None instead of faces: the whole picture is one.

    Raises:
        InputError: a face that lies outside the picture.
    """
    preprocess = classifier.artifact.spec.preprocess
    seen = _as_read(picture, preprocess.in_colour)
    return np.stack([fit(seen, preprocess)] if faces is None else [cut_face(seen, each, preprocess) for each in faces])


def _as_read(pixels: NDArray[np.uint8], in_colour: bool) -> NDArray[np.uint8]:
    """[H, W] gray or [H, W, 3] blue, green, red -> [H, W] or, in colour, [H, W, 3] red, green, blue."""
    if pixels.ndim == 2:
        return pixels
    wanted = cv2.COLOR_BGR2RGB if in_colour else cv2.COLOR_BGR2GRAY
    return np.asarray(cv2.cvtColor(pixels, wanted), dtype=np.uint8)


def _smoothed(tracker: Tracker, time_s: float, faces: list[FaceAnswer], min_confidence: float) -> list[FaceAnswer]:
    boxes = [answer.face.box for answer in faces]
    tracked = tracker.update(time_s, boxes, [answer.prediction.probabilities for answer in faces])
    smoothed = []
    for answer, (number, chances) in zip(faces, tracked, strict=True):
        best = max(range(len(chances)), key=chances.__getitem__)
        prediction = replace(
            answer.prediction,
            label=answer.prediction.classes[best],
            confidence=chances[best],
            abstained=chances[best] < min_confidence,
            probabilities=chances,
        )
        smoothed.append(replace(answer, prediction=prediction, track=number))
    return smoothed
