"""A model beside the votes: cross-entropy, total variation, and how one person does."""

from dataclasses import replace

import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES, FERPLUS_CLASSES
from rarn_edge.data import Faces, synthetic_faces
from rarn_edge.data.votes import CHOICES, majority, vote_shares
from rarn_edge.evaluation.votes import judge_votes, one_person

VOTES = np.zeros((3, 10), dtype=np.uint8)
VOTES[0, CHOICES.index("happy")] = 10
VOTES[1, CHOICES.index("sad")], VOTES[1, CHOICES.index("neutral")] = 7, 3
VOTES[2, CHOICES.index("contempt")], VOTES[2, CHOICES.index("unknown")] = 8, 2


@pytest.fixture
def faces() -> Faces:
    return replace(synthetic_faces(3, seed=0), votes=VOTES, labels=majority(VOTES), classes=FERPLUS_CLASSES)


def test_the_distribution_itself_is_the_best_answer(faces: Faces) -> None:
    logits = np.log(np.maximum(vote_shares(VOTES), 1e-7))
    exact = judge_votes(logits, faces, FERPLUS_CLASSES, 1.0)
    assert exact is not None
    assert exact.faces == 3
    assert exact.cross_entropy == pytest.approx(exact.entropy, abs=1e-4)
    assert exact.total_variation == pytest.approx(0, abs=1e-4)
    assert exact.share_error == pytest.approx(0, abs=1e-4)
    even = judge_votes(np.zeros((3, 8), dtype=np.float32), faces, FERPLUS_CLASSES, 1.0)
    assert even is not None
    assert even.cross_entropy == pytest.approx(np.log(8), abs=1e-5)


def test_a_class_that_the_model_lacks_counts_against_it(faces: Faces) -> None:
    seven = judge_votes(np.zeros((3, 7), dtype=np.float32), faces, CLASSES, 1.0)
    assert seven is not None
    assert seven.total_variation > 0.8
    assert seven.cross_entropy > np.log(7)


def test_one_person_beside_the_others() -> None:
    """Ten for happy: each of ten agrees with the nine. 7 sad, 3 neutral: 7 agree (6 of 9), 3 do not (7 of 9)."""
    accuracy, votes = one_person(VOTES[:2])
    assert votes == 20
    assert accuracy == pytest.approx(17 / 20)
    assert one_person(np.zeros((1, 10), dtype=np.uint8)) == (0.0, 0)


def test_no_usable_votes(faces: Faces) -> None:
    nothing = replace(faces, votes=np.zeros((3, 10), dtype=np.uint8))
    assert judge_votes(np.zeros((3, 8), dtype=np.float32), nothing, FERPLUS_CLASSES, 1.0) is None
