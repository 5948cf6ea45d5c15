"""Choosing among faces: splits, held-out data, balanced samples and stratified parts."""

import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES, FERPLUS_CLASSES
from rarn_edge.data.faces import UNLABELLED, Faces, Split, classes_of
from rarn_edge.errors import InputError


def make(labels: list[int], splits: list[Split] | None = None) -> Faces:
    """1x1 images whose pixel is their position."""
    count = len(labels)
    return Faces(
        np.arange(count, dtype=np.uint8).reshape(count, 1, 1),
        np.array(labels, dtype=np.int64),
        np.array([split.value for split in splits or [Split.UNSPLIT] * count]),
        tuple(str(i) for i in range(count)),
        "made up",
    )


def test_splits_are_kept_apart() -> None:
    faces = make([0, 1, 2, 3], [Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST, Split.TRAINING])
    assert faces.available_splits == (Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST)
    assert faces.split(Split.TRAINING).names == ("0", "3")
    assert faces.split(Split.PUBLIC_TEST).names == ("1",)
    assert faces.split(Split.TEST).names == ("1", "2")
    assert faces.split(Split.UNSPLIT) is faces
    assert faces.split(Split.TRAINING).images.ravel().tolist() == [0, 3]


def test_of_data_without_splits_a_tenth_of_each_class_is_held_out() -> None:
    faces = make([0] * 20 + [1] * 30)
    training, test = faces.split(Split.TRAINING), faces.split(Split.TEST)
    assert (training.available_splits, test.available_splits) == ((Split.TRAINING,), (Split.TEST,))
    assert np.bincount(test.labels).tolist() == [2, 3]
    assert sorted((*training.names, *test.names)) == sorted(faces.names)
    assert training.split(Split.TRAINING).names == training.names  # nothing is cut off twice
    assert make([0] * 20 + [1] * 30, [Split.TRAINING] * 50).split(Split.TEST).names == test.names
    assert len(make([0, 1, 1]).split(Split.TRAINING)) == 3
    with pytest.raises(InputError, match="made up has no split 'test'; it has: all"):
        make([0, 1, 1]).split(Split.TEST)


def test_a_split_that_is_not_there_says_which_are() -> None:
    faces = make([0, 1], [Split.TRAINING, Split.TRAINING])
    with pytest.raises(InputError, match="made up has no split 'PublicTest'; it has: Training"):
        faces.split(Split.PUBLIC_TEST)


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("Training", Split.TRAINING),
        ("train", Split.TRAINING),
        ("public-test", Split.PUBLIC_TEST),
        ("PRIVATE_TEST", Split.PRIVATE_TEST),
        (" test ", Split.TEST),
        ("all", Split.UNSPLIT),
    ],
)
def test_split_names(text: str, split: Split) -> None:
    assert Split.parse(text) is split


def test_unknown_split_name() -> None:
    with pytest.raises(InputError, match="no split 'third'; one of: Training, PublicTest, PrivateTest, test, all"):
        Split.parse("third")


@pytest.mark.parametrize(
    ("splits", "names"),
    [
        ([Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST], ("1",)),
        ([Split.TRAINING, Split.TEST, Split.TEST], ("1", "2")),
        ([Split.UNSPLIT, Split.UNSPLIT, Split.UNSPLIT], ("0", "1", "2")),
    ],
)
def test_held_out(splits: list[Split], names: tuple[str, ...]) -> None:
    assert make([0, 1, 2], splits).held_out().names == names


def test_held_out_never_falls_back_to_training() -> None:
    with pytest.raises(InputError, match="name the split to measure on: --split test"):
        make([0], [Split.TRAINING]).held_out()


def test_labelled() -> None:
    assert len(make([0, 1]).labelled()) == 2
    with pytest.raises(
        InputError, match="1 of 2 images have no label, which this command needs, '1' among them; put each"
    ):
        make([0, UNLABELLED]).labelled()


def test_balanced_sample_is_seeded_and_as_balanced_as_it_can_be() -> None:
    faces = make([0] * 50 + [1] * 50 + [2] * 3)
    sample = faces.balanced_sample(23, seed=5)
    assert np.bincount(sample.labels).tolist() == [10, 10, 3]
    assert len(set(sample.names)) == 23
    assert sample.names == faces.balanced_sample(23, seed=5).names
    assert sample.names != faces.balanced_sample(23, seed=6).names


@pytest.mark.parametrize(("count", "taken"), [(0, 0), (1, 1), (103, 103), (1000, 103)])
def test_balanced_sample_sizes(count: int, taken: int) -> None:
    assert len(make([0] * 50 + [1] * 50 + [2] * 3).balanced_sample(count, seed=0)) == taken


def test_holdout_mask_is_seeded_and_stratified() -> None:
    faces = make([0] * 40 + [1] * 100 + [2] * 20)
    mask = faces.holdout_mask(0.1, seed=3)
    assert np.bincount(faces.where(mask).labels).tolist() == [4, 10, 2]
    assert (mask == faces.holdout_mask(0.1, seed=3)).all()
    assert (mask != faces.holdout_mask(0.1, seed=4)).any()
    assert len(faces.where(mask)) + len(faces.where(~mask)) == len(faces)


def test_expressions_in_any_spelling_are_the_project_s_classes() -> None:
    classes, index_of = classes_of([" Anger ", "HAPPY", "sadness"], "x")
    assert classes == ("angry", "happy", "sad")
    assert [classes[index] for index in index_of.values()] == ["angry", "happy", "sad"]
    assert classes_of(["contempt", "happy"], "x")[0] == ("happy", "contempt")
    assert classes_of(sorted(CLASSES), "x")[0] == CLASSES
    assert classes_of(sorted(FERPLUS_CLASSES), "x")[0] == FERPLUS_CLASSES
    assert classes_of([], "x")[0] == CLASSES


def test_other_names_are_classes_as_they_stand() -> None:
    assert classes_of(["Rose", "daisy", "happy"], "x") == (
        ("Rose", "daisy", "happy"),
        {"Rose": 0, "daisy": 1, "happy": 2},
    )


def test_classes_that_differ_by_case_are_refused() -> None:
    with pytest.raises(InputError, match="'Happy' and 'happy' differ by case alone"):
        classes_of(["Happy", "happy"], "x")
    with pytest.raises(InputError, match="'Rose' and 'rose' differ by case alone"):
        classes_of(["Rose", "daisy", "rose"], "x")
