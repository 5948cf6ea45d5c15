"""The drawn faces: the same for everyone, balanced, and as bright and contrasted as FER-2013."""

import numpy as np
import pytest

from rarn_edge.data import Split, synthetic_faces
from rarn_edge.errors import InputError


def test_shape_labels_and_split() -> None:
    faces = synthetic_faces(15, seed=0)
    assert faces.images.shape == (15, 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.labels.tolist() == [*range(7), *range(7), 0]
    assert faces.available_splits == (Split.UNSPLIT,)
    assert len(set(faces.names)) == 15


def test_a_face_depends_on_seed_and_position_alone() -> None:
    many = synthetic_faces(20, seed=3)
    assert (many.images == synthetic_faces(20, seed=3).images).all()
    assert (many.images[:9] == synthetic_faces(9, seed=3).images).all()
    assert (many.images != synthetic_faces(20, seed=4).images).any(axis=(1, 2)).all()


def test_no_two_faces_are_alike() -> None:
    images = synthetic_faces(100, seed=0).images
    assert len(np.unique(images.reshape(100, -1), axis=0)) == 100


@pytest.mark.parametrize("seed", [0, 1])
def test_brightness_and_contrast_are_those_of_fer2013(seed: int) -> None:
    images = synthetic_faces(300, seed).images
    assert abs(images.mean() - 129.5) < 8
    assert abs(images.std() - 62) < 8
    assert images.std(axis=(1, 2)).min() > 10  # no empty picture


def test_expressions_can_be_told_apart() -> None:
    """The nearest class mean of other faces is right clearly more often than by chance (1 in 7)."""
    faces = synthetic_faces(560, seed=0)
    pixels = faces.images.reshape(len(faces), -1).astype(np.float64)
    pixels = (pixels - pixels.mean(axis=1, keepdims=True)) / pixels.std(axis=1, keepdims=True)
    means = np.stack([pixels[:350][faces.labels[:350] == label].mean(axis=0) for label in range(7)])
    distance = ((pixels[350:, None] - means[None]) ** 2).sum(axis=2)
    assert (distance.argmin(axis=1) == faces.labels[350:]).mean() > 0.25


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-3, 0), (7, -1)])
def test_impossible_requests(count: int, seed: int) -> None:
    with pytest.raises(InputError, match="expected count >= 1 and seed >= 0"):
        synthetic_faces(count, seed)
