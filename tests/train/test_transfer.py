"""Other classes for a trained net: a new classifier, the rest at a low rate; it beats a start from nothing on few images."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.assets import shipped_weights
from rarn_edge.contract.spec import CLASSES, FERPLUS, FERPLUS_CLASSES
from rarn_edge.data import Faces, Split, load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.models.build import build_model
from rarn_edge.models.classifier import classifier_of
from rarn_edge.models.find import find_network
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.loop import sgd
from rarn_edge.train.loop import train as train_run
from rarn_edge.train.recipe import RECIPES
from rarn_edge.train.run import Run
from rarn_edge.workflow.train import TrainOptions, train

GROUPS = {"calm": ("neutral",), "startled": ("surprise", "fear"), "upset": ("angry", "disgust", "sad", "contempt")}
PER_CLASS = 200


def test_the_classifier_learns_at_the_full_rate_and_the_rest_at_a_tenth() -> None:
    model = build_model("rarn-n", 3)
    groups = sgd(model, RECIPES["edge-transfer"], 3).param_groups
    slow = {id(p) for group in groups if group["share"] == 0.1 for p in group["params"]}
    fast = {id(p) for group in groups if group["share"] == 1.0 for p in group["params"]}
    assert fast == {id(p) for p in classifier_of(model, 3).parameters()}
    assert slow | fast == {id(p) for p in model.parameters()}
    assert not slow & fast


def test_a_shipped_model_starts_and_teaches_with_its_weights_for_the_labels(faces_folder: Path, tmp_path: Path) -> None:
    """Of the seven classes of FER-2013 here; of other classes the default ones start it."""
    options = TrainOptions(
        "rarn-n", "edge-turned-patient", epochs=1, batch=16, teachers=(Path("rarn-s"),), init="rarn-n", threads=1
    )
    done = train(faces_folder, tmp_path / "run", options)
    assert done is not None
    said = load_weights(done.weights).provenance
    assert said["started_from"] == load_weights(shipped_weights("rarn-n", "fer2013")).sha256
    assert said["teachers"] == [load_weights(shipped_weights("rarn-s", "fer2013")).sha256]
    other = replace(options, classes=("happy", "sad"), teachers=(), recipe="edge-transfer")
    done = train(faces_folder, tmp_path / "other", other, on_notice=lambda _text, _kind: None)
    assert done is not None
    assert load_weights(done.weights).provenance["started_from"] == load_weights(shipped_weights("rarn-n")).sha256


def test_a_net_without_such_a_classifier_is_refused() -> None:
    with pytest.raises(InputError, match="no linear layer or convolution of 5 outputs"):
        classifier_of(build_model("rarn-n", 3), 5)


def test_transfer_says_what_is_new_and_learns_the_classes_asked_for(tmp_path: Path) -> None:
    drawn = synthetic_faces(7 * 18, seed=3)
    for name, expression in (("Smile", "happy"), ("Frown", "angry"), ("other", "neutral")):
        pixels = drawn.pixels[drawn.labels == CLASSES.index(expression)]
        for index, face in enumerate(pixels):
            path = tmp_path / "faces" / ("train" if index < 16 else "test") / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), face)
    said: list[str] = []
    options = TrainOptions(
        "rarn-n",
        "edge-transfer",
        epochs=1,
        init=shipped_weights("rarn-n"),
        classes=("Smile", "Frown"),
        threads=1,
    )
    done = train(tmp_path / "faces", tmp_path / "run", options, on_notice=lambda text, _: said.append(text))
    assert done is not None
    assert load_weights(done.weights).spec.classes == ("Smile", "Frown")
    assert any("8 other classes: the classifier is new" in text for text in said)
    assert any("32 images to train on, 4 to test on" in text for text in said)


def grouped(faces: Faces) -> Faces:
    """FER+ faces under three labels."""
    group_of = {name: index for index, names in enumerate(GROUPS.values()) for name in names}
    labels = np.array([group_of.get(FERPLUS_CLASSES[label], -1) for label in faces.labels.tolist()], dtype=np.int64)
    return replace(faces, labels=labels, classes=tuple(GROUPS), votes=None).where(labels >= 0)


def test_it_beats_a_start_from_nothing_on_real_faces(fer2013: Path, ferplus: Path, tmp_path: Path) -> None:
    """600 faces, three groups of the FER+ votes; the start from nothing has twice as many epochs."""

    def firsts(found: Faces) -> Faces:
        training = grouped(found.labelled().split(Split.TRAINING))
        chosen = [np.flatnonzero(training.labels == label)[:PER_CLASS] for label in range(len(GROUPS))]
        return training.where(np.concatenate(chosen))

    def held_out(found: Faces) -> Faces:
        return grouped(found.labelled().split(Split.PUBLIC_TEST)).balanced_sample(450, seed=0)

    few, test = (load_faces(fer2013, choose, ferplus) for choose in (firsts, held_out))  # decodes no other
    start = load_weights(shipped_weights("rarn-n", "fer2013"))
    transfer = replace(RECIPES["edge-transfer"], epochs=4)
    scratch = replace(RECIPES["edge-nano"], epochs=8, batch=32)
    accuracy = [
        train_run(Run(find_network("rarn-n"), recipe, 0, few, test, tmp_path / name, 1, start=begun))[-1]
        for name, recipe, begun in (("transfer", transfer, start), ("scratch", scratch, None))
    ]
    assert accuracy[0].test_accuracy > accuracy[1].test_accuracy + 0.05
    assert FERPLUS not in load_weights(tmp_path / "transfer" / "weights.safetensors").spec.label_source
