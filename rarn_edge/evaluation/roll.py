"""Accuracy against roll: how much a tilted head costs, which the paper claims to withstand and never measures."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.data.stream import Images
from rarn_edge.stats.classification import wilson_interval

Predict = Callable[[Images], NDArray[np.float32]]  # pictures [N, H, W] or [N, H, W, 3] uint8 -> logits [N, K]

ROLL_DEGREES = tuple(range(-90, 91, 15))


@dataclass(frozen=True)
class RollPoint:
    """Accuracy on the same faces, all turned by `roll_deg` (counter-clockwise), with its 95 % interval."""

    roll_deg: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float


def turned(images: NDArray[np.uint8], roll_deg: float) -> NDArray[np.uint8]:
    """[N, H, W] or [N, H, W, 3] uint8 turned about their centres, bilinear; the border's pixels fill what was outside."""
    if roll_deg == 0:
        return images
    height, width = images.shape[1:3]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), roll_deg, 1.0)
    result = np.empty_like(images)
    for index, image in enumerate(images):
        result[index] = cv2.warpAffine(
            image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return result


def roll_curve(
    predict: Predict,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    degrees: tuple[int, ...] = ROLL_DEGREES,
    on_angle: Callable[[int, int], None] | None = None,
) -> tuple[RollPoint, ...]:
    """Accuracy at each angle: images [N, H, W], labels [N]; `on_angle(done, total)` is called after each."""
    points = []
    for done, roll_deg in enumerate(degrees, start=1):
        right = int((predict(turned(images, roll_deg)).argmax(axis=1) == labels).sum())
        points.append(RollPoint(roll_deg, right / len(labels), *wilson_interval(right, len(labels))))
        if on_angle is not None:
            on_angle(done, len(degrees))
    return tuple(points)
