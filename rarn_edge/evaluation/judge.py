"""Everything that is measured of one model on one set of faces, as one value."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data import Faces
from rarn_edge.data.faces import UNLABELLED, positions_in
from rarn_edge.evaluation.confidence import Confidence, judge_confidence
from rarn_edge.evaluation.roll import Predict, RollPoint, roll_curve
from rarn_edge.evaluation.votes import VoteFigures, judge_votes
from rarn_edge.stats.classification import Evaluation, evaluate_logits, wilson_interval
from rarn_edge.stats.paired import Paired, compare_decisions

FAR_MEAN = 10.0  # pixel values; splits of FER-2013 differ by less than 1
FAR_STD_RATIO = 1.15


@dataclass(frozen=True)
class WithoutCopies:
    """Accuracy on the faces that have no byte-identical copy in Training."""

    copies: int
    faces: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


@dataclass(frozen=True)
class Pixels:
    """Mean and standard deviation of the judged faces beside those of training; None where the model's are unknown."""

    mean: float
    std: float
    train_mean: float | None
    train_std: float | None

    @property
    def warning(self) -> str | None:
        """What to think of faces unlike the ones trained on, which cost points without a sign otherwise."""
        if self.train_mean is None or self.train_std is None:
            return None
        ratio = max(self.std, self.train_std) / max(min(self.std, self.train_std), 1e-9)
        if abs(self.mean - self.train_mean) <= FAR_MEAN and ratio <= FAR_STD_RATIO:
            return None
        pixels = f"pixels {self.mean:.0f} ± {self.std:.0f}, in training {self.train_mean:.0f} ± {self.train_std:.0f}"
        return f"{pixels}: accuracy may be off; give unfiltered images"


@dataclass(frozen=True)
class DataSummary:
    """What a set of faces is made of: the paper's Figures 5 and 6 without a picture."""

    name: str
    labels: dict[str, int]  # faces of each class of the model
    intensities: tuple[int, ...]  # pixels of each value 0..255, of all faces


@dataclass(frozen=True)
class Rival:
    """Another model on the same faces: its decisions beside the judged model's, and what turning costs it."""

    model: str
    paired: Paired
    roll: tuple[RollPoint, ...]


@dataclass(frozen=True)
class Judgement:
    """One model on one set of faces."""

    model: str
    faces: str
    evaluation: Evaluation
    confidence: Confidence
    without_copies: WithoutCopies | None  # None where the data has no Training split
    roll: tuple[RollPoint, ...]
    pixels: Pixels
    data: tuple[DataSummary, ...]  # the judged faces, and Training where there is one
    against: tuple[Rival, ...] = ()
    votes: VoteFigures | None = None  # where people voted on the faces

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "pixel_warning": self.pixels.warning}


@dataclass(frozen=True)
class Subject:
    """A model ready to be judged."""

    name: str
    spec: ModelSpec
    predict: Predict
    train_pixels: tuple[float, float] | None  # mean, standard deviation

    @property
    def classes(self) -> tuple[str, ...]:
        return self.spec.classes

    def sees(self, faces: Faces, like: "Subject") -> Faces:
        """Of faces that were made for `like`, what this model sees."""
        preprocess = self.spec.preprocess
        alike = preprocess.pixels_alike == like.spec.preprocess.pixels_alike
        return faces if alike else faces.shown_to(preprocess)


def compare(other: Subject, faces: Faces, right: NDArray[np.bool_]) -> Paired:
    """A model beside `other` on the same labelled faces, which `other` sees: `right` [N] says which ones it gets right."""
    return compare_decisions(other.predict(faces.images).argmax(axis=1) == faces.labels_in(other.classes), right)


def judge(
    subject: Subject,
    logits: NDArray[np.float32],
    faces: Faces,
    description: str,
    training: Faces | None,
    against: Sequence[Subject] = (),
    on_angle: Callable[[str, int, int], None] = lambda *_: None,
    votes: VoteFigures | None = None,
) -> Judgement:
    """Measure `subject`, whose answers on the labelled `faces` are `logits`.

    `training` is the Training split of the same data, if it has one; `against` other models to hold it against;
    `on_angle(model, done, total)` is called after each roll angle; `votes` are those of `beside_votes`.

    Raises:
        InputError: a label is no class of the model.
    """
    labels = faces.labels_in(subject.classes)
    right = logits.argmax(axis=1) == labels
    return Judgement(
        model=subject.name,
        faces=description,
        evaluation=evaluate_logits(logits, labels, subject.classes),
        confidence=judge_confidence(logits, labels, subject.spec.temperature),
        without_copies=None if training is None else _without_copies(right, faces, training),
        roll=_roll(subject, faces, on_angle),
        pixels=Pixels(*faces.pixel_statistics(), *(subject.train_pixels or (None, None))),
        data=tuple(
            _summary(name, each, subject.classes)
            for name, each in (("judged", faces), ("training", training))
            if each is not None
        ),
        votes=votes,
        against=tuple(
            Rival(other.name, compare(other, seen, right), _roll(other, seen, on_angle))
            for other in against
            for seen in (other.sees(faces, subject),)
        ),
    )


def beside_votes(
    subject: Subject, logits: NDArray[np.float32], faces: Faces, without_majority: Faces | None
) -> VoteFigures | None:
    """Compare `subject` with the people who voted: on `faces`, where it answered `logits`, and on faces whose votes have no
    majority; None without votes."""
    if faces.votes is None:
        return None
    votes = faces.votes
    if without_majority is not None:
        assert without_majority.votes is not None
        logits = np.concatenate([logits, subject.predict(without_majority.images)])
        votes = np.concatenate([votes, without_majority.votes])
    return judge_votes(logits, votes, subject.classes, subject.spec.temperature)


def _summary(name: str, faces: Faces, classes: tuple[str, ...]) -> DataSummary:
    """Training may have faces of classes that the model lacks."""
    theirs = positions_in(classes, faces.classes)[faces.labels[faces.labels != UNLABELLED]]
    counts = np.bincount(theirs[theirs >= 0], minlength=len(classes))
    return DataSummary(name, dict(zip(classes, counts.tolist(), strict=True)), tuple(faces.intensities().tolist()))


def _roll(subject: Subject, faces: Faces, on_angle: Callable[[str, int, int], None]) -> tuple[RollPoint, ...]:
    some = faces.in_memory()
    return roll_curve(
        subject.predict, some.pixels, some.labels_in(subject.classes), on_angle=partial(on_angle, subject.name)
    )


def _without_copies(right: NDArray[np.bool_], faces: Faces, training: Faces) -> WithoutCopies | None:
    """None when every face has a copy: nothing is left to measure on."""
    seen = set(training.pixel_hashes())
    own = np.array([digest not in seen for digest in faces.pixel_hashes()])
    kept, hits = int(own.sum()), int(right[own].sum())
    if kept == 0:
        return None
    return WithoutCopies(len(own) - kept, kept, hits / kept, *wilson_interval(hits, kept))
