"""The same faces under FER-2013's labels and under the votes of FER+, for networks that learn or are judged by both."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rarn_edge.data import Faces, Split, load_faces
from rarn_edge.data.votes import Pairing, read_votes, with_votes
from rarn_edge.errors import InputError
from rarn_edge.train.run import source_of, split_for_training


@dataclass(frozen=True)
class LabelSet:
    """The faces under one set of labels. Training faces are the same in each set, row by row."""

    training: Faces
    held_out: Faces  # those with a label

    @property
    def source(self) -> str:
        """Whose labels: `fer2013` or `ferplus`."""
        return source_of(self.training)

    def sample(self, count: int | None) -> "LabelSet":
        """At most so many faces of each part, evenly from its whole length, so that faces sorted by class give every class."""
        return LabelSet(*(_evenly(part, count) for part in (self.training, self.held_out)))


def _evenly(faces: Faces, count: int | None) -> Faces:
    rows = len(faces) if count is None else min(count, len(faces))
    return faces.where(np.linspace(0, len(faces) - 1, rows).astype(np.int64))


def label_sets(faces: Faces, voted: Faces | None = None) -> tuple[LabelSet, ...]:
    """Training and held-out faces under their own labels, and as `voted`, the same faces with votes, if that is given.

    Raises:
        InputError: faces that cannot be split, or with votes, faces without the split PublicTest.
    """
    own = LabelSet(*split_for_training(faces))
    if voted is None:
        return (own,)
    if Split.PUBLIC_TEST not in faces.available_splits:
        raise InputError(
            f"{faces.source}: has no split {Split.PUBLIC_TEST}, by which both label sets are judged; leave out --votes"
        )
    training, held_out = (
        voted.where(np.flatnonzero(voted.splits == split.value)) for split in (Split.TRAINING, Split.PUBLIC_TEST)
    )
    return (own, LabelSet(training, held_out.labelled()))


def both_label_sets(data: Path, votes: Path) -> tuple[tuple[LabelSet, LabelSet], Pairing]:
    """The faces of a data set under FER-2013's labels and under the votes of FER+, and how votes and images were paired.

    Raises:
        InputError: a file that cannot be read, votes of other images, or faces that `label_sets` refuses.
    """
    faces = load_faces(data)
    voted, pairing = with_votes(faces, read_votes(votes))
    own, plus = label_sets(faces, voted)
    return (own, plus), pairing
