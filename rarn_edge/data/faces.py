"""The one form in which images travel: a set with labels and splits, its pixels in memory or decoded when asked for."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import decode, fit_originals
from rarn_edge.contract.spec import CLASSES, FERPLUS_CLASSES, Preprocess, are_expressions
from rarn_edge.data.stream import MEMORY_BYTES, Images, Reader, Streamed, batches
from rarn_edge.errors import InputError

UNLABELLED = -1
HOLDOUT_FRACTION = 0.1
HOLDOUT_SEED = 0  # the same part of data without splits is held out by every command
SAMPLED = 256  # pictures that are looked at where looking at all would take long


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
        if key not in SPLIT_NAMES:
            raise InputError(f"no split '{text}'; one of: {', '.join(split.value for split in cls)}")
        return SPLIT_NAMES[key]


SPLIT_NAMES: dict[str, Split] = {
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval", "testing"), Split.TEST),
    "train": Split.TRAINING,
    "public": Split.PUBLIC_TEST,
    "private": Split.PRIVATE_TEST,
    **{split.value.lower(): split for split in Split},
}
"""What splits are called, in lower case and in one word."""


@dataclass(frozen=True)
class Faces:
    """Images of one size with their labels: faces or, with other classes, anything else.

    images: [N, H, W] uint8 gray or [N, H, W, 3] uint8 red, green, blue; labels: [N] int64 index into `classes`, or
    `UNLABELLED`; splits: [N] of `Split` values; names: where each image came from (file or row); reader: where its bytes
    are, of image files; votes: [N, classes + 2] uint8, how many people chose each class, "unknown" and "not a face"
    (`data/votes.py`), where people were asked. A label is then their majority.
    """

    images: Images
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    names: tuple[str, ...]
    source: str
    classes: tuple[str, ...] = CLASSES
    votes: NDArray[np.uint8] | None = None
    reader: Reader | None = field(default=None, repr=False, compare=False)
    without: tuple[str, ...] = ()  # classes whose images were left out, because a model lacks them
    originals: NDArray[np.uint8] | None = field(default=None, repr=False, compare=False)  # of images that are no files

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
            images=(
                replace(self.images, names=tuple(self.images.names[i] for i in positions))
                if isinstance(self.images, Streamed)
                else self.images[positions]
            ),
            labels=self.labels[positions],
            splits=self.splits[positions],
            names=tuple(self.names[i] for i in positions),
            votes=None if self.votes is None else self.votes[positions],
            originals=None if self.originals is None else self.originals[positions],
        )

    def shown_to(self, preprocess: Preprocess) -> "Faces":
        """The same images as a network with this input sees them, from the originals: resized once.

        Image files are decoded, into memory or, where they are too many, when they are asked for.

        Raises:
            InputError: an image that cannot be decoded (named).
        """
        if self.reader is None:
            originals = self.images if self.originals is None else self.originals
            assert not isinstance(originals, Streamed)
            return replace(self, images=fit_originals(originals, preprocess), originals=originals)
        streamed = Streamed(self.names, self.reader, self.source, preprocess)
        if streamed.nbytes > MEMORY_BYTES:
            return replace(self, images=streamed)
        return replace(self, images=streamed[:])

    def colour_notice(self, preprocess: Preprocess) -> str | None:
        """What to know when gray pictures meet a network for colour, or the reverse; counted on a sample of large sets."""
        chosen = np.linspace(0, len(self) - 1, min(len(self), SAMPLED)).astype(int).tolist()
        if self.reader is None:
            gray = sum(_is_gray(np.asarray(self.images[index])) for index in chosen)
        else:
            gray = sum(
                _is_gray(decode(self.reader(self.names[index]), f"{self.source}: {self.names[index]}"))
                for index in chosen
            )
        unlike = gray if preprocess.in_colour else len(chosen) - gray
        if not unlike:
            return None
        counted = f"{unlike:,} of {len(chosen):,} images" + (" looked at" if len(chosen) < len(self) else "")
        if preprocess.in_colour:
            return f"{counted} are gray, the model takes colour: give it colour images"
        return f"{counted} are in colour, the model takes gray: colours are dropped"

    @property
    def noun(self) -> str:
        """What the images are called in messages."""
        return "faces" if are_expressions(self.classes) else "images"

    def split(self, split: Split) -> "Faces":
        """One split; `TEST` means everything held out. Where nothing is, it is the part that training leaves out (`divided`), and
        `TRAINING` of data without splits is the rest.

        Raises:
            InputError: the data has no such split.
        """
        if split is Split.UNSPLIT:
            return self
        available = self.available_splits
        if available == (Split.UNSPLIT,) and split is Split.TRAINING:
            return self.divided()[0]
        if (
            available in ((Split.UNSPLIT,), (Split.TRAINING,))
            and split is Split.TEST
            and len(held_out := self.divided()[1])
        ):
            return held_out
        wanted = {split.value}
        if split is Split.TEST:
            wanted |= {Split.PUBLIC_TEST.value, Split.PRIVATE_TEST.value}
        mask = np.isin(self.splits, list(wanted))
        if not mask.any():
            names = ", ".join(s.value for s in available)
            raise InputError(f"{self.source} has no split '{split.value}'; it has: {names}")
        return self.where(mask)

    def divided(self) -> tuple["Faces", "Faces"]:
        """(Training, test) of data without a held-out split: always the same tenth of each class is held out."""
        mask = self.holdout_mask(HOLDOUT_FRACTION, HOLDOUT_SEED)
        parts = ((Split.TRAINING, ~mask), (Split.TEST, mask))
        training, test = (
            replace(self.where(chosen), splits=np.full(chosen.sum(), split.value)) for split, chosen in parts
        )
        return training, test

    def held_out(self) -> "Faces":
        """What to measure on when nobody chose: PublicTest, else the unnamed test split, else unsplit data as it is."""
        for split in (Split.PUBLIC_TEST, Split.TEST, Split.UNSPLIT):
            if split in self.available_splits:
                return self.where(self.splits == split.value)  # exactly it: `split(TEST)` would bring PrivateTest along
        raise InputError(
            f"{self.source} holds nothing but {', '.join(self.available_splits)}, which a model may have been tuned on;"
            " name the split to measure on: --split test (of Training alone, the tenth that `train` leaves out)"
        )

    def intensities(self) -> NDArray[np.int64]:
        """[256] how many pixels have each value, counted in flat memory."""
        counts = np.zeros(256, dtype=np.int64)
        for batch in batches(self._sample().images, SAMPLED):
            counts += np.bincount(batch.ravel(), minlength=256)
        return counts

    def _sample(self) -> "Faces":
        """All images in memory, or some of many that would have to be decoded."""
        if not isinstance(self.images, Streamed):
            return self
        return self.where(np.linspace(0, len(self) - 1, min(len(self), 4 * SAMPLED)).astype(np.intp))

    @property
    def pixels(self) -> NDArray[np.uint8]:
        """The images as one array, of sets that are small or were made so by `in_memory`."""
        assert not isinstance(self.images, Streamed)
        return self.images

    def in_memory(self) -> "Faces":
        """This set or, where it is too large for memory, a seeded balanced sample that fits."""
        if not isinstance(self.images, Streamed):
            return self
        sample = self.balanced_sample(max(1, MEMORY_BYTES * len(self) // self.images.nbytes), seed=0)
        assert isinstance(sample.images, Streamed)
        return replace(sample, images=sample.images[:])

    def pixel_statistics(self) -> tuple[float, float]:
        """Mean and standard deviation of all pixels, 0..255; of an even sample of images that are not in memory."""
        counts = self.intensities()
        values = np.arange(256)
        mean = float((counts * values).sum() / counts.sum())
        return mean, float(np.sqrt((counts * (values - mean) ** 2).sum() / counts.sum()))

    def pixel_hashes(self) -> list[bytes]:
        """A hash of each image's pixels (of its file, where they are not in memory): equal for byte-identical copies."""
        if isinstance(self.images, Streamed):
            contents = (self.images.reader(name) for name in self.images.names)
        else:
            contents = (image.tobytes() for image in self.images)
        return [hashlib.blake2b(content, digest_size=16).digest() for content in contents]

    def sha256(self) -> str:
        """Hash over images (their files, where they are not in memory), labels and votes in their order."""
        if isinstance(self.images, Streamed):
            digest = hashlib.sha256(repr(self.images.preprocess).encode())
            for content in self.pixel_hashes():
                digest.update(content)
        else:
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
            first = self.names[int((self.labels == UNLABELLED).argmax())]
            raise InputError(
                f"{self.source}: {missing:,} of {len(self):,} images have no label, which this command needs, '{first}' among"
                " them; put each into the folder of its class (a CSV has a column 'label')"
            )
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
                f"{self.source} has {self.noun} of {listed(lacking)}, which the model does not know ({listed(classes)});"
                " leave them out, or teach it: rarn-edge train --init WEIGHTS --recipe edge-transfer"
            )
        return found

    def only(self, classes: tuple[str, ...]) -> "Faces":
        """The images of these classes, which then are the set's, in this order.

        Raises:
            InputError: the set has no such class, or fewer than two are left.
        """
        twice = sorted({name for name in classes if classes.count(name) > 1})
        if len(classes) < 2 or twice:
            raise InputError(f"--classes takes two or more different names, found {listed(classes) or 'none'}")
        theirs = positions_in(classes, self.classes)  # [own classes]
        lacking = sorted(set(range(len(classes))) - set(theirs.tolist()))
        if lacking:
            raise InputError(
                f"{self.source} has no class {listed([classes[index] for index in lacking])}; it has: {listed(self.classes)}"
            )
        kept = self.where((self.labels != UNLABELLED) & (theirs[self.labels] >= 0))
        return replace(kept, labels=theirs[kept.labels], classes=classes, votes=None)

    def known_to(self, classes: tuple[str, ...]) -> "Faces":
        """The labelled faces whose class a model with these classes has.

        Raises:
            InputError: none.
        """
        theirs = positions_in(classes, self.classes)
        labelled, shared = self.labels != UNLABELLED, theirs[self.labels] >= 0
        known = self.where(labelled & shared)
        if not len(known):
            raise InputError(f"{self.source} has no face of a class that the model knows ({listed(classes)})")
        lacking = {self.classes[label] for label in np.unique(self.labels[labelled & ~shared])}
        return replace(known, without=tuple(sorted(lacking.union(self.without))))

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


