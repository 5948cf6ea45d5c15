"""FER+: what ten people saw in each face of FER-2013 (Barsoum 2016, arXiv:1608.01041), as labels.

Two forms of one table are read: the official `fer2013new.csv`, which goes row by row with `fer2013.csv`, and a CSV with a
column `file`, which names images of a zip or folder. Columns: neutral, happiness, surprise, sadness, anger, disgust, fear,
contempt, unknown, NF (not a face); each value is how many people chose it.
"""

import csv
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.paths import require_file
from rarn_edge.contract.spec import FERPLUS_CLASSES
from rarn_edge.data.csv_file import columns_of, rows_of
from rarn_edge.data.faces import UNLABELLED, Faces, Split, usual_name
from rarn_edge.errors import InputError

UNKNOWN, NOT_A_FACE = "unknown", "nf"
CHOICES = (*FERPLUS_CLASSES, UNKNOWN, NOT_A_FACE)  # the columns of `Faces.votes`
MOST_VOTES = 100  # of one face for one class; the official table has at most 10
LEAST_AGREEMENT = (
    0.45  # of folder labels with the leading vote; 0.65 where rows and images belong together, 0.2 by chance
)
ENOUGH_FACES = 200  # to judge that agreement


@dataclass(frozen=True)
class Votes:
    """The table: counts [rows, 10] uint8 in the order of `CHOICES`; `files` or `usages` say which image a row is of."""

    counts: NDArray[np.uint8]
    files: tuple[str, ...] | None
    usages: tuple[str, ...] | None
    source: str


@dataclass(frozen=True)
class Pairing:
    """How a table and a set of images fit together."""

    faces: int
    without_votes: int
    unmatched_rows: int

    def __str__(self) -> str:
        """`votes for 32,136 of 32,298 faces (162 without); 0 rows match no image`."""
        return (
            f"votes for {self.faces - self.without_votes:,} of {self.faces:,} faces ({self.without_votes:,} without);"
            f" {self.unmatched_rows:,} rows match no image"
        )


def read_votes(path: Path) -> Votes:
    """Read a table of votes in either form.

    Raises:
        InputError: no such file, a missing column, or a value that is no count of votes (line named).
    """
    require_file(path, "--votes takes fer2013new.csv of FER+, or a CSV with a column 'file'")
    try:
        return _read(path)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV text file ({error})") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def _read(path: Path) -> Votes:
    header = columns_of(path)
    columns = {usual_name(name): name for name in header}
    missing = [name for name in CHOICES if name not in columns]
    key = "file" if "file" in columns else "usage"
    if missing or key not in columns:
        raise InputError(
            f"{path}: no column for {', '.join(missing) or 'file or Usage'} in the header ({', '.join(header)[:100] or 'empty'});"
            " --votes takes fer2013new.csv of FER+, or a CSV with a column 'file' and the same ten columns of votes"
        )
    counts: list[list[int]] = []
    keys: list[str] = []
    for line, row in rows_of(path):
        counts.append([_count(row[columns[name]], path, line) for name in CHOICES])
        keys.append(row[columns[key]].strip())
    twice = [name for name, count in Counter(keys).items() if count > 1] if key == "file" else []
    if twice:
        raise InputError(f"{path}: {len(twice):,} files have more than one row, '{twice[0]}' among them")
    table = np.array(counts, dtype=np.uint8)
    by_file = key == "file"
    return Votes(table, tuple(keys) if by_file else None, None if by_file else tuple(keys), str(path))


def _count(text: str, path: Path, line: int) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= MOST_VOTES):
        raise InputError(
            f"{path}, line {line}: {text[:20]!r} is not a count of votes (whole numbers 0 to {MOST_VOTES})"
        )
    return int(text)


def with_votes(faces: Faces, votes: Votes) -> tuple[Faces, Pairing]:
    """The same faces labelled by people: eight classes, the majority as label, and the votes themselves.

    Raises:
        InputError: a table of other images: another number of rows or another `Usage` in row order, fewer than half of the
            images named by fewer than half of the rows, or a split whose labels agree with the votes no better than chance.
    """
    rows = _rows_by_file(faces, votes) if votes.files is not None else _rows_in_order(faces, votes)
    counts = np.where(rows[:, None] >= 0, votes.counts[rows], 0).astype(np.uint8)  # [N, 10]
    silent = int((counts.sum(axis=1) == 0).sum())  # no row, or a row of zeros
    pairing = Pairing(len(faces), silent, len(votes.counts) - int((rows >= 0).sum()))
    _check_agreement(faces, counts, votes)
    return replace(faces, labels=majority(counts), classes=FERPLUS_CLASSES, votes=counts), pairing


