"""The face detector inside the package: BlazeFace, short range, by Google (Apache-2.0), made by `export/make_detector.py`.

It sees 128 x 128 pixels and finds faces from about a sixth of that side. A larger picture is therefore searched as a whole and in
overlapping tiles, all in one batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.assets import asset
from rarn_edge.device.boxes import CROP_SIDE, Box, Face
from rarn_edge.runtime.providers import CPU, open_session

FILE = "blazeface.onnx"
INPUT_SIDE = 128
TILE_SIDE_PX = 320  # no smaller tiles: a face of a sixth of it has some 50 pixels
SAME_FACE = 0.3  # intersection over union from which two answers are of one face
TOWARDS_EYES, DOWN, SIDE = 0.72, 0.07, 1.25
"""FER-2013's crop in the detector's box of side S: its centre is moved from the box's towards the middle of the eyes by that part
of the way, then down the face by `DOWN` x S; its side is `SIDE` x S. Fitted to Training faces pasted into pictures
(`benchmarks/pasted_faces.py --fit`)."""


@dataclass(frozen=True)
class Found:
    """One face: its score, and [8, 2] pixels of centre, size, right eye, left eye, nose, mouth, right ear, left ear."""

    score: float
    points: NDArray[np.float64]


def open_blazeface(min_score: float) -> Callable[[NDArray[np.uint8]], list[Face]]:
    """Picture [H, W, 3] uint8 (blue, green, red) -> faces, the surest first."""
    search = open_search(min_score)
    return lambda picture: [as_face(found) for found in search(picture)]


def as_face(found: Found) -> Face:
    """The face with its box placed so that the crop around it, `CROP_SIDE` times as large, is the one FER-2013 has."""
    centre, size, eyes = found.points[0], float(found.points[1].mean()), found.points[2:4]
    left, right = sorted((float(x), float(y)) for x, y in eyes)
    along = np.array([right[0] - left[0], right[1] - left[1]])
    down = np.array([-along[1], along[0]]) / max(float(np.hypot(*along)), 1e-9)
    centre = centre + TOWARDS_EYES * (eyes.mean(axis=0) - centre) + DOWN * size * down
    side = SIDE * size / CROP_SIDE
    return Face(Box(centre[0] - side / 2, centre[1] - side / 2, side, side), found.score, (left, right))


def open_search(min_score: float) -> Callable[[NDArray[np.uint8]], list[Found]]:
    """As `open_blazeface`, with all that the network says of a face."""
    session = open_session(asset(FILE), CPU, threads=1)

    def detect(picture: NDArray[np.uint8]) -> list[Found]:
        tiles = tiles_of(picture.shape[1], picture.shape[0])
        inputs = np.stack([_input(picture, tile) for tile in tiles])  # [tiles, 3, 128, 128]
        scores, boxes = session.run(["scores", "boxes"], {"input": inputs})  # [tiles, 896], [tiles, 896, 16]
        found = []
        for tile, tile_scores, tile_boxes in zip(tiles, scores, boxes, strict=True):
            sure = tile_scores >= min_score
            for face in merged(tile_scores[sure], tile_boxes[sure].astype(np.float64)):
                if tile is tiles[0] or _inside(face.points, tile, picture.shape[1], picture.shape[0]):
                    left, top, side = tile
                    points = face.points * side
                    points[[0, *range(2, 8)]] += [left, top]
                    found.append(Found(face.score, points))
        return distinct(found)

    return detect


def tiles_of(width_px: int, height_px: int) -> list[tuple[int, int, int]]:
    """(left, top, side) of squares: one around the whole picture, then half as large ones that overlap by half, and so on."""
    whole = max(width_px, height_px)
    tiles = [((width_px - whole) // 2, (height_px - whole) // 2, whole)]
    side = whole // 2
    while side >= TILE_SIDE_PX:
        for top in _starts(height_px, side):
            tiles += [(left, top, side) for left in _starts(width_px, side)]
        side //= 2
    return tiles


def _starts(length_px: int, side: int) -> list[int]:
    """So that tiles of `side` cover `length_px` and neighbours overlap by half at least; a tile that is longer is centred."""
    if length_px <= side:
        return [(length_px - side) // 2]
    count = 1 + -(-2 * (length_px - side) // side)
    return [round(index * (length_px - side) / (count - 1)) for index in range(count)]


def _input(picture: NDArray[np.uint8], tile: tuple[int, int, int]) -> NDArray[np.float32]:
    """A tile, black beyond the picture's edge, as [3, 128, 128] float32: red, green, blue, -1..1."""
    left, top, side = tile
    part = picture[max(top, 0) : top + side, max(left, 0) : left + side]
    scale = INPUT_SIDE / side
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    pixels = np.zeros((INPUT_SIDE, INPUT_SIDE, 3), np.uint8)
    x, y = round(max(-left, 0) * scale), round(max(-top, 0) * scale)
    small = cv2.resize(part, size, interpolation=method)[: INPUT_SIDE - y, : INPUT_SIDE - x]
    pixels[y : y + small.shape[0], x : x + small.shape[1]] = small
    return np.ascontiguousarray(pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(127.5) - 1)


def _inside(points: NDArray[np.float64], tile: tuple[int, int, int], width_px: int, height_px: int) -> bool:
    """Whether a box lies in its tile, or leaves it only where the picture ends: else another tile has the face whole."""
    left, top, side = tile
    low, high = points[0] - points[1] / 2, points[0] + points[1] / 2  # in parts of the tile's side
    return bool(
        (low[0] >= 0 or left <= 0)
        and (low[1] >= 0 or top <= 0)
        and (high[0] <= 1 or left + side >= width_px)
        and (high[1] <= 1 or top + side >= height_px)
    )


def merged(scores: NDArray[np.float32], boxes: NDArray[np.float64]) -> list[Found]:
    """Answers of one tile [n], [n, 16]: those that overlap the surest are averaged by score, as MediaPipe does, and so on."""
    found = []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        same = overlaps(boxes[left[0]], boxes[left]) > SAME_FACE
        same[0] = True
        weights = scores[left[same]].astype(np.float64)
        mean = (boxes[left[same]] * weights[:, None]).sum(axis=0) / weights.sum()
        found.append(Found(float(scores[left[0]]), mean.reshape(8, 2)))
        left = left[~same]
    return found


def distinct(found: list[Found]) -> list[Found]:
    """Of answers for one face from several tiles, the surest."""
    kept: list[Found] = []
    for face in sorted(found, key=lambda face: -face.score):
        if all(overlaps(face.points.ravel(), other.points.reshape(1, 16))[0] <= SAME_FACE for other in kept):
            kept.append(face)
    return kept


def overlaps(box: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box [16] with boxes [n, 16]; the first four are centre and size."""
    low = np.maximum(box[:2] - box[2:4] / 2, boxes[:, :2] - boxes[:, 2:4] / 2)
    high = np.minimum(box[:2] + box[2:4] / 2, boxes[:, :2] + boxes[:, 2:4] / 2)
    common = np.clip(high - low, 0, None).prod(axis=1)
    return np.asarray(common / (box[2:4].prod() + boxes[:, 2:4].prod(axis=1) - common))
