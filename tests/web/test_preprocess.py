"""The page's JavaScript prepares pixels as `rarn_edge.contract.preprocess` does, bit by bit."""

import base64
import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.board.web import make
from rarn_edge.contract.preprocess import fit, model_input, resize, to_gray
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.device.blazeface import tiles_of
from rarn_edge.device.boxes import CROP_SIDE, Box, Face
from rarn_edge.device.faces import crop_face, cut_face

PAGE = Path(make.__file__).with_name("page")
SCRIPT = """
import fs from "node:fs";
import * as own from "./preprocess.js";
import { cropFace, cutFace, tilesOf } from "./detector.js";
import { fromBase85 } from "./parts.js";
const tasks = JSON.parse(fs.readFileSync(0, "utf8"));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const picture = ({ data, height, width }) => ({ data: bytes(data), height, width });
const text = (array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString("base64");
const shown = (pictures, spec) => own.networkInput(pictures.map((each) => own.fit(each, spec.preprocess)), spec);
const run = {
  gray: (t) => own.toGray(bytes(t.rgba), t.height, t.width).data,
  resize: (t) => own.resize(picture(t.picture), t.height, t.width).data,
  crop: (t) => own.cropUpright(picture(t.picture), t.box, t.side).data,
  input: (t) => shown(t.pictures.map((each) => own.pictureOf(picture(each))), t.spec),
  canvas: (t) => shown([own.toPicture(bytes(t.rgba), t.height, t.width, t.spec.preprocess)], t.spec),
  face: (t) => Buffer.concat(cutFace(own.pictureOf(picture(t.picture)), t, t.preprocess).map((each) => each.data)),
  turned: (t) => cropFace(picture(t.picture), { box: t.box, roll: t.roll }, t.side).data,
  tiles: (t) => Int32Array.from(tilesOf(t.width, t.height).flatMap(({ left, top, side }) => [left, top, side])),
  base85: (t) => fromBase85(t.text),
};
console.log(JSON.stringify(tasks.map((task) => text(run[task.do](task)))));
"""


