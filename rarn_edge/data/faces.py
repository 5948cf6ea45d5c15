"""The one form in which images travel: a whole set as uint8 in memory (83 MB for all of FER-2013)."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import CLASSES
from rarn_edge.errors import InputError

UNLABELLED = -1


class Split(StrEnum):
    """FER-2013's splits by their official names, and what is known of data without them."""

    TRAINING = "Training"
    PUBLIC_TEST = "PublicTest"
    PRIVATE_TEST = "PrivateTest"
    TEST = "test"  # held out, but nothing tells public from private
    UNSPLIT = "all"

    @classmethod
    def parse(cls, text: str) -> "Split":
        """Read `Training`, `train`, `public-test`, ... whatever the case.

        Raises:
            InputError: no such split.
        """
        key = text.strip().lower().replace("-", "").replace("_", "")
        aliases = {"train": cls.TRAINING, "public": cls.PUBLIC_TEST, "private": cls.PRIVATE_TEST}
        for split in cls:
            aliases[split.value.lower()] = split
        if key not in aliases:
            raise InputError(f"no split '{text}'; one of: {', '.join(split.value for split in cls)}")
        return aliases[key]


@dataclass(frozen=True)
class Faces:
    """Gray face images of one size with their labels.

    images: [N, H, W] uint8; labels: [N] int64 index into `classes`, or `UNLABELLED`; splits: [N] of `Split`
    values; names: where each image came from (file or row), for messages; votes: [N, classes + 2] uint8, how many people
    chose each class, "unknown" and "not a face" (`data/votes.py`), where people were asked. A label is then their majority.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: tuple[str, ...]
    source: str
    classes: tuple[str, ...] = CLASSES
    votes: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def available_splits(self) -> tuple[Split, ...]:
        present = set(np.unique(self.splits).tolist())
        return tuple(split for split in Split if split.value in present)

    def where(self, mask: NDArray[np.bool_] | NDArray[np.intp]) -> "Faces":
        """The subset at `mask` (booleans or positions)."""
        positions = np.flatnonzero(mask) if mask.dtype == np.bool_ else mask
        return replace(
            self,
            images=self.images[positions],
            labels=self.labels[positions],
            splits=self.splits[positions],
            names=tuple(self.names[i] for i in positions),
            votes=None if self.votes is None else self.votes[positions],
        )

    def split(self, split: Split) -> "Faces":
        """One split; `TEST` means everything held out, and unsplit data has only `UNSPLIT` and, as such, `TRAINING`.

        Raises:
            InputError: the data has no such split.
        """
        if split is Split.UNSPLIT:
            return self
        available = self.available_splits
        if split is Split.TRAINING and available == (Split.UNSPLIT,):
            return self
        wanted = {split.value}
        if split is Split.TEST:
            wanted |= {Split.PUBLIC_TEST.value, Split.PRIVATE_TEST.value}
        mask = np.isin(self.splits, list(wanted))
        if not mask.any():
            names = ", ".join(s.value for s in available)
            raise InputError(f"{self.source} has no split '{split.value}'; it has: {names}")
        return self.where(mask)

    def held_out(self) -> "Faces":
        """What to measure on when nobody chose: PublicTest, else the unnamed test split, else unsplit data as it is."""
        for split in (Split.PUBLIC_TEST, Split.TEST, Split.UNSPLIT):
            if split in self.available_splits:
                return self.where(self.splits == split.value)  # exactly it: `split(TEST)` would bring PrivateTest along
        raise InputError(
            f"{self.source} holds nothing but {', '.join(self.available_splits)}, which a model may have been tuned on;"
            " name the split to measure on with --split"
        )

    def intensities(self) -> NDArray[np.int64]:
        """[256] how many pixels have each value, counted in flat memory."""
        counts = np.zeros(256, dtype=np.int64)
        for start in range(0, len(self), 1024):
            counts += np.bincount(self.images[start : start + 1024].ravel(), minlength=256)
        return counts

    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels, 0..255."""
        counts = self.intensities()
        values = np.arange(256)
        mean = float((counts * values).sum() / counts.sum())
        return mean, float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))

    def pixel_hashes(self) -> list[bytes]:
        """A hash of each image's pixels: equal for byte-identical copies, whatever file or split they are in."""
        return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in self.images]

    def sha256(self) -> str:
        """Hash over images, labels and votes in their order."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).data)
        digest.update(self.labels.tobytes())
        if self.votes is not None:
            digest.update(np.ascontiguousarray(self.votes).data)
        return digest.hexdigest()

    def labelled(self) -> "Faces":
        """This set, if every image has a label; of a set with votes, the faces with a majority.

        Raises:
            InputError: at least one has none (such as Kaggle's test.csv), or no face has a majority.
        """
        if self.votes is not None:
            counted = self.where(self.labels != UNLABELLED)
            if not len(counted):
                raise InputError(
                    f"{self.source}: no face has a majority of its votes, so there is nothing to measure on"
                )
            return counted
        missing = int((self.labels == UNLABELLED).sum())
        if missing:
            raise InputError(f"{self.source}: {missing} of {len(self)} images have no label, which this command needs")
        return self

    def labels_in(self, classes: tuple[str, ...]) -> NDArray[np.int64]:
        """[N] labels as indices into another model's class order, mapped by name.

        Raises:
            InputError: an expression of this set is no class of that model.
        """
        if classes == self.classes:
            return self.labels
        theirs = positions_in(classes, self.classes)  # [own classes]
        found = np.where(self.labels == UNLABELLED, UNLABELLED, theirs[self.labels])
        lacking = sorted({self.classes[label] for label in self.labels[(found < 0) & (self.labels >= 0)].tolist()})
        if lacking:
            raise InputError(
                f"{self.source} has faces of {', '.join(lacking)}, which the model does not know ({', '.join(classes)})"
            )
        return found

    def known_to(self, classes: tuple[str, ...]) -> "Faces":
        """The labelled faces whose class a model with these classes has.

        Raises:
            InputError: none.
        """
        theirs = positions_in(classes, self.classes)
        known = self.where((self.labels != UNLABELLED) & (theirs[self.labels] >= 0))
        if not len(known):
            raise InputError(f"{self.source} has no face of a class that the model knows ({', '.join(classes)})")
        return known

    def balanced_sample(self, count: int, seed: int) -> "Faces":
        """At most `count` images, seeded, the classes as equal as their sizes allow (all of a small class)."""
        rng = np.random.default_rng(seed)
        pools = [rng.permutation(np.flatnonzero(self.labels == label)) for label in np.unique(self.labels)]
        taken: list[int] = []
        for rank in range(max((len(pool) for pool in pools), default=0)):
            taken.extend(int(pool[rank]) for pool in pools if rank < len(pool))
            if len(taken) >= count:
                break
        return self.where(np.sort(np.array(taken[:count], dtype=np.intp)))

    def holdout_mask(self, fraction: float, seed: int) -> NDArray[np.bool_]:
        """[N] bool, True for a seeded stratified part of about `fraction` of each class."""
        rng = np.random.default_rng(seed)
        mask = np.zeros(len(self), dtype=np.bool_)
        for label in np.unique(self.labels):
            members = rng.permutation(np.flatnonzero(self.labels == label))
            mask[members[: round(len(members) * fraction)]] = True
        return mask


Choose = Callable[[Faces], Faces]
"""Which faces of a set are wanted, from labels, splits and names alone: decoding the others would take seconds."""

_ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}

# fer2013.csv, icml_face_data.csv and train.csv number the classes in this order, which is not the alphabetical one
CSV_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def class_index(name: str) -> int | None:
    """The project's index of a class called `name` in any usual spelling, or None."""
    key = usual_name(name)
    return CLASSES.index(key) if key in CLASSES else None


def usual_name(name: str) -> str:
    """The project's name of a class in any usual spelling; another class keeps its own, in lower case."""
    key = name.strip().lower()
    return _ALIASES.get(key, key)


def positions_in(classes: tuple[str, ...], own: tuple[str, ...]) -> NDArray[np.int64]:
    """[own] where each class of `own` stands in `classes`, by its usual name; `UNLABELLED` where it does not."""
    theirs = {usual_name(name): index for index, name in enumerate(classes)}
    return np.array([theirs.get(usual_name(name), UNLABELLED) for name in own], dtype=np.int64)
