"""Whatever command shows pictures to a network, the graph is fed the same bytes: files of every kind, contracts of every kind."""

import runpy
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import rarn_edge
from rarn_edge import Classifier
from rarn_edge.board.make import FILES, make_bundle
from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.preprocess import fit
from rarn_edge.contract.spec import InputDtype, Layout, ModelSpec, Preprocess
from rarn_edge.data import Split, load_faces
from rarn_edge.device.boxes import Box, Face
from rarn_edge.device.faces import cut_face
from rarn_edge.errors import InputError
from rarn_edge.score.units import plan
from rarn_edge.score.work import Job, score_unit

onnx = pytest.importorskip("onnx")

COLOURS = ("blue", "red")  # the classes
_EXIF_TURNED = bytes.fromhex(  # orientation 6: turn it clockwise
    "ffe10022457869660000" + "4d4d002a00000008" + "0001" + "0112000300000001" + "00060000" + "00000000"
)

PREPROCESSES: dict[str, tuple[Preprocess, Layout]] = {
    "gray": (Preprocess(), "NCHW"),
    "rgb": (Preprocess(64, 96, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), "NCHW"),
    "bgr": (Preprocess(64, 96, (103.5, 116.3, 123.7), (57.4, 57.1, 58.4), color="bgr"), "NCHW"),
    "gray repeated": (Preprocess(40, 40, (120.0, 121.0, 122.0), (50.0, 60.0, 70.0), color="gray"), "NCHW"),
    "crop": (Preprocess(56, 56, (128.0,) * 3, (64.0,) * 3, crop=0.875), "NCHW"),
    "gray crop": (Preprocess(48, 40, crop=0.875), "NCHW"),
    "bilinear": (Preprocess(64, 96, (127.5,) * 3, (127.5,) * 3, interpolation="bilinear"), "NCHW"),
    "rows last": (Preprocess(64, 96, (127.5, 120.0, 110.0), (127.5, 60.0, 50.0), color="bgr", crop=1.0), "NHWC"),
}

EXPORTED: dict[str, tuple[Preprocess, InputDtype]] = {  # by `export --layout nhwc`
    "exported with channels last": (
        Preprocess(64, 96, (103.5, 116.3, 123.7), (57.4, 57.1, 58.4), color="bgr"),
        "float32",
    ),
    "exported with channels last, of bytes": (Preprocess(64, 96, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), "uint8"),
    "exported with channels last, gray": (Preprocess(crop=0.875), "float32"),
}


def picture(height: int, width: int, colour: str, seed: int) -> NDArray[np.uint8]:
    """[H, W, 3] blue, green, red, as OpenCV writes it: noise with more of one colour."""
    noise = np.random.default_rng(seed).integers(0, 120, (height, width, 3))
    noise[..., COLOURS.index(colour) * 2] += 130
    return noise.astype(np.uint8)


def encoded(suffix: str, pixels: NDArray[Any]) -> bytes:
    done, content = cv2.imencode(suffix, pixels)
    assert done
    return content.tobytes()


def _turned(jpeg: bytes) -> bytes:
    return jpeg[:2] + _EXIF_TURNED + jpeg[2:]


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """`red/x.png`: files of every kind."""
    found = {}
    for number, colour in enumerate(COLOURS):
        bgr = picture(70, 110, colour, number)
        alpha = np.dstack([bgr, np.full(bgr.shape[:2], 77, np.uint8)])
        deep = (bgr.astype(np.uint16) << 8) + 13
        kinds = {
            "colour.png": encoded(".png", bgr),
            "colour.jpg": encoded(".jpg", bgr),
            "rgba.png": encoded(".png", alpha),
            "turned.jpg": _turned(encoded(".jpg", picture(50, 90, colour, 10 + number))),
            "deep.png": encoded(".png", deep),
            "tiny.png": encoded(".png", picture(5, 3, colour, 20 + number)),
            "large.jpg": encoded(".jpg", picture(400, 700, colour, 30 + number)),
            "tall.png": encoded(".png", picture(130, 41, colour, 40 + number)),
            "own.png": encoded(".png", picture(56, 56, colour, 50 + number)),
            "gray.png": encoded(".png", bgr[..., 1]),
            "gray.jpg": encoded(".jpg", bgr[..., 1]),
            "gray-deep.png": encoded(".png", deep[..., 1]),
            "gray-own.png": encoded(".png", picture(48, 48, colour, 60 + number)[..., 1]),
        }
        found |= {f"{colour}/{number}-{name}": content for name, content in kinds.items()}
    return found


