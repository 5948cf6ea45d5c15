"""Draw a small data set with classes of one's own: python draw.py FOLDER writes FOLDER/{train,test}/{smile,frown,calm}/*.png.

Stands for a folder of your own pictures. The faces are drawn, so the example needs no data set and no licence.
"""

import sys
from pathlib import Path

import cv2

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data import synthetic_faces

EXPRESSIONS = {"smile": "happy", "frown": "angry", "calm": "neutral"}
TRAIN, TEST = 200, 50  # of each class


def main(folder: Path) -> None:
    faces = synthetic_faces(len(CLASSES) * (TRAIN + TEST), seed=40)
    for name, expression in EXPRESSIONS.items():
        for index, face in enumerate(faces.pixels[faces.labels == CLASSES.index(expression)]):
            path = folder / ("train" if index < TRAIN else "test") / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", face)[1].tobytes())
    print(f"{folder}: {TRAIN} training and {TEST} test pictures of each of {', '.join(EXPRESSIONS)}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
