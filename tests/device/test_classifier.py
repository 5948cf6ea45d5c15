"""The classifier as a library: one or many, any kind of image, threads, abstention, and what it refuses."""

import doctest
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.contract.artifact import METADATA_KEY, Contract
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.device.classifier import split_images
from rarn_edge.errors import InputError
from rarn_edge.runtime.logits import run_logits
from rarn_edge.stats.classification import softmax

TINY = Path(__file__).with_name("tiny.onnx")


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(TINY, threads=1)


def test_answers_are_the_networks(classifier: Classifier) -> None:
    images = synthetic_faces(70, seed=1).images  # more than one batch
    logits = run_logits(classifier._session, classifier.artifact.spec, images)
    answers = classifier.predict(images)
    np.testing.assert_allclose([answer.logits for answer in answers], logits, atol=1e-6)
    np.testing.assert_allclose([answer.probabilities for answer in answers], softmax(logits), atol=1e-6)
    for answer in answers:
        assert answer.confidence == max(answer.probabilities)
        assert answer.label == answer.classes[answer.probabilities.index(answer.confidence)]


def test_every_form_of_one_image_gives_one_answer(classifier: Classifier, tmp_path: Path) -> None:
    face = synthetic_faces(1, seed=2).images[0]
    path = tmp_path / "face.png"
    assert cv2.imwrite(str(path), face)
    colour = np.repeat(face[..., None], 3, axis=2)
    alpha = np.dstack([colour, np.full(face.shape, 255, np.uint8)])
    forms: list[Any] = [face, face[..., None], colour, alpha, face[None], colour[None]]
    forms += [path, str(path), path.read_bytes(), bytearray(path.read_bytes()), [face], (path,), iter([face])]
    answers = [classifier.predict(form) for form in forms]
    assert all(answer == answers[0] for answer in answers)
    assert len(answers[0]) == 1


def test_a_list_may_mix_sizes_and_kinds(classifier: Classifier, tmp_path: Path) -> None:
    face = synthetic_faces(1, seed=2).images[0]
    (tmp_path / "face.png").write_bytes(cv2.imencode(".png", face)[1].tobytes())
    large = cv2.resize(face, (96, 120))
    mixed = classifier.predict([large, tmp_path / "face.png", face])
    assert mixed == [*classifier.predict(large), *classifier.predict(face), *classifier.predict(face)]


def test_colour_order_matters(classifier: Classifier) -> None:
    red = np.zeros((48, 48, 3), dtype=np.uint8)
    red[..., 0] = 255
    assert classifier.predict(red, colour="rgb") == classifier.predict(red[..., ::-1], colour="bgr")
    assert classifier.predict(red, colour="rgb") != classifier.predict(red, colour="bgr")


def test_no_images_give_no_answers(classifier: Classifier) -> None:
    assert classifier.predict([]) == []
    assert classifier.predict(np.empty((0, 48, 48), dtype=np.uint8)) == []


def test_abstention(classifier: Classifier) -> None:
    images = synthetic_faces(20, seed=3).images
    confidences = sorted(answer.confidence for answer in classifier.predict(images))
    middle = confidences[10]
    answers = Classifier(TINY, threads=1, min_confidence=middle).predict(images)
    assert sum(answer.abstained for answer in answers) == 10
    assert all(answer.abstained == (answer.confidence < middle) for answer in answers)


def test_the_temperature_of_the_contract_is_applied(tmp_path: Path) -> None:
    """Same length in the file, so that no byte of the graph moves: 1.0 -> 4.0."""
    content = TINY.read_bytes()
    assert content.count(b'"temperature": 1.0') == 1
    (tmp_path / "calm.onnx").write_bytes(content.replace(b'"temperature": 1.0', b'"temperature": 4.0'))
    face = synthetic_faces(1, seed=4).images
    (sharp,), (calm,) = Classifier(TINY, threads=1).predict(face), Classifier(tmp_path / "calm.onnx").predict(face)
    assert sharp.logits == calm.logits
    assert calm.confidence < sharp.confidence
    np.testing.assert_allclose(calm.probabilities, softmax(np.array([calm.logits], np.float32), 4.0)[0], atol=1e-6)