def expected_input(content: bytes, spec: ModelSpec) -> NDArray[Any]:
    """What the graph takes of one file [C, H, W] or [H, W, C], written down here in full, by OpenCV's own functions."""
    form = spec.preprocess
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if form.color == "gray":
        image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[..., None]
    elif form.color == "rgb":
        image = image[..., ::-1]
    height, width = image.shape[:2]
    if form.crop:
        scale = form.crop * min(height / form.height_px, width / form.width_px)
        rows = min(height, max(1, int(scale * form.height_px + 0.5)))
        columns = min(width, max(1, int(scale * form.width_px + 0.5)))
        top, left = (height - rows) // 2, (width - columns) // 2
        image = image[top : top + rows, left : left + columns]
    shrinks = image.shape[0] >= form.height_px and image.shape[1] >= form.width_px
    method = cv2.INTER_AREA if shrinks and form.interpolation == "auto" else cv2.INTER_LINEAR
    each = [
        cv2.resize(np.ascontiguousarray(image[..., channel]), (form.width_px, form.height_px), interpolation=method)
        for channel in range(image.shape[2])
    ]
    pixels = np.stack(each * (form.channels if len(each) == 1 else 1))  # [C, H, W]
    if spec.input_dtype == "float32":
        mean, std = (np.array(values, np.float32)[:, None, None] for values in (form.mean, form.std))
        pixels = (pixels.astype(np.float32) - mean) / std
    return np.moveaxis(pixels, 0, 2) if spec.layout == "NHWC" else pixels


def brightest(form: Preprocess) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A convolution [2, C, 3, 3] and its bias [2] that give back the pixels of blue and of red."""
    weight = np.zeros((2, form.channels, 3, 3), np.float32)
    order = {"rgb": (2, 0), "bgr": (0, 2), "gray": (0, form.channels - 1)}[str(form.color)]
    for position, channel in enumerate(order):
        weight[position, channel, 1, 1] = form.std[channel]
    return weight, np.array([form.mean[channel] for channel in order], np.float32)


def exported_net(form: Preprocess, dtype: InputDtype, folder: Path) -> Artifact:
    """The same net from torch, with its channels last."""
    torch = pytest.importorskip("torch")
    weight, bias = brightest(form)
    convolution = torch.nn.Conv2d(form.channels, 2, 3, padding=1)
    convolution.load_state_dict({"weight": torch.from_numpy(weight), "bias": torch.from_numpy(bias)})
    module = torch.nn.Sequential(convolution, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    spec = ModelSpec("net", COLOURS, form, label_source="colours")
    return rarn_edge.export(folder / "net.onnx", module, spec=spec, input_dtype=dtype, layout="NHWC").artifact


def colour_net(spec: ModelSpec, folder: Path) -> Artifact:
    """A net that says which channel is brightest: `blue` or `red` in colour; it has a convolution, so it can be quantized."""
    make, floats = onnx.helper, onnx.TensorProto.FLOAT
    weight, bias = brightest(spec.preprocess)
    first = [] if spec.layout == "NCHW" else [make.make_node("Transpose", ["input"], ["first"], perm=(0, 3, 1, 2))]
    given = "input" if spec.layout == "NCHW" else "first"
    nodes = [
        *first,
        make.make_node("Conv", [given, "w", "b"], ["maps"], pads=[1, 1, 1, 1]),
        make.make_node("GlobalAveragePool", ["maps"], ["means"]),
        make.make_node("Flatten", ["means"], ["logits"]),
    ]
    graph = make.make_graph(
        nodes,
        "net",
        [make.make_tensor_value_info("input", floats, ["n", *spec.input_shape])],
        [make.make_tensor_value_info("logits", floats, ["n", 2])],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 18)], ir_version=8)
    model.metadata_props.add(key="rarn_edge", value=Contract(spec).to_json())
    path = folder / "net.onnx"
    onnx.save(model, path)
    return Artifact.load(path)


class Fed:
    """Every input of ONNX Runtime since the last `take`."""

    def __init__(self) -> None:
        self.inputs: list[NDArray[Any]] = []

    def take(self, shape: tuple[int, ...]) -> list[NDArray[Any]]:
        """The rows of all batches, each of this shape, in order."""
        rows = [row for batch in self.inputs for row in batch if row.shape == shape]
        self.inputs.clear()
        return rows


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch) -> Fed:
    """What sessions of this process are given; they answer as ever."""
    import onnxruntime as ort

    recorder, run = Fed(), ort.InferenceSession.run

    def recorded(session: Any, names: Any, given: dict[str, NDArray[Any]], *others: Any) -> Any:
        recorder.inputs += [np.array(value) for value in given.values()]
        return run(session, names, given, *others)

    monkeypatch.setattr(ort.InferenceSession, "run", recorded)
    return recorder


@pytest.fixture(scope="module")
def data(pictures: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files in class folders."""
    root = tmp_path_factory.mktemp("pictures") / "data"
    for name, content in pictures.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture(params=[*PREPROCESSES, *EXPORTED], scope="module")
