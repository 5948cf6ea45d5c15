"""Equalization changes ranges and no answer; corrected biases bring the means of the outputs nearer to float32's."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.contract.artifact import Artifact, Contract, open_unoptimised
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, load_graph, save_artifact
from rarn_edge.pipeline.calibrate import calibrate
from rarn_edge.pipeline.passes.equalize import equalize
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.runtime.logits import run_logits

FACES = synthetic_faces(64, seed=4)


def net(folder: Path, between: str = "Relu", groups: int = 1) -> Artifact:
    """Two convolutions with `between` in the middle, the channels of the first of very unlike range."""
    generator = np.random.default_rng(0)
    spread = np.logspace(-2, 1, 8).astype(np.float32)
    arrays = {
        "w1": generator.standard_normal((8, 1, 3, 3)).astype(np.float32) * spread[:, None, None, None],
        "b1": generator.standard_normal(8).astype(np.float32) * spread,
        "w2": generator.standard_normal((4, 8 // groups, 3, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["c"], "first"),
        helper.make_node(between, ["c"], ["r"], "between"),
        helper.make_node("Conv", ["r", "w2"], ["d"], "second", group=groups),
        helper.make_node("GlobalAveragePool", ["d"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["logits"], "flat"),
    ]
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 12, 12])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", [value], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    spec = ModelSpec("net", ("angry", "disgust", "fear", "happy"), preprocess=Preprocess(12, 12))
    return save_artifact(model, Contract(spec), folder / "net.onnx")


def disparity(model: onnx.ModelProto) -> float:
    """The largest channel range of the first convolution over its smallest."""
    weight = next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == "w1")
    ranges = np.abs(weight).max(axis=(1, 2, 3))
    return float(ranges.max() / ranges.min())


def answers(artifact: Artifact) -> np.ndarray:
    return run_logits(open_unoptimised(artifact.path), artifact.spec, FACES.images)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_equalization_keeps_the_answers(tmp_path: Path, groups: int) -> None:
    before = net(tmp_path, groups=groups)
    after = equalize(LoadedModel.read(before)).save(tmp_path / "equalized.onnx")
    assert disparity(load_graph(after.path)) < 0.2 * disparity(load_graph(before.path))
    expected = answers(before)
    assert np.abs(answers(after) - expected).max() <= 1e-4 * max(1.0, np.abs(expected).max())
    assert after.contract.provenance["equalized"] == "1 pairs of convolutions"


def test_nothing_to_equalize_across_a_sigmoid(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leave --equalize out"):
        equalize(LoadedModel.read(net(tmp_path, "Sigmoid")))
    assert not (tmp_path / "x.onnx").exists()


def test_corrected_biases_bring_the_means_nearer(tmp_path: Path) -> None:
    """On other faces than those corrected on."""
    artifact = net(tmp_path)
    seen = synthetic_faces(64, seed=9)
    ranges = calibrate(artifact, seen)
    plain = quantize(artifact, Target.X86_AVX2, ranges, tmp_path / "plain.onnx").artifact
    corrected = quantize(artifact, Target.X86_AVX2, ranges, tmp_path / "c.onnx", bias_faces=seen).artifact
    wanted = answers(artifact).mean(axis=0)
    errors = [float(np.abs(answers(each).mean(axis=0) - wanted).sum()) for each in (plain, corrected)]
    assert errors[1] < 0.7 * errors[0]
    assert corrected.contract.provenance["biases"] == "corrected"


def weights(artifact: Artifact, layer: str) -> np.ndarray:
    """The integer weights of a layer of an INT8 file."""
    graph = load_graph(artifact.path).graph
    made_by = {name: node for node in graph.node for name in node.output}
    convolution = next(node for node in graph.node if node.name == layer)
    name = made_by[convolution.input[1]].input[0]
    return next(numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == name)


@pytest.mark.parametrize(
    ("options", "equalized", "corrected"),
    [((), False, False), (("--equalize",), True, False), (("--bias-correct",), False, True), (None, True, True)],
)
def test_the_flags_do_what_they_say(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    faces_folder: Path,
    tmp_path: Path,
    options: tuple[str, ...] | None,
    equalized: bool,
    corrected: bool,
) -> None:
    source, out = net(tmp_path), tmp_path / "int8.onnx"
    flags = ("--equalize", "--bias-correct") if options is None else options
    before = source.path.read_bytes()
    done = cli("quantize", source.path, "-o", out, "--calib", faces_folder, "--target", "x86-avx2", *flags)
    assert done.returncode == 0, done.stderr
    assert source.path.read_bytes() == before
    made = Artifact.load(out)
    assert ("equalized" in made.contract.provenance) is equalized
    assert ("biases" in made.contract.provenance) is corrected
    plain = tmp_path / "plain.onnx"
    assert cli("quantize", source.path, "-o", plain, "--calib", faces_folder, "--target", "x86-avx2").returncode == 0
    # per-channel scales hide the first layer's spread; the second's inputs share one scale, and show it
    same = np.array_equal(weights(made, "second"), weights(Artifact.load(plain), "second"))
    assert same is not equalized
    assert (made.path.read_bytes() == plain.read_bytes()) is not (equalized or corrected)
    assert {path.name for path in tmp_path.iterdir()} == {"net.onnx", "int8.onnx", "plain.onnx"}


def test_equalize_of_what_has_no_pairs_is_refused(
    cli: Callable[..., subprocess.CompletedProcess[str]], faces_folder: Path, tmp_path: Path
) -> None:
    source = net(tmp_path, "Sigmoid")
    done = cli("quantize", source.path, "-o", tmp_path / "x.onnx", "--calib", faces_folder, "--equalize")
    assert done.returncode == 2
    assert "leave --equalize out" in done.stderr
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--equalize",), "--equalize and --bias-correct need faces to measure on"),
        (("--bias-correct", "--ranges", "r.json"), "--equalize and --bias-correct need faces to measure on"),
        (("--equalize", "--calib", "DATA", "--save-ranges", "r.json"), "leave it or --equalize out"),
        (("--bias-correct", "--calib", "DATA", "--data", "DATA", "--max-drop", "1"), "leave --bias-correct out"),
    ],
)
def test_flags_that_do_not_go_together(
    cli: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, options: tuple[str, ...], text: str
) -> None:
    done = cli("quantize", net(tmp_path).path, "-o", tmp_path / "x.onnx", *options)
    assert done.returncode == 2
    assert text in done.stderr
