"""A model beside the votes: cross-entropy, total variation, and how one person does."""

from dataclasses import replace

import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES, FERPLUS_CLASSES, ModelSpec
from rarn_edge.data import synthetic_faces
from rarn_edge.data.votes import CHOICES, majority, undecided, vote_shares
from rarn_edge.evaluation.judge import Subject, beside_votes
from rarn_edge.evaluation.votes import judge_votes, one_person

VOTES = np.zeros((3, 10), dtype=np.uint8)
VOTES[0, CHOICES.index("happy")] = 10
VOTES[1, CHOICES.index("sad")], VOTES[1, CHOICES.index("neutral")] = 7, 3
VOTES[2, CHOICES.index("contempt")], VOTES[2, CHOICES.index("unknown")] = 8, 2


def test_the_distribution_itself_is_the_best_answer() -> None:
    logits = np.log(np.maximum(vote_shares(VOTES), 1e-7))
    exact = judge_votes(logits, VOTES, FERPLUS_CLASSES, 1.0)
    assert exact is not None
    assert exact.faces == 3
    assert exact.cross_entropy == pytest.approx(exact.entropy, abs=1e-4)
    assert exact.total_variation == pytest.approx(0, abs=1e-4)
    assert exact.share_error == pytest.approx(0, abs=1e-4)
    even = judge_votes(np.zeros((3, 8), dtype=np.float32), VOTES, FERPLUS_CLASSES, 1.0)
    assert even is not None
    assert even.cross_entropy == pytest.approx(np.log(8), abs=1e-5)


def test_a_class_that_the_model_lacks_counts_against_it() -> None:
    seven = judge_votes(np.zeros((3, 7), dtype=np.float32), VOTES, CLASSES, 1.0)
    assert seven is not None
    assert seven.total_variation > 0.8
    assert seven.cross_entropy > np.log(7)


def test_one_person_beside_the_others() -> None:
    """Ten for happy: each of ten agrees with the nine. 7 sad, 3 neutral: 7 agree (6 of 9), 3 do not (7 of 9)."""
    accuracy, votes = one_person(VOTES[:2])
    assert votes == 20
    assert accuracy == pytest.approx(17 / 20)
    assert one_person(np.zeros((1, 10), dtype=np.uint8)) == (0.0, 0)


def test_no_usable_votes() -> None:
    nothing = np.zeros((3, 10), dtype=np.uint8)
    assert judge_votes(np.zeros((3, 8), dtype=np.float32), nothing, FERPLUS_CLASSES, 1.0) is None


def test_faces_without_a_majority_count_for_the_distribution() -> None:
    """5 sad, 5 neutral: no majority; 2 votes of different people and 8 for "not a face": none that counts."""
    split, lost = np.zeros(10, np.uint8), np.zeros(10, np.uint8)
    split[CHOICES.index("sad")] = split[CHOICES.index("neutral")] = 5
    lost[[CHOICES.index("sad"), CHOICES.index("fear")]], lost[CHOICES.index("nf")] = 1, 8
    votes = np.stack([*VOTES, split, lost])
    every = replace(synthetic_faces(5, seed=0), votes=votes, labels=majority(votes), classes=FERPLUS_CLASSES)
    faces, others = every.labelled(), undecided(every)
    assert [len(faces), len(others)] == [3, 1]
    spec = ModelSpec("even", classes=FERPLUS_CLASSES)
    even = Subject("even", spec, lambda images: np.zeros((len(images), 8), np.float32), None)
    logits = np.zeros((3, 8), dtype=np.float32)
    with_others, alone = (beside_votes(even, logits, faces, rest) for rest in (others, None))
    assert with_others is not None
    assert alone is not None
    assert [with_others.faces, alone.faces] == [4, 3]
    assert with_others.person_votes == alone.person_votes
    assert with_others.entropy == pytest.approx((3 * alone.entropy + np.log(2)) / 4)
    assert beside_votes(even, logits, replace(faces, votes=None), None) is None