def net(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    if request.param in EXPORTED:
        return exported_net(*EXPORTED[request.param], tmp_path_factory.mktemp("net"))
    preprocess, layout = PREPROCESSES[request.param]
    spec = ModelSpec("net", COLOURS, preprocess, layout=layout, label_source="colours")
    return colour_net(spec, tmp_path_factory.mktemp("net"))


def _run_board(net: Artifact, paths: list[Path], folder: Path, fed: Fed, monkeypatch: pytest.MonkeyPatch) -> None:
    make_bundle(net.path, folder / "board")
    fed.inputs.clear()  # its check was answered
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, paths)])
    runpy.run_path(str(folder / "board" / "predict.py"), run_name="__main__")


def _asked_of_triton(
    net: Artifact, paths: list[Path], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[NDArray[Any]]:
    """What the client sends to a server that is not there."""
    make_bundle(net.path, folder / "triton", "triton")
    sent: list[NDArray[Any]] = []

    class InferInput:
        def __init__(self, name: str, shape: list[int], kind: str) -> None:
            self.described = (name, shape, kind)

        def set_data_from_numpy(self, values: NDArray[Any]) -> None:
            kind = {"uint8": "UINT8", "float32": "FP32"}[values.dtype.name]
            assert self.described == (net.spec.input_name, list(values.shape), kind)
            sent.append(values)

    class InferenceServerClient:
        def __init__(self, url: str) -> None:
            assert url

        def infer(self, name: str, inputs: list[InferInput]) -> "InferenceServerClient":
            assert (name, len(inputs)) == (net.spec.name, 1)
            return self

        def as_numpy(self, name: str) -> NDArray[np.float32]:
            assert name == net.spec.output_name
            return np.zeros((1, len(net.spec.classes)), np.float32)

    module = ModuleType("tritonclient.http")
    module.InferInput, module.InferenceServerClient = InferInput, InferenceServerClient  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tritonclient", ModuleType("tritonclient"))
    monkeypatch.setitem(sys.modules, "tritonclient.http", module)
    monkeypatch.setattr(sys.modules["tritonclient"], "http", module, raising=False)
    monkeypatch.setattr(sys, "argv", ["client.py", *map(str, paths)])
    runpy.run_path(str(folder / "triton" / "client.py"), run_name="__main__")
    return sent


def test_both_scripts_prepare_pictures_by_the_same_lines() -> None:
    def lines(name: str) -> str:
        text = (FILES / name).read_text(encoding="utf-8")
        return text[text.index("def load(") : text.index("def logits(")]

    assert lines("predict.py") == lines("client.py")


class _TimedError(Exception):
    """Raised where a verdict would begin to measure times."""


def _verdict(net: Artifact, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise _TimedError

    monkeypatch.setattr("rarn_edge.workflow.verdict.time_files", stop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are judged elsewhere
        with pytest.raises(_TimedError):
            rarn_edge.verdict(net.path, net.path, data=root)


def _quiet(text: str, label: str) -> None:
    """Warnings are judged elsewhere."""


def test_every_route_feeds_the_same_bytes(
    net: Artifact,
    pictures: dict[str, bytes],
    data: Path,
    fed: Fed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Callable[..., Any],
) -> None:
    root, contents = data, [pictures[name] for name in sorted(pictures)]
    paths = [root / name for name in sorted(pictures)]
    wanted = [expected_input(content, net.spec).tobytes() for content in contents]
    shape = net.spec.input_shape

    def fed_with(route: str, repeats: int = 1, more: bool = False) -> None:
        """`more`: other pictures come after those of the data."""
        found = [row.tobytes() for row in fed.take(shape)]
        assert len(found) >= len(wanted) * repeats, route
        for place, row in enumerate(wanted * repeats):
            assert found[place] == row, (route, paths[place % len(paths)].name)
        assert more or len(found) == len(wanted) * repeats, route

    classifier = Classifier(net.path, threads=1)
    fed.inputs.clear()
    answers = classifier.predict(paths)
    fed_with("Classifier, paths")
    classifier.predict(contents)
    fed_with("Classifier, bytes")
    decoded = [cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) for content in contents]
    classifier.predict(decoded, colour="bgr")
    fed_with("Classifier, arrays of blue, green, red")
    classifier.predict([image[..., ::-1] for image in decoded])
    fed_with("Classifier, arrays of red, green, blue")
    assert cli("predict", root, "--model", net.path, "--crop", "--json").returncode == 0
    fed_with("predict --crop")
    judged = rarn_edge.evaluate(net.path, root, on_notice=_quiet)
    fed_with("evaluate")
    with monkeypatch.context() as patch:
        patch.setattr("rarn_edge.data.faces.MEMORY_BYTES", 0)
        rarn_edge.evaluate(net.path, root, on_notice=_quiet)
        fed_with("evaluate, streamed")
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        for path in paths:
            archive.write(path, path.relative_to(root))
    rarn_edge.evaluate(net.path, tmp_path / "data.zip", on_notice=_quiet)
    fed_with("evaluate, zip")
    rarn_edge.parity([net.path, net.path], data=root, threads=1, on_notice=_quiet)
    fed_with("parity", more=True)
    _verdict(net, root, monkeypatch)
    fed_with("verdict", repeats=2)
    job = Job(str(net.path), str(tmp_path), ".json", "image", "cpu", 10**6, "")
    for unit in plan([str(root)], 1000, "image"):
        score_unit(unit, job)
    fed_with("score")
    _run_board(net, paths, tmp_path, fed, monkeypatch)
    fed_with("the board's predict.py")
    asked = _asked_of_triton(net, paths, tmp_path, monkeypatch)
    fed.inputs[:] = asked
    fed_with("Triton's client.py")
    if net.spec.preprocess.in_colour:  # and the answers are right
        right = [answer.label == path.parent.name for answer, path in zip(answers, paths, strict=True)]
        assert [path.name for path, hit in zip(paths, right, strict=True) if not hit and "gray" not in path.name] == []
        assert judged.evaluation.accuracy == sum(right) / len(right)


def test_calibration_is_shown_the_same_bytes(
    net: Artifact, pictures: dict[str, bytes], data: Path, fed: Fed, tmp_path: Path
) -> None:
    if net.spec.input_dtype == "uint8":
        with pytest.raises(InputError, match="takes uint8; quantize the float32-input file with --input uint8"):
            rarn_edge.quantize(net.path, tmp_path / "int8.onnx", target="arm", calib=data, on_notice=_quiet)
        return
    names = load_faces(data).split(Split.TRAINING).names  # without the tenth that other commands measure on
    assert 0 < len(names) < len(pictures)
    wanted = [expected_input(pictures[name], net.spec).tobytes() for name in names]
    rarn_edge.quantize(net.path, tmp_path / "int8.onnx", target="arm", calib=data, on_notice=_quiet)
    found = [row.tobytes() for row in fed.take(net.spec.input_shape)]
    start = found.index(wanted[0])
    assert found[start : start + len(wanted)] == wanted
    assert found[start + len(wanted) : start + 2 * len(wanted)] == wanted  # the second pass


@pytest.mark.parametrize("name", ["rgb", "crop", "gray"])
def test_a_face_in_a_photograph_is_resized_once(name: str) -> None:
    """The box's pixels are shown as a file of them alone would be."""
    form, _ = PREPROCESSES[name]
    bgr = picture(300, 400, "red", 1)
    rgb = np.ascontiguousarray(bgr[..., ::-1])
    shown = cut_face(rgb, Face(Box(31, 17, 150, 170)), form)
    np.testing.assert_array_equal(shown, fit(rgb[17:187, 31:181], form))
