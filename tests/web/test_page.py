"""The page in headless Chromium: it answers as Python does, asks no other host for anything, and finds a planted fault."""

import base64
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.assets import shipped_bundle, shipped_onnx
from rarn_edge.board.make import make_bundle
from rarn_edge.board.web import check as web_check
from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.device.boxes import CROP_SIDE, Box, Face
from rarn_edge.device.classifier import Classifier
from rarn_edge.device.faces import crop_face, open_detector
from rarn_edge.stats.classification import softmax

HERE = Path(__file__).parent
MODEL = "rarn-n"
Result = dict[str, Any]


def as_sent(picture: NDArray[np.uint8]) -> dict[str, Any]:
    """[H, W], or [H, W, 3] red, green, blue."""
    height, width = picture.shape[:2]
    return {"data": base64.b64encode(picture.tobytes()).decode(), "height": height, "width": width}


@pytest.fixture(scope="module")
def golden() -> list[NDArray[np.uint8]]:
    """Faces of the network's own size, and some that must be resized."""
    faces = list(synthetic_faces(24, seed=21).images)
    sizes = [(120, 120), (37, 51), (96, 96), (300, 211)]
    return [*faces, *(np.asarray(cv2.resize(faces[i], size), np.uint8) for i, size in enumerate(sizes))]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pictures as a person drops them."""
    folder = tmp_path_factory.mktemp("pictures")
    faces = synthetic_faces(3, seed=31).images
    colour = cv2.applyColorMap(cv2.resize(faces[1], (180, 220)), cv2.COLORMAP_BONE)
    large = np.random.default_rng(5).integers(90, 110, (700, 1000, 3), dtype=np.uint8)
    large[100:600, 250:750] = cv2.resize(faces[2], (500, 500), interpolation=cv2.INTER_CUBIC)[..., None]
    found = {}
    turned = cv2.warpAffine(large, cv2.getRotationMatrix2D((500, 350), -25, 1), (1000, 700))  # clockwise
    two = np.full((480, 640, 3), 100, np.uint8)
    for index, left in enumerate((40, 380)):
        two[120:340, left : left + 220] = cv2.resize(faces[index], (220, 220), interpolation=cv2.INTER_CUBIC)[..., None]
    blank = np.full((300, 400, 3), 128, np.uint8)
    clear = cv2.cvtColor(faces[1], cv2.COLOR_GRAY2BGRA)
    clear[24:] = 0  # black, and lets through all of what was there before: a face of the same size
    pictures = {
        "gray": faces[0],
        "clear": clear,
        "colour": colour,
        "large": large,
        "turned": turned,
        "two": two,
        "blank": blank,
    }
    for name, pixels in pictures.items():
        found[name] = folder / f"{name}.png"
        assert cv2.imwrite(str(found[name]), pixels)
    found["broken"] = folder / "broken.png"
    found["broken"].write_bytes(found["colour"].read_bytes()[:100])
    return found


@pytest.fixture(scope="module")
def video(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera shows: the large picture, 640 x 480."""
    path = tmp_path_factory.mktemp("camera") / "face.y4m"
    frame = cv2.resize(cv2.imread(str(files["large"])), (640, 480))
    planes = cv2.cvtColor(frame, cv2.COLOR_BGR2YUV_I420).tobytes()
    path.write_bytes(b"YUV4MPEG2 W640 H480 F30:1 Ip A1:1 C420\n" + (b"FRAME\n" + planes) * 10)
    return path


COLOUR_SIZE = Preprocess(40, 56, (123.0, 117.0, 104.0), (58.0, 57.0, 57.5))
COLOUR_SPECS = {
    "colour": ModelSpec("somebody", ("a", "b", "c", "d", "e"), COLOUR_SIZE, "probabilities", "pixels", "chances", 1.7),
    "rows last": ModelSpec(
        "rows last",
        ("a", "b", "c", "d", "e"),
        replace(COLOUR_SIZE, color="bgr", crop=0.875, interpolation="bilinear"),
        "probabilities",
        "pixels",
        "chances",
        layout="NHWC",
    ),
}