@pytest.fixture(scope="module")
def run(node: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Tasks through the page's own modules, outside a browser."""
    folder = shutil.copytree(PAGE, tmp_path_factory.mktemp("page") / "page")
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.js").write_text(SCRIPT)

    def call(tasks: list[dict[str, Any]], dtype: str = "u1") -> list[NDArray[Any]]:
        done = subprocess.run(
            [node, "run.js"], cwd=folder, input=json.dumps(tasks), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return [np.frombuffer(base64.b64decode(text), dtype) for text in json.loads(done.stdout)]

    return call


def picture(gray: NDArray[np.uint8]) -> dict[str, Any]:
    """[H, W], or [H, W, 3] red, green, blue."""
    return {"data": base64.b64encode(gray.tobytes()).decode(), "height": gray.shape[0], "width": gray.shape[1]}


def test_gray_is_opencvs(run: Any) -> None:
    bgr = np.random.default_rng(1).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    rgba = np.dstack([bgr[..., ::-1], np.full(bgr.shape[:2], 255, np.uint8)])
    (found,) = run([{"do": "gray", "rgba": base64.b64encode(rgba.tobytes()).decode(), "height": 200, "width": 300}])
    np.testing.assert_array_equal(found.reshape(200, 300), cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY))


def test_resize_is_opencvs(run: Any) -> None:
    """Smaller, larger, both at once, whole factors, one row, one column; to sizes that are not square too."""
    rng = np.random.default_rng(2)
    sizes = [
        (1, 1),
        (1, 60),
        (60, 1),
        (47, 48),
        (48, 49),
        (24, 24),
        (96, 96),
        (144, 96),
        (96, 48),
        (240, 240),
        (31, 200),
    ]
    sizes += [tuple(int(side) for side in rng.integers(2, 400, 2)) for _ in range(120)]
    targets = [(48, 48), (48, 48), (64, 40), (7, 90)]
    tasks, expected = [], []
    for number, (height, width) in enumerate(sizes):
        gray = rng.integers(0, 256, (height, width), dtype=np.uint8)
        to_height, to_width = targets[number % len(targets)]
        tasks.append({"do": "resize", "picture": picture(gray), "height": to_height, "width": to_width})
        expected.append(resize(gray, to_height, to_width))
    for task, found, wanted in zip(tasks, run(tasks), expected, strict=True):
        size = (task["picture"]["height"], task["picture"]["width"])
        np.testing.assert_array_equal(found.reshape(wanted.shape), wanted, err_msg=f"{size} to {wanted.shape}")


def test_crop_is_predicts(run: Any) -> None:
    """Whole pixels, half pixels, beyond every edge."""
    gray = np.random.default_rng(3).integers(0, 256, (90, 120), dtype=np.uint8)
    boxes = [(0, 0, 120, 90), (10.5, 11.5, 48, 48), (-20, -7.5, 60.5, 61.5), (100, 70, 64, 64), (30.2, 20.7, 30, 45)]
    tasks = [
        {
            "do": "crop",
            "picture": picture(gray),
            "side": 48,
            "box": dict(zip(("x", "y", "width", "height"), box, strict=True)),
        }
        for box in boxes
    ]
    for box, found in zip(boxes, run(tasks), strict=True):
        np.testing.assert_array_equal(found.reshape(48, 48), crop_face(gray, Face(Box(*box)), 48), err_msg=str(box))


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_network_input_is_the_same_bits(run: Any, dtype: str) -> None:
    size = Preprocess(10, 12, (129.5, 100.1, 3.0), (65.1, 58.3, 1.0))
    spec = ModelSpec("x", preprocess=size, input_dtype=dtype)  # type: ignore[arg-type]
    gray = np.random.default_rng(4).integers(0, 256, (10, 12), dtype=np.uint8)
    (found,) = run([{"do": "input", "pictures": [picture(gray)], "spec": spec.to_dict()}], np.dtype(dtype).str)
    np.testing.assert_array_equal(found, model_input(np.repeat(gray[None, ..., None], 3, 3), spec).ravel())


COLOUR_FORMS = [
    Preprocess(64, 96, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),
    Preprocess(64, 96, (103.5, 116.3, 123.7), (57.4, 57.1, 58.4), color="bgr"),
    Preprocess(40, 40, (120.0, 121.0, 122.0), (50.0, 60.0, 70.0), color="gray"),
    Preprocess(56, 56, (128.0,) * 3, (64.0,) * 3, crop=0.875),
    Preprocess(48, 40, crop=0.875),
    Preprocess(64, 96, (127.5,) * 3, (127.5,) * 3, interpolation="bilinear"),
    Preprocess(31, 50, (127.5, 120.0, 110.0), (127.5, 60.0, 50.0), color="bgr", crop=1.0, interpolation="bilinear"),
]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("form", COLOUR_FORMS)
def test_colour_crop_and_layout_are_the_same_bits(run: Any, form: Preprocess, layout: str) -> None:
    """From a file's pixels and from a canvas, gray pictures and colour ones, of many sizes."""
    rng = np.random.default_rng(8)
    spec = ModelSpec("x", preprocess=form, layout=layout)  # type: ignore[arg-type]
    sizes = [(1, 1), (5, 3), (64, 96), (128, 192), (56, 56), (48, 40), (192, 288), (200, 90), (90, 200)]
    sizes += [tuple(int(side) for side in rng.integers(2, 300, 2)) for _ in range(12)]
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    images += [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes[:6]]
    contract = spec.to_dict()
    tasks: list[dict[str, Any]] = [{"do": "input", "pictures": [picture(image)], "spec": contract} for image in images]
    for image in images[: len(sizes)]:
        rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
        encoded, (height, width) = base64.b64encode(rgba.tobytes()).decode(), image.shape[:2]
        tasks.append({"do": "canvas", "rgba": encoded, "height": height, "width": width, "spec": contract})
    found = run(tasks, "f4")
    for image, row in zip([*images, *images[: len(sizes)]], found, strict=True):
        wanted = model_input(fit(image, form)[None], spec).ravel()
        np.testing.assert_array_equal(row, wanted, err_msg=f"{image.shape}")
    (both,) = run([{"do": "input", "pictures": [picture(image) for image in images[:2]], "spec": contract}], "f4")
    np.testing.assert_array_equal(both, np.concatenate(found[:2]))


@pytest.mark.parametrize("form", [COLOUR_FORMS[0], COLOUR_FORMS[3], COLOUR_FORMS[4]])
def test_a_face_is_cut_as_predict_cuts_it(run: Any, form: Preprocess) -> None:
    rgb = np.random.default_rng(9).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    task = {"do": "face", "picture": picture(rgb), "box": {"x": 20, "y": 30, "width": 150, "height": 120}, "roll": 0}
    (found,) = run([{**task, "preprocess": asdict(form)}])
    wanted = cut_face(to_gray(rgb) if form.channels == 1 else rgb, Face(Box(20, 30, 150, 120)), form)
    planes = np.moveaxis(wanted, 2, 0) if wanted.ndim == 3 else wanted
    np.testing.assert_array_equal(found, planes.ravel())


def test_a_turned_crop_is_predicts(run: Any) -> None:
    """OpenCV samples between pixels in steps of its own: a gray level or two on a smooth picture, beyond its edge too."""
    rng = np.random.default_rng(7)
    gray = cv2.resize(rng.integers(0, 256, (30, 40), dtype=np.uint8), (400, 300), interpolation=cv2.INTER_CUBIC)
    tasks, expected = [], []
    for left, top, side, turn in [
        (100, 80, 60, 20),
        (50, 60, 150, -33),
        (30.5, 20.5, 250.3, 45),
        (-20, -30, 120, 10),
        (330, 220, 90, -60),
    ]:
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        x, y = left + side / 2, top + side / 2
        eyes = ((x - 10 * cos, y - 10 * sin), (x + 10 * cos, y + 10 * sin))
        small = side / CROP_SIDE
        expected.append(
            crop_face(np.asarray(gray, np.uint8), Face(Box(x - small / 2, y - small / 2, small, small), 0.9, eyes), 48)
        )
        box = {"x": left, "y": top, "width": side, "height": side}
        tasks.append(
            {"do": "turned", "picture": picture(gray), "side": 48, "box": box, "roll": float(np.radians(turn))}
        )
    for found, wanted in zip(run(tasks), expected, strict=True):
        difference = np.abs(found.reshape(48, 48).astype(int) - wanted)
        assert (difference.max() <= 3, difference.mean() < 0.5) == (True, True), (difference.max(), difference.mean())


def test_tiles_are_the_detectors(run: Any) -> None:
    sizes = [(640, 480), (480, 640), (639, 641), (640, 100), (300, 200), (1280, 720), (1, 1)]
    tasks = [{"do": "tiles", "width": width, "height": height} for width, height in sizes]
    for (width, height), found in zip(sizes, run(tasks, "i4"), strict=True):
        assert [tuple(tile) for tile in found.reshape(-1, 3).tolist()] == tiles_of(width, height)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 1000, 1001])
def test_base_85_comes_back(run: Any, length: int) -> None:
    content = np.random.default_rng(length).integers(0, 256, length, dtype=np.uint8).tobytes()
    text = base64.b85encode(content).decode().replace("<", ",")
    assert run([{"do": "base85", "text": text}])[0].tobytes() == content
