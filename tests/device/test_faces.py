"""Boxes and crops: geometry that can be checked by hand, tracks, and the files users give."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.device.boxes import CROP_SIDE, Box, Face
from rarn_edge.device.faces import crop_face, crop_to_picture, open_detector, read_boxes
from rarn_edge.device.track import FORGET_S, Tracker
from rarn_edge.errors import InputError


def picture_with(face: NDArray[np.uint8], x_px: int, y_px: int) -> NDArray[np.uint8]:
    picture = np.full((300, 400), 90, dtype=np.uint8)
    picture[y_px : y_px + face.shape[0], x_px : x_px + face.shape[1]] = face
    return picture


def test_a_given_box_of_the_right_size_is_copied_exactly() -> None:
    face = synthetic_faces(1, seed=1).images[0]
    np.testing.assert_array_equal(crop_face(picture_with(face, 100, 50), Face(Box(100, 50, 48, 48)), 48), face)


@pytest.mark.parametrize("zoom", [2, 5])
def test_a_large_face_is_averaged_down(zoom: int) -> None:
    face = synthetic_faces(1, seed=1).images[0]
    large = np.repeat(np.repeat(face, zoom, axis=0), zoom, axis=1)
    crop = crop_face(picture_with(large, 31, 17), Face(Box(31, 17, 48 * zoom, 48 * zoom)), 48)
    np.testing.assert_array_equal(crop, face)


def test_a_detectors_box_becomes_a_square_around_its_centre() -> None:
    matrix = crop_to_picture(Face(Box(100, 50, 60, 80), score=0.9), 48)
    np.testing.assert_allclose(matrix @ [24, 24, 1], [130, 90])
    np.testing.assert_allclose(matrix @ [0, 0, 1], [130 - 40 * CROP_SIDE, 90 - 40 * CROP_SIDE])


@pytest.mark.parametrize("turn_deg", [-30, 20])
def test_the_eyes_turn_the_crop_upright(turn_deg: int) -> None:
    face = cv2.resize(synthetic_faces(1, seed=3).images[0], (144, 144))
    upright = np.full((300, 300), 90, dtype=np.uint8)
    upright[78:222, 78:222] = face
    turned = cv2.warpAffine(
        upright, cv2.getRotationMatrix2D((149.5, 149.5), -turn_deg, 1), (300, 300), borderMode=cv2.BORDER_REPLICATE
    )  # OpenCV's angles are counter-clockwise
    cos, sin = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    eyes = ((150 - 25 * cos, 150 - 25 * sin), (150 + 25 * cos, 150 + 25 * sin))
    box = Box(150 - 60, 150 - 60, 120, 120)
    straight = crop_face(upright, Face(box, 0.9), 48).astype(int)
    aligned = crop_face(turned, Face(box, 0.9, eyes), 48).astype(int)
    blind = crop_face(turned, Face(box, 0.9), 48).astype(int)
    assert Face(box, 0.9, eyes).roll_deg == pytest.approx(turn_deg)
    assert np.abs(aligned - straight).mean() < 4 < np.abs(blind - straight).mean()


def test_a_box_over_the_edge_repeats_the_border() -> None:
    crop = crop_face(np.full((50, 50), 77, dtype=np.uint8), Face(Box(-30, -30, 60, 60)), 48)
    np.testing.assert_array_equal(crop, 77)


def test_a_box_outside_is_refused() -> None:
    with pytest.raises(InputError, match=r"the box 500,0,10,10 lies outside the picture of 50 x 50"):
        crop_face(np.zeros((50, 50), dtype=np.uint8), Face(Box(500, 0, 10, 10)), 48)


def test_overlap() -> None:
    assert Box(0, 0, 10, 10).overlap(Box(0, 0, 10, 10)) == 1
    assert Box(0, 0, 10, 10).overlap(Box(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert Box(0, 0, 10, 10).overlap(Box(10, 0, 10, 10)) == 0


def test_tracks_follow_two_faces_that_cross_the_list_order() -> None:
    tracker = Tracker()
    a, b = Box(0, 0, 10, 10), Box(100, 0, 10, 10)
    assert [number for number, _ in tracker.update(0.0, [a, b], [(1, 0), (0, 1)])] == [1, 2]
    assert [number for number, _ in tracker.update(0.04, [b, a], [(0, 1), (1, 0)])] == [2, 1]
    assert [number for number, _ in tracker.update(0.08, [Box(1, 0, 10, 10)], [(1, 0)])] == [1]


def test_a_track_is_forgotten_after_a_second() -> None:
    tracker = Tracker()
    box = Box(0, 0, 10, 10)
    tracker.update(0.0, [box], [(1, 0)])
    assert tracker.update(FORGET_S, [box], [(1, 0)])[0][0] == 1
    assert tracker.update(2 * FORGET_S + 0.1, [box], [(1, 0)])[0][0] == 2


def test_probabilities_are_smoothed_and_stay_probabilities() -> None:
    tracker = Tracker(smoothing_s=0.5)
    box = Box(0, 0, 10, 10)
    for step in range(20):
        tracker.update(step / 25, [box], [(0.9, 0.1)])
    ((_, flicker),) = tracker.update(20 / 25, [box], [(0.1, 0.9)])
    assert flicker[0] > 0.7  # one odd frame does not turn the label
    assert sum(flicker) == pytest.approx(1)
    for step in range(21, 80):
        ((_, chances),) = tracker.update(step / 25, [box], [(0.1, 0.9)])
    assert chances[1] > 0.85  # a change that lasts does


def test_boxes_as_text_and_as_csv(tmp_path: Path) -> None:
    assert read_boxes("1, 2.5,30,40")("any.png") == (Face(Box(1, 2.5, 30, 40)),)
    (tmp_path / "b.csv").write_text("file,x,y,width,height\na.png,1,2,3,4\nb/c.png,5,6,7,8\na.png,9,9,9,9\n")
    boxes = read_boxes(str(tmp_path / "b.csv"))
    assert [face.box.x_px for face in boxes("some/where/a.png")] == [1, 9]
    assert [face.box.x_px for face in boxes("b/c.png")] == [5]
    assert boxes("d.png") == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,x,y\na,1,2\n", "no column height, width"),
        ("file,x,y,width,height\na,1,2,x,4\n", "line 2: a box is four numbers"),
        ("file,x,y,width,height\na,1,2,0,4\n", "line 2: a box is at least one pixel"),
        ("file,x,y,width,height\na,1,nan,5,4\n", "line 2: a box is four finite numbers"),
        ("file,x,y,width,height\na,1\n", "line 2: a box is four numbers"),
        ("", "no column"),
    ],
)
def test_broken_boxes(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text(content)
    with pytest.raises(InputError, match=message):
        read_boxes(str(tmp_path / "b.csv"))


@pytest.mark.parametrize("text", ["1,2,3", "nonsense", "1,2,3,4,5"])
def test_boxes_that_are_neither(text: str) -> None:
    with pytest.raises(InputError, match="no such file; --boxes takes X,Y,WIDTH,HEIGHT or a CSV file"):
        read_boxes(text)


def test_a_detector_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; --detector takes a YuNet"):
        open_detector(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="not a YuNet face detector"):
        open_detector(Path(__file__).with_name("tiny.onnx"))
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="not a YuNet face detector"):
        open_detector(tmp_path / "text.onnx")


def test_yunet_through_opencv(tmp_path: Path) -> None:
    """A network of YuNet's form that sees one face at a known place, whatever the picture: boxes, eyes and score come through."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["mean"]),  # [1, 3, 1, 1]
        helper.make_node("ReduceMean", ["mean"], ["one"], axes=[1], keepdims=1),  # [1, 1, 1, 1]
        helper.make_node("Reshape", ["one", "flat"], ["scalar"]),  # [1, 1, 1]
        helper.make_node("Mul", ["scalar", "zero"], ["nothing"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1, 1, 1], np.int64), "flat"),
        numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "zero"),
    ]
    outputs = []
    for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            values = np.zeros((1, (320 // stride) ** 2, width), np.float32)
            if stride == 16:  # the cell in row 5, column 10: at (160, 80)
                rows = {
                    "cls": [0.81],
                    "obj": [1.0],
                    "bbox": [0, 0, np.log(3), np.log(4)],
                    "kps": [1, 0, -1, 0.5] + [0] * 6,
                }
                values[0, 5 * 20 + 10] = rows[part]
            constants.append(numpy_helper.from_array(values, f"{part}_{stride}_value"))
            nodes.append(helper.make_node("Add", ["nothing", f"{part}_{stride}_value"], [f"{part}_{stride}"]))
            outputs.append(helper.make_tensor_value_info(f"{part}_{stride}", 1, list(values.shape)))
    picture = helper.make_tensor_value_info("input", 1, [1, 3, 320, 320])
    graph = helper.make_graph(nodes, "yunet", [picture], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "yunet.onnx")
    detect = open_detector(tmp_path / "yunet.onnx")
    assert detect is not None
    (face,) = detect(np.full((320, 320, 3), 90, dtype=np.uint8))
    assert face.score == pytest.approx(0.9, abs=1e-3)  # the root of 0.81
    assert (face.box.width_px, face.box.height_px) == pytest.approx((48, 64), abs=0.1)
    assert (face.box.x_px, face.box.y_px) == pytest.approx((160 - 24, 80 - 32), abs=0.1)
    assert face.eyes is not None
    assert face.eyes[0] == pytest.approx((144, 88), abs=0.1)  # the one further left, though it came second
    assert face.eyes[1] == pytest.approx((176, 80), abs=0.1)
    assert face.roll_deg == pytest.approx(math.degrees(math.atan2(-8, 32)), abs=0.1)
