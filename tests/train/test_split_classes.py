"""A class that one part of the data lacks can be learnt or measured, not both."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.contract.spec import LABEL_CLASSES
from rarn_edge.data import load_faces
from rarn_edge.errors import InputError
from rarn_edge.train.run import source_of, split_for_training


@pytest.mark.parametrize(
    ("lacking", "message"),
    [("test/fox", "the held-out part has no image of fox"), ("train/fox", "Training has no image of fox")],
)
def test_a_class_in_one_split_only_is_named(tmp_path: Path, lacking: str, message: str) -> None:
    rng = np.random.default_rng(1)
    for folder in {f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog", "fox")} - {lacking}:
        (tmp_path / folder).mkdir(parents=True)
        for number in range(3):
            pixels = rng.integers(0, 256, (20, 20), dtype=np.uint8)
            assert cv2.imwrite(str(tmp_path / folder / f"{number}.png"), pixels)
    faces = load_faces(tmp_path)
    with pytest.raises(InputError, match=f"{message}; give each class some images in both"):
        split_for_training(faces)


def test_some_expressions_are_classes_of_their_own(tmp_path: Path) -> None:
    """Not FER-2013 with five empty classes: what is checked of any classes is checked of these."""
    for folder in ("train/happy", "train/sad", "test/happy"):
        (tmp_path / folder).mkdir(parents=True)
        for number in range(3):
            assert cv2.imwrite(str(tmp_path / folder / f"{number}.png"), np.full((20, 20), number, dtype=np.uint8))
    faces = load_faces(tmp_path)
    assert faces.classes == ("happy", "sad")
    assert source_of(faces) not in LABEL_CLASSES
    with pytest.raises(InputError, match="the held-out part has no image of sad"):
        split_for_training(faces)
