"""Turned faces and the curve over them."""

import numpy as np
import pytest

from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.evaluation.roll import ROLL_DEGREES, roll_curve, turned


def test_quarter_turns_are_exact() -> None:
    images = synthetic_faces(3, seed=0).images
    assert np.array_equal(turned(images, 90), np.rot90(images, axes=(1, 2)))
    assert np.array_equal(turned(images, -90), np.rot90(images, k=-1, axes=(1, 2)))
    assert turned(images, 0) is images


def test_there_and_back_is_nearly_the_image() -> None:
    images = synthetic_faces(2, seed=1).images
    back = turned(turned(images, 30), -30).astype(int)
    middle = slice(14, 34)
    assert np.abs(back - images)[:, middle, middle].mean() < 12
    assert np.abs(turned(images, 30).astype(int) - images)[:, middle, middle].mean() > 12


def test_the_curve_sees_every_angle() -> None:
    """A model that is right on upright faces only."""
    images = synthetic_faces(5, seed=2).images
    upright = {image.tobytes() for image in images}

    def predict(faces: np.ndarray) -> np.ndarray:
        known = [float(face.tobytes() in upright) for face in faces]
        return np.array([[1 - value, value] for value in known], dtype=np.float32)

    seen: list[tuple[int, int]] = []
    curve = roll_curve(predict, images, np.ones(5, dtype=np.int64), on_angle=lambda *done: seen.append(done))
    assert [point.roll_deg for point in curve] == list(ROLL_DEGREES) == list(range(-90, 91, 15))
    assert {point.roll_deg: point.accuracy for point in curve}[0] == 1.0
    assert sum(point.accuracy for point in curve) == pytest.approx(1.0)
    assert seen[-1] == (13, 13)