def _rows_by_file(faces: Faces, votes: Votes) -> NDArray[np.int64]:
    """[N] the row of each image, or -1."""
    assert votes.files is not None
    row_of = {name: row for row, name in enumerate(votes.files)}
    rows = np.array([row_of.get(name, -1) for name in faces.names], dtype=np.int64)
    found = int((rows >= 0).sum())
    if 2 * found < min(len(faces), len(row_of)):
        raise InputError(
            f"{votes.source}: names only {found:,} of the {len(faces):,} images of {faces.source} (first image:"
            f" '{faces.names[0]}', first row: '{votes.files[0]}'); these votes belong to another data set"
        )
    return rows


def _rows_in_order(faces: Faces, votes: Votes) -> NDArray[np.int64]:
    assert votes.usages is not None
    if len(faces) != len(votes.usages):
        raise InputError(
            f"{votes.source}: {len(votes.usages):,} rows for {len(faces):,} images of {faces.source}; without a column 'file' the"
            " votes go row by row with fer2013.csv: pass that file as --data, or votes that name files"
        )
    differing = [
        row for row, pair in enumerate(zip(faces.splits.tolist(), votes.usages, strict=True)) if pair[0] != pair[1]
    ]
    if differing:
        raise InputError(
            f"{votes.source}: row {differing[0] + 2} says {votes.usages[differing[0]]}, {faces.names[differing[0]]} says"
            f" {faces.splits[differing[0]]} ({len(differing):,} such rows); these votes belong to another file"
        )
    return np.arange(len(faces))


def _check_agreement(faces: Faces, counts: NDArray[np.uint8], votes: Votes) -> None:
    """Split by split: one in the wrong order is small beside one that is right."""
    judged = (counts.sum(axis=1) > 0) & (faces.labels != UNLABELLED)
    agrees = counts.argmax(axis=1) == faces.labels_in(FERPLUS_CLASSES)  # [N]
    splits = [split for split in faces.available_splits if split is not Split.UNSPLIT]
    every = [(str(split), judged & (faces.splits == split)) for split in splits]
    for place, some in [*every, ("", judged)]:
        if some.sum() >= ENOUGH_FACES and agrees[some].mean() < LEAST_AGREEMENT:
            raise InputError(
                f"{votes.source}: the leading vote is the label of {faces.source} on only {agrees[some].mean():.0%} of"
                f" {some.sum():,} faces{f' of {place}' if place else ''} (65 % where they belong together); these votes are of"
                " other images or in another order"
            )


def without_single_votes(votes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[N, 10] -> [N, 10]: a choice of one person alone counts as none (the paper's rule against noise)."""
    return np.where(votes > 1, votes, 0).astype(np.uint8)


def majority(votes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """[N, 10] -> labels [N]: the class with more than half of the votes that count, or `UNLABELLED` (the paper's "majority").

    Single votes do not count; a face that most call unknown or no face has no label.
    """
    kept = without_single_votes(votes).astype(np.int64)
    leader = kept.argmax(axis=1)
    decided = 2 * kept.max(axis=1) > kept.sum(axis=1)
    return np.where(decided & (leader < len(FERPLUS_CLASSES)), leader, UNLABELLED)


def vote_shares(votes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, 10] -> [N, 8] the distribution to train towards (the paper's "cross-entropy"); all zero where a face has none.

    Single votes, "unknown" and "not a face" are dropped; a face that one of the latter leads is left out.
    """
    kept = without_single_votes(votes).astype(np.float32)
    classes = kept[:, : len(FERPLUS_CLASSES)]
    usable = (kept.argmax(axis=1) < len(FERPLUS_CLASSES)) & (classes.sum(axis=1) > 0)
    return np.where(usable[:, None], classes / np.maximum(classes.sum(axis=1, keepdims=True), 1), 0).astype(np.float32)


def undecided(faces: Faces) -> Faces:
    """Of faces with votes, those whose votes say something about the classes, and have no majority."""
    assert faces.votes is not None
    return faces.where((faces.labels == UNLABELLED) & vote_shares(faces.votes).any(axis=1))


def label_shares(faces: Faces) -> NDArray[np.float32]:
    """[N, classes] what people say of each face: the shares of their votes, or all of it for the one label.

    All zero for a face without either.
    """
    if faces.votes is not None:
        return vote_shares(faces.votes)
    shares = np.zeros((len(faces), len(faces.classes)), dtype=np.float32)
    known = np.flatnonzero(faces.labels != UNLABELLED)
    shares[known, faces.labels[known]] = 1
    return shares
