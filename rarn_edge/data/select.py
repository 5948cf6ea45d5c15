"""Which faces of a data set a measurement is made on, and how they are called in its result."""

from pathlib import Path

from rarn_edge.data.faces import Faces, Split, listed


def to_measure_on(faces: Faces, split: str | None) -> Faces:
    """Of a whole data set, the labelled faces of the split named, or of the held-out one.

    Raises:
        InputError: no such split, or no labelled faces in it.
    """
    return in_split(faces, split).labelled()


def in_split(faces: Faces, split: str | None) -> Faces:
    """Of a whole data set, the faces of the split named, or of the held-out one, labelled or not.

    Raises:
        InputError: no such split.
    """
    return faces.held_out() if split is None else faces.split(Split.parse(split))


def describe(faces: Faces) -> str:
    """`3,589 faces of fer2013.zip (PublicTest)`, with votes `(PublicTest, the majority of people's votes, without contempt)`."""
    splits = ", ".join(split.value for split in faces.available_splits)
    labels = "" if faces.votes is None else ", the majority of people's votes"
    shared = f", without {listed(faces.without, 2)}" if faces.without else ""
    return f"{len(faces):,} {faces.noun} of {Path(faces.source).name} ({splits}{labels}{shared})"