def test_threads_share_one_classifier(classifier: Classifier) -> None:
    images = synthetic_faces(24, seed=5).images
    expected = classifier.predict(images)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda image: classifier.predict(image)[0], [*images] * 4))
    assert answers == expected * 4


def test_predictions_are_frozen_and_json_ready(classifier: Classifier) -> None:
    (answer,) = classifier.predict(synthetic_faces(1, seed=6).images)
    with pytest.raises(FrozenInstanceError):
        answer.label = "happy"  # type: ignore[misc]
    found = json.loads(json.dumps(answer.to_dict()))
    assert found["probabilities"][answer.label] == answer.confidence
    assert found["latency_s"] > 0


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((48, 48)), r"uint8 array, found float64; for values 0\.\.1"),
        (np.full((48, 48), np.nan, np.float32), "NaN"),
        (np.zeros((48, 48), np.uint16), "16-bit"),
        (np.zeros((48, 48), np.int64), "found int64"),
        (np.zeros((48, 48, 2), np.uint8)[None], r"expected pixels .* found \[48, 48, 2\]"),
        (np.zeros((48,), np.uint8), r"found \[48\] uint8"),
        (np.zeros((0, 48), np.uint8), "found"),
        (b"", "image 0: cannot be decoded"),
        (b"hello, this is text", "image 0: cannot be decoded"),
        ([None], "image 0: expected a path, bytes or a uint8 array, found NoneType"),
        (17, "expected one image or a list of images, found int"),
        ("absent.png", r"absent\.png: no such file"),
    ],
    ids=str,
)
def test_what_is_no_image(classifier: Classifier, image: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        classifier.predict(image)


def test_the_image_at_fault_is_named(classifier: Classifier) -> None:
    good = synthetic_faces(1, seed=7).images[0]
    with pytest.raises(InputError, match="image 70: expected a uint8 array"):
        classifier.predict([*[good] * 70, good.astype(np.float32)])


@pytest.mark.parametrize(
    ("options", "message"), [({"min_confidence": 1.5}, "between 0 and 1"), ({"batch": 0}, "at least 1")]
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Classifier(TINY, **options)


def test_a_name_that_is_no_model() -> None:
    with pytest.raises(InputError, match=r"no model 'rarn-18' is shipped \(rarn-n, rarn-s\)"):
        Classifier("rarn-18", labels="fer2013")
    with pytest.raises(InputError, match="no model 'nonesuch' is shipped"):
        Classifier("nonesuch")
    with pytest.raises(InputError, match=r"nonesuch\.onnx: no such file"):
        Classifier("nonesuch.onnx")


@pytest.mark.parametrize(
    "change",
    [
        {"spec": {"name": "x" * 100_000}},
        {"spec": {"temperature": "1.0"}},
        {"spec": {"temperature": float("nan")}},
        {"spec": {"classes": 7}},
        {"spec": {"preprocess": {"mean": "ab"}}},
        {"precision": ["int8"]},
        {"provenance": "text"},
        {"target": 5},
        {"parameters": -1},
    ],
    ids=lambda change: str(change)[:40],
)
def test_hostile_contract(change: dict[str, Any]) -> None:
    good = json.loads(Contract(Classifier(TINY).artifact.spec).to_json())
    for key, value in change.items():
        good[key] = {**good[key], **value} if isinstance(value, dict) else value
    with pytest.raises(InputError):
        Contract.from_json(json.dumps(good), "x.onnx")


def test_hostile_contract_that_nests_without_end() -> None:
    with pytest.raises(InputError, match="damaged"):
        Contract.from_json("[" * 100_000, METADATA_KEY)


def test_examples_of_the_documentation() -> None:
    """With the shipped model."""
    from rarn_edge.device import classifier as module

    result = doctest.testmod(module)
    assert result.attempted >= 5
    assert result.failed == 0


def test_an_array_of_objects_is_a_list() -> None:
    faces = np.empty(2, dtype=object)
    faces[:] = list(synthetic_faces(2, seed=8).images)
    assert len(split_images(faces)) == 2