def listed(names: Sequence[str], most: int = 10) -> str:
    """`angry, disgust, fear`, or the first few of many names."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def usual_name(name: str) -> str:
    """The project's name of an expression in any usual spelling; another class keeps its own, in lower case."""
    key = name.strip().lower()
    return _ALIASES.get(key, key)


def classes_of(names: list[str], source: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """The classes of a data set whose labels are called `names`, and which one each name is.

    Expressions of FER-2013 and FER+, in any usual spelling, have the project's names and order. Other names are classes as they
    stand, sorted. Without any name they are those of FER-2013.

    Raises:
        InputError: two names differ by case alone.
    """
    by_lower: dict[str, str] = {}
    for name in names:
        other = by_lower.setdefault(name.strip().lower(), name)
        if other != name:
            raise InputError(f"{source}: the classes '{other}' and '{name}' differ by case alone; rename or merge them")
    usual = {name: usual_name(name) for name in names}
    if are_expressions(usual.values()):
        known = tuple(name for name in FERPLUS_CLASSES if name in usual.values()) or CLASSES
        return known, {name: known.index(usual[name]) for name in names}
    classes = tuple(sorted(names))
    return classes, {name: classes.index(name) for name in names}


def positions_in(classes: tuple[str, ...], own: tuple[str, ...]) -> NDArray[np.int64]:
    """[own] where each class of `own` stands in `classes`, by its name or its usual one; `UNLABELLED` where it does not."""
    exact = {name: index for index, name in enumerate(classes)}
    usual = {usual_name(name): index for index, name in enumerate(classes)}
    return np.array([exact.get(name, usual.get(usual_name(name), UNLABELLED)) for name in own], dtype=np.int64)


def _is_gray(picture: NDArray[np.uint8]) -> bool:
    """A gray file, or a colour file of gray pixels."""
    return picture.ndim == 2 or bool((picture == picture[..., :1]).all())