@pytest.fixture(scope="module")
def colour_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Somebody else's models: three channels, 40 x 56 pixels, five classes, a softmax at the end, own names."""
    onnx = pytest.importorskip("onnx")
    make = onnx.helper
    floats = onnx.TensorProto.FLOAT
    weight = np.random.default_rng(6).normal(0, 0.02, (3 * 40 * 56, 5)).astype(np.float32)
    nodes = [
        make.make_node("Flatten", ["pixels"], ["flat"]),
        make.make_node("MatMul", ["flat", "w"], ["sums"]),
        make.make_node("Softmax", ["sums"], ["chances"]),
    ]
    found = {}
    for name, spec in COLOUR_SPECS.items():
        graph = make.make_graph(
            nodes,
            "net",
            [make.make_tensor_value_info("pixels", floats, ["n", *spec.input_shape])],
            [make.make_tensor_value_info("chances", floats, ["n", 5])],
            [onnx.numpy_helper.from_array(weight, "w")],
        )
        model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=8)
        model.metadata_props.add(key="rarn_edge", value=Contract(spec).to_json())
        found[name] = tmp_path_factory.mktemp("somebody") / "model.onnx"
        onnx.save(model, found[name])
    return found


@pytest.fixture(scope="module")
def colours() -> list[NDArray[np.uint8]]:
    """Pictures of many colours, [H, W, 3] red, green, blue: small ones, and sizes that shrink or grow."""
    rng = np.random.default_rng(12)
    sizes = [(40, 56), (80, 112), (30, 90), (133, 201), (200, 56), (7, 5)]
    found = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    return [*found, np.full((60, 60, 3), (250, 20, 10), np.uint8), np.full((60, 60, 3), (10, 20, 250), np.uint8)]


