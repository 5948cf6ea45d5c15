"""Answers that cannot be right are said."""

from dataclasses import replace

import numpy as np
import pytest

from rarn_edge.contract.preprocess import check_pixel_values
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.errors import InputError
from rarn_edge.evaluation.sanity import doubts, explained_agreement, unit_mean
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.paired import compare_decisions
from rarn_edge.workflow.verdict import Evidence, judge

SPEC = ModelSpec("net", ("cat", "dog", "fox"))
LABELS = np.arange(60, dtype=np.int64) % 3


def logits_for(answers: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[answers] * 5


def test_right_answers_raise_no_doubt() -> None:
    assert doubts(logits_for(LABELS), LABELS, SPEC) == ()


def test_answers_by_chance_raise_no_doubt() -> None:
    answers = np.random.default_rng(0).integers(0, 3, 60)
    assert doubts(logits_for(answers), LABELS, SPEC) == ()


def test_classes_in_another_order_are_below_chance() -> None:
    (found,) = doubts(logits_for((LABELS + 1) % 3), LABELS, SPEC)
    assert "accuracy 0.0% is below chance (33.3%): check class order" in found


def test_one_answer_for_all_is_said() -> None:
    (found,) = doubts(logits_for(np.full(60, 1)), LABELS, SPEC)
    assert "every answer is 'dog'" in found


def test_chance_on_many_images_is_said() -> None:
    labels = np.arange(6000, dtype=np.int64) % 3
    answers = np.random.default_rng(0).integers(0, 3, 6000)
    (found,) = doubts(logits_for(answers), labels, SPEC)
    assert "is no better than chance (33.3%)" in found
    slightly = np.where(np.arange(6000) % 10 == 0, labels, answers)  # 40 %
    assert doubts(logits_for(slightly), labels, SPEC) == ()


def test_nearly_one_answer_for_all_is_said() -> None:
    labels = np.arange(6000, dtype=np.int64) % 3
    answers = np.ones(6000, dtype=np.int64)
    answers[:6] = labels[:6]
    assert any("99.9% of the answers are 'dog'" in found for found in doubts(logits_for(answers), labels, SPEC))
    dogs = np.where(np.arange(6000) % 200 == 0, 0, 1)  # 99.5 % of the pictures are dogs as well
    assert doubts(logits_for(dogs), dogs, SPEC) == ()


def test_few_images_show_nothing() -> None:
    assert doubts(logits_for(np.full(10, 1)), LABELS[:10], SPEC) == ()


def test_a_mean_of_pixels_up_to_one_is_converted() -> None:
    imagenet = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    found = unit_mean(imagenet)
    assert found is not None
    assert "--mean 123.675,116.28,103.53 --std 58.395,57.12,57.375" in found
    assert doubts(logits_for(LABELS), LABELS, replace(SPEC, preprocess=imagenet)) == (found,)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 255.0), (0.0, 1.0), (127.5, 127.5), (2.0, 255.0)])
def test_other_means_are_taken(mean: float, std: float) -> None:
    assert unit_mean(Preprocess(mean=(mean,), std=(std,))) is None


@pytest.mark.parametrize(
    ("mean", "std", "offer"),
    [(0.0, 0.25, "--mean 0 --std 63.75"), (0.5, 255.0, "--mean 127.5 --std 255"), (1.0, 255.0, "--mean 255 --std 255")],
)
def test_what_stamp_refuses_is_said_of_contracts_made_elsewhere(mean: float, std: float, offer: str) -> None:
    assert offer in (unit_mean(Preprocess(mean=(mean,), std=(std,))) or "")
    with pytest.raises(InputError, match=offer):
        check_pixel_values([mean], [std], "model.onnx")


def test_a_doubtful_model_is_never_shipped() -> None:
    right = LABELS == LABELS
    paired = compare_decisions(right, right)
    verdict = judge("int8", Evidence(Interval(0.4, 0.39, 0.41), paired, 1.0, doubt="classes are mixed up"))
    assert (verdict.decision, verdict.advice) == ("keep", "do not ship either file yet: classes are mixed up")


def test_two_unrelated_models_are_not_one() -> None:
    """Both are right on 97 of 100 images, and not on the same ones."""
    explained = explained_agreement((0.97, 0.97), 3)
    assert explained == pytest.approx(0.94135)
    right = np.arange(1000) >= 30
    paired = compare_decisions(right, right[::-1])
    ratio = Interval(0.4, 0.39, 0.41)
    kept = judge("int8", Evidence(ratio, paired, 0.90, faces=1000, explained=explained))
    assert kept.decision == "keep"
    assert "decides otherwise on 10.00%" in kept.advice
    assert judge("int8", Evidence(ratio, paired, 0.98, faces=1000, explained=explained)).decision == "ship"
