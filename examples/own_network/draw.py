"""Draw eight classes of pictures, four shapes in red and in blue: `python draw.py pictures`.

Each shape is of any size, place and shade, on a background of any colour: the class is in the shape and in its colour, and gray
pictures of a red and of a blue circle look alike.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 80
SHAPES = ("circle", "cross", "square", "triangle")
COLOURS = {"red": (40, 40, 215), "blue": (215, 40, 40)}  # OpenCV's order: blue, green, red
IMAGES = {"train": 150, "test": 80}  # of each class
ZOOM = 4  # drawn larger and averaged down: smooth edges


def picture(shape: str, colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One picture [80, 80, 3] uint8 in OpenCV's order."""
    side = SIDE_PX * ZOOM
    background = rng.integers(90, 200, 3)
    image = np.full((side, side, 3), background, np.float32)
    radius = side * rng.uniform(0.2, 0.34)
    x, y = rng.uniform(radius, side - radius, 2)
    shade = tuple(float(value) for value in np.array(COLOURS[colour]) + rng.integers(-35, 36, 3))
    if shape == "circle":
        cv2.circle(image, (int(x), int(y)), int(radius), shade, -1)
    else:
        corners = {"square": 4, "triangle": 3, "cross": 4}[shape]
        turns = (np.arange(corners) / corners + rng.uniform(0, 1)) * 2 * np.pi
        points = np.stack([x + radius * np.cos(turns), y + radius * np.sin(turns)], axis=1).astype(np.int32)
        if shape == "cross":
            for start, end in ((0, 2), (1, 3)):
                cv2.line(image, points[start].tolist(), points[end].tolist(), shade, int(radius * 0.5))
        else:
            cv2.fillPoly(image, [points], shade)
    small = cv2.resize(image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    return np.clip(small + rng.normal(0, 8, small.shape), 0, 255).astype(np.uint8)


def main(folder: Path) -> None:
    """Write SPLIT/CLASS/NUMBER.png."""
    rng = np.random.default_rng(0)
    for split, count in IMAGES.items():
        for shape in SHAPES:
            for colour in COLOURS:
                place = folder / split / f"{colour}-{shape}"
                place.mkdir(parents=True)
                for number in range(count):
                    cv2.imwrite(str(place / f"{number:03}.png"), picture(shape, colour, rng))
    print(
        f"{folder}: {sum(IMAGES.values()) * len(SHAPES) * len(COLOURS):,} pictures of {len(SHAPES) * len(COLOURS)} classes"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