@pytest.fixture(scope="module")
def colour_files(colours: list[NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("colours")
    found = {str(number): folder / f"{number}.png" for number in range(len(colours))}
    for pixels, path in zip(colours, found.values(), strict=True):
        assert cv2.imwrite(str(path), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return found


@pytest.fixture(scope="module")
def seen(
    node: str,
    chromium: str,
    modules: Path,
    ort_web: Path,
    golden: list[NDArray[np.uint8]],
    files: dict[str, Path],
    video: Path,
    colour_models: dict[str, Path],
    colours: list[NDArray[np.uint8]],
    colour_files: dict[str, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Result]:
    """Every page opened once; what was seen of each, by name."""
    folder = tmp_path_factory.mktemp("pages")
    page, model = folder / "page.html", shipped_onnx(MODEL)
    make_bundle(model, page, "web", shipped_bundle(MODEL), ort_web=ort_web)
    make_bundle(model, folder / "site", "web", shipped_bundle(MODEL), ort_web=ort_web)
    for name, path in colour_models.items():
        make_bundle(path, folder / f"{name}.html", "web", ort_web=ort_web)
    planted = folder / "planted.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(web_check, "run_logits", lambda *arguments: _one_wrong(web_logits(*arguments)))
        make_bundle(model, planted, "web", ort_web=ort_web)
    pictures = [as_sent(gray) for gray in golden]
    coloured = {
        name: {
            "page": folder / f"{name}.html",
            "scenario": "dropped",
            "pictures": [*pictures, *map(as_sent, colours)],
            "files": {name: str(path) for name, path in colour_files.items()},
        }
        for name in colour_models
    }
    names = {name: str(path) for name, path in files.items()}
    plan = {
        "pictures": {"page": page, "scenario": "pictures", "pictures": pictures, "files": names},
        "planted": {"page": planted, "scenario": "check"},
        **coloured,
        "camera": {"page": page, "scenario": "camera", "video": video, "dark": True},
        "refused camera": {"page": page, "scenario": "refusedCamera"},
        "site": {"folder": folder / "site", "isolated": True, "scenario": "site", "pictures": pictures},
        "plain site": {"folder": folder / "site", "scenario": "site", "pictures": pictures},
        "no SIMD": {"page": page, "scenario": "broken", "script": "WebAssembly.validate = () => false"},
    }
    (folder / "plan.json").write_text(
        json.dumps(
            {"modules": modules, "chromium": chromium, "out": folder / "out.json", "pages": list(plan.values())},
            default=str,
        )
    )
    command = [node, str(HERE / "browser.mjs"), str(folder / "plan.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    results = dict(zip(plan, json.loads((folder / "out.json").read_text()), strict=True))
    assert {name: result["failed"] for name, result in results.items() if "failed" in result} == {}
    return results


web_logits: Callable[..., NDArray[np.float32]] = web_check.run_logits


def _one_wrong(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """One golden answer of 42 with its largest logit lowered."""
    wrong = logits.copy()
    wrong[17, wrong[17].argmax()] -= 0.5
    return wrong


def native(images: list[Any]) -> NDArray[np.float32]:
    return np.array([answer.logits for answer in Classifier(MODEL, threads=1).predict(images)], dtype=np.float32)


def assert_alike(found: Any, images: list[Any]) -> None:
    """The gate of an INT8 file: the same decisions, logits within 0.1."""
    expected = native(images)
    np.testing.assert_array_equal(np.argmax(found, axis=1), expected.argmax(axis=1))
    assert np.abs(np.array(found) - expected).max() <= 0.1


def test_golden_faces(seen: dict[str, Result], golden: list[NDArray[np.uint8]]) -> None:
    assert_alike(seen["pictures"]["logits"], list(golden))


def test_pictures_as_predict_has_them(seen: dict[str, Result], files: dict[str, Path]) -> None:
    """By the decoded colours; OpenCV's own gray decoding of a colour PNG differs from its conversion by a gray level."""
    labels = seen["pictures"]["labels"]
    for name in ("gray", "colour"):
        rgb = np.ascontiguousarray(cv2.imread(str(files[name]))[..., ::-1])
        assert_alike(labels[name]["logits"], [rgb])
        (answer,) = Classifier(MODEL, threads=1).predict(rgb)
        (bar,) = [bar for bar in labels[name]["bars"] if bar.startswith(f"{answer.label} ")]
        assert float(bar.split()[1]) == pytest.approx(100 * answer.confidence, abs=0.2)
        assert answer.label in labels[name]["label"]
        assert len(labels[name]["bars"]) == len(answer.classes)
        (by_path,) = Classifier(MODEL, threads=1).predict(files[name])
        assert by_path.label == answer.label


def test_nothing_is_seen_of_the_picture_before(seen: dict[str, Result], files: dict[str, Path]) -> None:
    assert_alike(seen["pictures"]["labels"]["clear"]["logits"], [cv2.imread(str(files["clear"]))])


@pytest.mark.parametrize(("name", "count"), [("large", 1), ("turned", 1), ("two", 2)])
def test_faces_are_found_as_predict_finds_them(
    seen: dict[str, Result], files: dict[str, Path], name: str, count: int
) -> None:
    picture = np.asarray(cv2.imread(str(files[name])), np.uint8)
    page = seen["pictures"]["labels"][name]
    found = sorted(zip(page["boxes"], page["rolls"], page["logits"], strict=True), key=lambda face: face[0]["x"])
    expected = open_detector()(picture)
    assert (len(found), len(expected), page["framed"]) == (count, count, False)
    gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    for (box, roll, logits), face in zip(found, expected, strict=True):
        grown = CROP_SIDE * face.box.width_px
        wanted = [*(np.array([face.box.x_px, face.box.y_px]) - (grown - face.box.width_px) / 2), grown, grown]
        assert [box[key] for key in ("x", "y", "width", "height")] == pytest.approx(wanted, abs=0.1)
        assert math.degrees(roll) == pytest.approx(face.roll_deg, abs=0.05)
        ours, theirs = (
            softmax(np.array([row], np.float32), 1)[0] for row in (logits, native([crop_face(gray, face, 48)])[0])
        )
        np.testing.assert_allclose(ours, theirs, atol=0.03)  # a turned crop is sampled in other steps


def test_without_a_face_there_is_a_frame(seen: dict[str, Result], files: dict[str, Path]) -> None:
    """And what is in it is cut as `predict` cuts a given box."""
    blank = seen["pictures"]["labels"]["blank"]
    assert (blank["framed"], blank["buttons"]) == (True, [])
    assert blank["note"].startswith("No face was found")
    gray = cv2.cvtColor(cv2.imread(str(files["blank"])), cv2.COLOR_BGR2GRAY)
    (box,) = blank["boxes"]
    crop = crop_face(gray, Face(Box(box["x"], box["y"], box["width"], box["height"])), 48)
    assert_alike(blank["logits"], [crop])


def test_one_of_two_faces_is_chosen(seen: dict[str, Result]) -> None:
    first, second, name = seen["pictures"]["chosen"]
    assert first != second
    assert name.startswith("Face 2 of 2: ")


def test_the_frame_follows_keys_and_pointer(seen: dict[str, Result]) -> None:
    placed, moved, dragged = (seen["pictures"][name] for name in ("placed", "moved", "dragged"))
    assert moved["width"] > placed["width"]
    assert moved["x"] + moved["width"] / 2 > placed["x"] + placed["width"] / 2
    assert moved["y"] + moved["height"] / 2 > placed["y"] + placed["height"] / 2
    assert (dragged["x"] < moved["x"], dragged["y"] < moved["y"]) == (True, True)


def test_abstention(seen: dict[str, Result]) -> None:
    assert seen["pictures"]["unsure"].startswith("unsure perhaps ")


def test_a_broken_picture_is_named(seen: dict[str, Result]) -> None:
    assert "broken.png: cannot be decoded" in seen["pictures"]["labels"]["broken"]["error"]


def test_the_device_check_passes_and_finds_a_planted_fault(seen: dict[str, Result]) -> None:
    assert "This device answers as it should." in seen["pictures"]["check"]
    assert "70 of 70 faces decided alike" in seen["pictures"]["check"]
    assert "parity bundle's answers by torch" in seen["pictures"]["check"]
    assert "does not answer as it should" in seen["planted"]["check"]
    assert "Fail: the same file on the CPU" in seen["planted"]["check"]


@pytest.mark.parametrize("name", COLOUR_SPECS)
def test_any_model_with_a_contract(
    seen: dict[str, Result],
    golden: list[NDArray[np.uint8]],
    colours: list[NDArray[np.uint8]],
    colour_models: dict[str, Path],
    name: str,
) -> None:
    """Gray pictures and colour ones, by script and as dropped files, at every size."""
    classifier = Classifier(colour_models[name], threads=1)
    expected = np.array([answer.logits for answer in classifier.predict([*golden, *colours])])
    np.testing.assert_allclose(seen[name]["logits"], expected, atol=1e-4)
    dropped = [label["logits"][0] for label in seen[name]["labels"].values()]
    np.testing.assert_allclose(dropped, expected[-len(colours) :], atol=1e-4)
    assert "This device answers as it should." in seen[name]["check"]
    assert "colour" in seen[name]["facts"]


def test_camera(seen: dict[str, Result]) -> None:
    camera = seen["camera"]
    assert float(camera["rate"]) > 0
    assert camera["latency"].endswith("ms")
    assert sum(camera["best"]) == pytest.approx(1, abs=1e-6)
    assert camera["pressed"] == "true"
    assert camera["spoken"]
    assert camera["stopped"] == ["false", "-"]


def test_no_stream_of_the_camera_outlives_its_stop(seen: dict[str, Result]) -> None:
    assert seen["camera"]["streams"] == [False, False]


def test_a_refused_camera_is_explained(seen: dict[str, Result]) -> None:
    assert "not allowed; allow it" in seen["refused camera"]["error"]


def test_an_old_browser_is_told(seen: dict[str, Result]) -> None:
    assert "no WebAssembly SIMD" in seen["no SIMD"]["error"]
    assert seen["no SIMD"]["disabled"]


@pytest.mark.parametrize(
    ("name", "isolated", "threads"), [("site", True, "2 threads"), ("plain site", False, "1 thread")]
)
def test_folder_online_and_offline(
    seen: dict[str, Result], golden: list[NDArray[np.uint8]], name: str, isolated: bool, threads: str
) -> None:
    site = seen[name]
    assert (site["isolated"], threads in site["facts"]) == (isolated, True)
    for each in (site, site["offline"]):
        assert_alike(each["logits"], list(golden))
        assert "This device answers as it should." in each["check"]


def test_no_other_host_and_no_message(seen: dict[str, Result]) -> None:
    for name, result in seen.items():
        own = ("file:///", "blob:null/") if "site" not in name else ("http://127.0.0.1:", "blob:http://127.0.0.1:")
        assert [url for url in result["requests"] if not url.startswith(own)] == [], name
        assert result["messages"] == [], name
    assert [url.split(":")[0] for url in seen["pictures"]["requests"] if "blob" not in url] == ["file"]


def test_widths_names_and_order_of_the_keyboard(seen: dict[str, Result]) -> None:
    page = seen["pictures"]
    assert all(found <= int(width) for width, found in page["widths"].items())
    assert page["unnamed"] == 0
    assert page["stops"] == ["file", "camera", "by-hand", "BUTTON", "threshold", "check"]


def test_licences_are_inside(seen: dict[str, Result]) -> None:
    text = "\n".join(seen["pictures"]["licences"])
    for part in ("Apache License", "MIT License", "BlazeFace", "THIRD PARTY", "SHA256SUMS", "rarn-n"):
        assert part.lower() in text.lower(), part


def test_a_stale_parity_bundle_is_refused(ort_web: Path, tmp_path: Path) -> None:
    from rarn_edge.errors import InputError
    from rarn_edge.parity.bundle import load_bundle, save_bundle

    stale = replace(load_bundle(shipped_bundle(MODEL)), weights_sha256="0" * 64)
    save_bundle(stale, tmp_path / "stale.rarn-parity")
    assert Artifact.load(shipped_onnx(MODEL)).contract.provenance["weights_sha256"]
    with pytest.raises(InputError, match="stale"):
        make_bundle(shipped_onnx(MODEL), tmp_path / "x.html", "web", tmp_path / "stale.rarn-parity", ort_web=ort_web)
