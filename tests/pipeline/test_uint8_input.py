"""Files that take bytes: any mean and deviation, one channel or three, either layout, float32 and INT8."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rarn_edge import Classifier
from rarn_edge.board.make import make_bundle
from rarn_edge.board.triton import config
from rarn_edge.contract.artifact import Artifact, Contract, open_unoptimised
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.onnx_graph import LoadedModel, load_graph, save_artifact
from rarn_edge.pipeline.calibrate import calibrate
from rarn_edge.pipeline.passes.uint8_input import byte_scale, float_from_bytes
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.runtime.logits import run_logits

IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
SPECS = {
    "one byte": ModelSpec("net", ("a", "b", "c"), Preprocess(20, 24, (128.0,) * 3, (64.0,) * 3)),
    "gray fraction": ModelSpec("net", ("a", "b", "c"), Preprocess(20, 24, (127.5,), (63.0,))),
    "colour": ModelSpec("net", ("a", "b", "c"), Preprocess(20, 24, *IMAGENET)),
    "bgr, rows last": ModelSpec("net", ("a", "b", "c"), Preprocess(20, 24, *IMAGENET, color="bgr"), layout="NHWC"),
    "gray, rows last": ModelSpec("net", ("a", "b", "c"), Preprocess(20, 24, (100.25,), (40.0,)), layout="NHWC"),
}


def small_net(spec: ModelSpec, pads: int, path: Path) -> Artifact:
    """Two convolutions with seeded weights; the first pads or does not."""
    rng = np.random.default_rng(3)
    channels = spec.preprocess.channels
    tensors = {
        "w1": rng.normal(0, 0.3, (8, channels, 3, 3)),
        "b1": rng.normal(0, 0.3, 8),
        "w2": rng.normal(0, 0.3, (6, 8, 3, 3)),
        "b2": rng.normal(0, 0.3, 6),
        "w3": rng.normal(0, 1, (6, 3)),
    }
    first = [] if spec.layout == "NCHW" else [helper.make_node("Transpose", ["input"], ["x"], perm=(0, 3, 1, 2))]
    nodes = [
        *first,
        helper.make_node("Conv", ["x" if first else "input", "w1", "b1"], ["c1"], name="conv1", pads=[pads] * 4),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], name="conv2", strides=[2, 2]),
        helper.make_node("Relu", ["c2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["f"], name="flat"),
        helper.make_node("MatMul", ["f", "w3"], ["logits"], name="last"),
    ]
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", floats, ["n", *spec.input_shape])],
        [helper.make_tensor_value_info("logits", floats, ["n", 3])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model.metadata_props.add(key="rarn_edge", value=Contract(spec).to_json())
    onnx.save(model, path)
    return Artifact.load(path)


@pytest.fixture(params=[0, 1], ids=["unpadded", "padded"])
def pads(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(params=SPECS)
def net(request: pytest.FixtureRequest, pads: int, tmp_path: Path) -> Artifact:
    return small_net(SPECS[request.param], pads, tmp_path / "net.onnx")


def test_float32_answers_alike(net: Artifact, tmp_path: Path) -> None:
    images = drawn_for(net.spec.preprocess, 12, seed=4).pixels
    pixels = float_from_bytes(LoadedModel.read(net)).save(tmp_path / "pixels.onnx")
    assert open_unoptimised(pixels.path).get_inputs()[0].type == "tensor(uint8)"
    a, b = (run_logits(open_unoptimised(file.path), file.spec, images) for file in (net, pixels))
    np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * np.abs(a).max())


@pytest.mark.parametrize("target", [Target.X86_AVX2, Target.ARM])
def test_int8_answers_as_with_floats_in(net: Artifact, pads: int, tmp_path: Path, target: Target) -> None:
    faces = drawn_for(net.spec.preprocess, 32, seed=4)
    ranges = calibrate(net, faces)
    floats = quantize(net, target, ranges, tmp_path / "floats.onnx").artifact
    done = quantize(net, target, ranges, tmp_path / "pixels.onnx", "uint8")
    assert (done.quantized_convolutions, done.artifact.spec.input_dtype) == (2, "uint8")
    exact, a, b = (
        run_logits(open_unoptimised(file.path), file.spec, faces.pixels) for file in (net, floats, done.artifact)
    )
    assert np.abs(b - exact).max() <= 1.5 * np.abs(a - exact).max() + 0.02 * np.abs(exact).max()
    prologue = {node.op_type for node in load_graph(done.artifact.path).graph.node} & {"Cast", "Sub"}
    inside = byte_scale(net.spec) is not None or not pads  # nothing is computed in float before the first convolution
    assert prologue == (set() if inside else {"Cast", "Sub"})
    fused = Classifier(done.artifact.path, threads=1).predict(list(faces.pixels[:4]))
    assert np.isfinite([answer.logits for answer in fused]).all()


def test_corrected_biases_of_a_file_that_takes_bytes(tmp_path: Path) -> None:
    """The faces that biases are corrected on are shown as the folded graph takes them."""
    net = small_net(SPECS["colour"], 0, tmp_path / "net.onnx")
    faces = drawn_for(net.spec.preprocess, 32, seed=4)
    ranges = calibrate(net, faces)
    done = quantize(net, Target.ARM, ranges, tmp_path / "pixels.onnx", "uint8", bias_faces=faces).artifact
    a, b = (run_logits(open_unoptimised(file.path), file.spec, faces.pixels) for file in (net, done))
    assert np.abs(a - b).max() <= 0.05 * np.abs(a).max()


def test_weights_of_seven_bits_keep_their_steps(tmp_path: Path) -> None:
    """A deviation a channel takes the first layer off the grid, and the others stay on it."""
    net = small_net(SPECS["colour"], 0, tmp_path / "net.onnx")
    model = load_graph(net.path)
    for tensor in model.graph.initializer:
        if tensor.name in ("w1", "w2"):
            weight = numpy_helper.to_array(tensor)
            steps = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 64
            on_grid = (np.round(weight / steps) * steps).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(on_grid, tensor.name))
    net = save_artifact(model, net.contract, tmp_path / "net.onnx")
    ranges = calibrate(net, drawn_for(net.spec.preprocess, 32, seed=4))
    done = quantize(net, Target.X86_VNNI, ranges, tmp_path / "pixels.onnx", "uint8").artifact
    made = load_graph(done.path).graph.initializer
    weight = next(numpy_helper.to_array(tensor) for tensor in made if tensor.name == "w2_quantized")
    assert np.abs(weight.astype(int)).max() == 64


@pytest.mark.parametrize("name", ["colour", "bgr, rows last"])
def test_bundles_carry_it(name: str, tmp_path: Path) -> None:
    net = small_net(SPECS[name], 1, tmp_path / "net.onnx")
    pixels = float_from_bytes(LoadedModel.read(net)).save(tmp_path / "pixels.onnx")
    make_bundle(pixels.path, tmp_path / "board")
    make_bundle(pixels.path, tmp_path / "triton", "triton")
    assert Classifier(tmp_path / "board" / "model.onnx").artifact.spec == pixels.spec
    dims = ", ".join(map(str, pixels.spec.input_shape))
    assert f"data_type: TYPE_UINT8\n    dims: [ {dims} ]" in config(pixels)
