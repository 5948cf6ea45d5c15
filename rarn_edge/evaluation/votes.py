"""A model beside the people who looked at the same faces: whole distributions instead of one label."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.spec import FERPLUS_CLASSES
from rarn_edge.data.faces import UNLABELLED, positions_in
from rarn_edge.data.votes import CHOICES, majority, vote_shares
from rarn_edge.evaluation.confidence import BINS
from rarn_edge.stats.classification import softmax

LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class VoteFigures:
    """How a model's probabilities compare with the shares of people's votes, over the faces that have a usable distribution."""

    faces: int  # with and without a majority
    cross_entropy: float  # of the probabilities with the vote shares, in nats
    entropy: float  # of the vote shares themselves: the least possible cross-entropy
    total_variation: float  # half the sum of the absolute differences, mean over faces, 0 to 1
    share_error: float  # |mean probability - mean vote share| of the answered class, weighted over 15 equal bins
    person_accuracy: float  # on faces with a majority: how often one vote names the majority of the others
    person_votes: int  # over so many votes, each taken out of the count before the majority of the others is formed


def judge_votes(
    logits: NDArray[np.float32], votes: NDArray[np.uint8], classes: tuple[str, ...], temperature: float
) -> VoteFigures | None:
    """Compare answers with people's votes: logits [N, classes], votes [N, 10]; None where no face has a distribution.

    A class that the model lacks has probability zero; votes for it then count fully against the model.
    """
    shares = vote_shares(votes).astype(np.float64)  # [N, 8]
    usable = shares.any(axis=1)
    if not usable.any():
        return None
    shares = shares[usable]
    own = softmax(logits[usable], temperature).astype(np.float64)  # [M, classes]
    places = positions_in(classes, FERPLUS_CLASSES)  # [8]
    found = np.where(places >= 0, own[:, places], 0.0)  # [M, 8]
    answered = found.argmax(axis=1)
    rows = np.arange(len(found))
    logs = np.log(np.maximum(found, LEAST_PROBABILITY))
    accuracy, counted = one_person(votes[majority(votes) != UNLABELLED])
    return VoteFigures(
        faces=len(found),
        cross_entropy=float(-(shares * logs).sum(axis=1).mean()),
        entropy=float(-(shares * np.log(np.maximum(shares, LEAST_PROBABILITY))).sum(axis=1).mean()),
        total_variation=float(np.abs(found - shares).sum(axis=1).mean() / 2),
        share_error=_share_error(found[rows, answered], shares[rows, answered]),
        person_accuracy=accuracy,
        person_votes=counted,
    )


def one_person(votes: NDArray[np.uint8]) -> tuple[float, int]:
    """How often one person's vote is the majority of the other votes, and over how many votes: votes [N, 10].

    Each vote is taken out in turn; where the others have no majority by the paper's rule, it is not counted.
    """
    agreed, counted = 0, 0
    for choice in range(len(CHOICES)):
        cast = votes[:, choice].astype(np.int64)
        others = votes.copy()
        others[:, choice] = np.maximum(cast - 1, 0)
        label = majority(others)
        known = label != UNLABELLED
        counted += int(cast[known].sum())
        agreed += int(cast[known & (label == choice)].sum())
    return agreed / max(counted, 1), counted


def _share_error(probabilities: NDArray[np.float64], shares: NDArray[np.float64]) -> float:
    index = np.clip((probabilities * BINS).astype(np.int64), 0, BINS - 1)
    differences = np.bincount(index, probabilities - shares, minlength=BINS)  # the sum of each bin
    return float(np.abs(differences).sum() / len(probabilities))
