"""One training run as data: what is trained on what, the files it leaves, and the figures it reports."""

from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rarn_edge.boundary.names import printable
from rarn_edge.contract.preprocess import resize
from rarn_edge.contract.spec import CLASSES, FER2013, FERPLUS, LABEL_CLASSES, ModelSpec
from rarn_edge.data import Faces, Split
from rarn_edge.data.faces import listed
from rarn_edge.data.stream import Streamed
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.data.votes import label_shares
from rarn_edge.errors import InputError
from rarn_edge.models.network import Network
from rarn_edge.train.checkpoint import Weights
from rarn_edge.train.distill import SoftTargets
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import Recipe

STATE_FILE = "last.pt"
LOCK_FILE = ".lock"  # held while a run writes into its folder
WEIGHTS_FILE = "weights.safetensors"
LOG_FILE = "log.csv"
TARGETS_FILE = "teachers.npz"
DRAWN_SEED = 2013  # other faces than any that something is judged on


@dataclass(frozen=True)
class EpochLog:
    """One line of `log.csv`. Training figures are of the augmented images; test figures of the weights that are exported."""

    epoch: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    images_per_s: float
    time_s: float


@dataclass(frozen=True)
class BatchLog:
    """What a progress bar shows after a batch: running means of the epoch."""

    epoch: int
    batch: int
    batches: int
    loss: float
    accuracy: float
    images_per_s: float


@dataclass(frozen=True)
class Run:
    """One training run: what is trained, on what, how, and where it is kept."""

    network: Network
    recipe: Recipe
    seed: int
    train: Faces
    test: Faces
    folder: Path
    threads: int
    targets: SoftTargets | None = None  # of the training faces, in their order
    start: Weights | None = None  # parameters to begin with instead of fresh ones
    precision: TrainingPrecision = TrainingPrecision.FLOAT32
    live: tuple[Weights, ...] = ()  # teachers that are asked about each batch as the model sees it
    also: tuple[Faces, ...] = ()  # the training faces under other labels, which the model answers with further outputs

    @property
    def label_sets(self) -> tuple[Faces, ...]:
        """The training faces under each set of labels."""
        return (self.train, *self.also)

    @property
    def heads(self) -> tuple[int, ...]:
        """How many outputs each set of labels has; they stand side by side in the logits."""
        return tuple(len(faces.classes) for faces in self.label_sets)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of all outputs; those of several label sets carry the name of theirs."""
        if not self.also:
            return self.train.classes
        return joint_classes(*(source_of(faces) for faces in self.label_sets))

    @property
    def label_source(self) -> str:
        """Whose labels the outputs are, for the contract: `ferplus`, or `fer2013+ferplus` of a model that has both."""
        return "+".join(source_of(faces) for faces in self.label_sets)

    @property
    def spec(self) -> ModelSpec:
        """The contract of the trained network: its own, with the classes that it learns."""
        return replace(self.network.spec, classes=self.classes, label_source=self.label_source)

    @cached_property
    def drawn(self) -> Faces | None:
        """Drawn faces that the recipe adds to the training faces, of their size; none beside colour pictures or other classes."""
        images = self.train.images
        gray = not isinstance(images, Streamed) and images.ndim == 3
        if not self.recipe.drawn or not gray or not set(CLASSES) <= set(self.train.classes):
            return None
        faces = synthetic_faces(self.recipe.drawn, DRAWN_SEED)
        height, width = images.shape[1:]
        return replace(faces, images=np.stack([resize(image, height, width) for image in faces.pixels]))

    @property
    def learnt(self) -> int:
        """How many faces an epoch goes through."""
        return len(self.train) + (0 if self.drawn is None else len(self.drawn))

    @property
    def teachers(self) -> list[str]:
        """sha256 of the weights of each."""
        kept = self.targets.teachers if self.targets else ()
        return [*kept, *(teacher.sha256 for teacher in self.live)]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What must be equal for a resumed run to be the same run."""
        return {
            "model": self.network.name,
            "input": asdict(self.network.spec.preprocess),
            "classes": self.classes,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "data": [faces.sha256() for faces in (*self.label_sets, self.test)],
            "teachers": self.teachers,
            "teacher_views": self.targets.views if self.targets else 0,
            "start": self.start.sha256 if self.start else None,
            "precision": str(self.precision),
        }

    def provenance(self, epochs_done: int, trained_on: str, test_accuracy: float | None) -> dict[str, Any]:
        """How weights of this run came about, for their file.

        Args:
            epochs_done: Of the recipe's.
            trained_on: The device, in words.
            test_accuracy: A share of the held-out faces, by the first label set; None before the first epoch.
        """
        pixel_mean, pixel_std = self.pixel_statistics
        return {
            "labels": self.label_source,
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "teachers": self.teachers,
            "teacher_views": self.targets.views if self.targets else 0,
            "trained_in": str(self.precision),
            "trained_on": trained_on,
            "started_from": self.start.sha256 if self.start else None,
            "epochs_done": epochs_done,
            "torch": torch.__version__,
            "train_images": len(self.train),
            "train_pixel_mean": round(pixel_mean, 2),
            "train_pixel_std": round(pixel_std, 2),
            "test_accuracy": None if test_accuracy is None else round(test_accuracy, 6),
            "test_images": len(self.test),
        }

    @cached_property
    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of the training pixels."""
        return self.train.pixel_statistics()


def source_of(faces: Faces) -> str:
    """Whose labels these are, for the contract: FER+, FER-2013, or the name of a data set with classes of its own."""
    if faces.votes is not None:
        return FERPLUS
    if faces.classes == LABEL_CLASSES[FER2013]:
        return FER2013
    name = printable(Path(faces.source).stem)[:200]
    return "own" if not name or name in LABEL_CLASSES else name  # a fer2013.zip of other classes is not FER-2013's


def joint_classes(*sources: str) -> tuple[str, ...]:
    """Output names of a model that answers for several label sets: `fer2013:angry`, ..., `ferplus:contempt`."""
    return tuple(f"{source}:{name}" for source in sources for name in LABEL_CLASSES[source])


def trainable(faces: Faces) -> Faces:
    """The faces with something to train towards: of a set with votes those with a usable distribution, else all.

    Raises:
        InputError: an image of a set without votes has no label.
    """
    return faces.labelled() if faces.votes is None else faces.where(np.flatnonzero(label_shares(faces).any(axis=1)))


def split_for_training(faces: Faces) -> tuple[Faces, Faces]:
    """(train, test): Training and the held-out split, or a seeded stratified tenth where there is none (`--split test`).

    PrivateTest is never touched: it is for the one final measurement.

    Raises:
        InputError: no Training split, or images without labels.
    """
    for split in (Split.PUBLIC_TEST, Split.TEST):
        if split in faces.available_splits:
            part = faces.where(faces.splits == split.value)  # `faces.split(TEST)` would bring PrivateTest along
            return _check_classes(trainable(faces.split(Split.TRAINING)), part.labelled())
    own = faces.where(faces.splits != Split.PRIVATE_TEST.value)
    trainable(own)  # counts all that have no label
    training, test = own.divided()
    if not len(training) or not len(test):
        raise InputError(f"{faces.source}: {len(own)} faces are too few to cut a test part from")
    return _check_classes(trainable(training), test.labelled())


def _check_classes(training: Faces, test: Faces) -> tuple[Faces, Faces]:
    """Refuse what cannot be learnt or measured: a class of an own data set that one part lacks."""
    counts = [np.bincount(part.labels[part.labels >= 0], minlength=len(part.classes)) for part in (training, test)]
    if source_of(training) not in LABEL_CLASSES:
        for part, count in (("Training", counts[0]), ("the held-out part", counts[1])):
            lacking = [training.classes[index] for index in np.flatnonzero((count == 0) & (sum(counts) > 0)).tolist()]
            if lacking:
                raise InputError(
                    f"{training.source}: {part} has no image of {listed(lacking)}; give each class some images in both"
                )
    if len(training.classes) < 2:
        raise InputError(f"{training.source}: has {len(training.classes)} class; there is nothing to tell apart")
    return training, test
