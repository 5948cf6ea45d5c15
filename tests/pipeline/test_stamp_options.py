"""A foreign file gets its contract by options or a TOML file; what the graph tells is read, what is wrong is said by its key."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import rarn_edge
from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.errors import InputError

Cli = Callable[..., subprocess.CompletedProcess[str]]
Axes = Sequence[int | str]


def write(
    path: Path,
    image: Axes = ("n", 3, 16, 16),
    classes: int = 4,
    ending: str | None = None,
    dtype: int = TensorProto.FLOAT,
    flatten: bool = True,
    declared: bool = True,
    inputs: int = 1,
    reshape_to: Sequence[int] | None = None,
) -> Path:
    """A convolution, a global mean and, where asked for, a softmax: [N, 3, H, W] (or [N, H, W, 3]) -> [N, classes]."""
    is_last = image[3] in (1, 3) and image[1] not in (1, 3)
    channels = image[3] if is_last else image[1]
    weight = np.random.default_rng(0).standard_normal((classes, channels if isinstance(channels, int) else 3, 3, 3))
    constants = [numpy_helper.from_array(weight.astype(np.float32), "w")]
    nodes, last = [], "pixels"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [last], ["float"], to=TensorProto.FLOAT))
        last = "float"
    if is_last:
        nodes.append(helper.make_node("Transpose", [last], ["first"], perm=[0, 3, 1, 2]))
        last = "first"
    nodes += [helper.make_node("Conv", [last, "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["p"])]
    last = "p"
    if reshape_to is not None:
        constants.append(numpy_helper.from_array(np.array(reshape_to, np.int64), "shape"))
        nodes.append(helper.make_node("Reshape", [last, "shape"], ["f"]))
        last = "f"
    elif flatten:
        nodes.append(helper.make_node("Flatten", [last], ["f"]))
        last = "f"
    if ending is not None:
        nodes.append(helper.make_node(ending, [last], ["s"]))
        last = "s"
    nodes.append(helper.make_node("Identity", [last], ["answer"]))
    ports = [helper.make_tensor_value_info("pixels", dtype, image)]
    ports += [helper.make_tensor_value_info(f"extra{i}", TensorProto.FLOAT, ["n", 2]) for i in range(1, inputs)]
    shape = [image[0], classes] if flatten else [image[0], classes, 1, 1]
    answer = helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape if declared else None)
    graph = helper.make_graph(nodes, "theirs", ports, [answer], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


NAMES = ("--classes", "red,green,blue,none")
SCALE = ("--mean", "123.675,116.28,103.53", "--std", "58.395,57.12,57.375")


def test_the_graph_tells_the_rest(cli: Cli, tmp_path: Path) -> None:
    source, out = write(tmp_path / "theirs.onnx", ending="Softmax"), tmp_path / "ours.onnx"
    done = cli("stamp", source, *NAMES, "--rgb", *SCALE, "-o", out)
    assert done.returncode == 0, done.stderr
    assert "ends in a softmax: its answers are probabilities" in done.stderr
    assert "theirs, 4 classes, probabilities, rgb [3, 16, 16] (CHW) float32" in done.stdout
    spec = Artifact.load(out).spec
    assert (spec.name, spec.output, spec.input_name, spec.output_name) == (
        "theirs",
        "probabilities",
        "pixels",
        "answer",
    )
    assert spec.classes == ("red", "green", "blue", "none")
    size = spec.preprocess
    assert (size.height_px, size.width_px, size.mean[0], size.std[2]) == (16, 16, 123.675, 57.375)


@pytest.mark.parametrize("image", [("n", 3, 16, 16), ("n", "c", 16, 16)], ids=["three channels", "any"])
def test_one_value_is_of_all_channels(cli: Cli, tmp_path: Path, image: tuple[object, ...]) -> None:
    """As for a network that takes x / 255, which the messages call --mean 0 --std 255."""
    source, out = write(tmp_path / "theirs.onnx", image), tmp_path / "ours.onnx"
    done = cli("stamp", source, *NAMES, "--rgb", "--mean", "0", "--std", "255", "-o", out)
    assert done.returncode == 0, done.stderr
    preprocess = Artifact.load(out).spec.preprocess
    assert (preprocess.mean, preprocess.std) == ((0.0,) * 3, (255.0,) * 3)


def test_a_command_to_copy_is_quoted(cli: Cli, tmp_path: Path) -> None:
    source = write(tmp_path / "their net.onnx")
    done = cli("inspect", source)
    assert f"rarn-edge stamp '{source}' --classes" in done.stdout
    refused = cli("evaluate", source, "--data", tmp_path)
    assert f"rarn-edge inspect '{source}' shows" in refused.stderr


def test_as_one_call(tmp_path: Path) -> None:
    source = write(tmp_path / "theirs.onnx", ("n", 1, "h", "w"), declared=False)
    made = rarn_edge.stamp(
        source,
        tmp_path / "ours.onnx",
        classes=["a", "b", "c", "d"],
        mean=[127.5],
        std=[127.5],
        size=(20, 24),
        name="net",
    )
    assert (made.spec.name, made.spec.output, made.spec.preprocess.height_px) == ("net", "logits", 20)


def test_pixels_in(cli: Cli, tmp_path: Path) -> None:
    source, out = write(tmp_path / "bytes.onnx", dtype=TensorProto.UINT8), tmp_path / "ours.onnx"
    done = cli("stamp", source, *NAMES, "--rgb", "-o", out)
    assert done.returncode == 0, done.stderr
    assert Artifact.load(out).spec.input_dtype == "uint8"
    refused = cli("stamp", source, *NAMES, "--rgb", *SCALE, "-o", out)
    assert "normalises them itself; leave out --mean and --std" in refused.stderr


@pytest.mark.parametrize(
    ("kind", "options", "texts"),
    [
        (
            {},
            (),
            ["--classes A,B,C,D (4 names, in the order of the outputs)", "--rgb", "--mean M,M,M", "--init spec.toml"],
        ),
        ({}, (*NAMES, *SCALE), ["--rgb or --bgr is the order of the channels"]),
        ({}, ("--classes", "a,b,c", "--rgb", *SCALE), ["the graph answers 4 classes, --classes names 3"]),
        (
            {},
            (*NAMES, "--rgb", "--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225"),
            ["is of pixels 0..1", "--mean 123.675,116.28,103.53 --std 58.395,57.12,57.375"],
        ),
        ({}, (*NAMES, "--rgb", "--mean", "0.5,0.5,0.5", "--std", "255,255,255"), ["--std 255,255,255"]),
        (
            {},
            (*NAMES, "--rgb", "--mean", "127.5,127.5", "--std", "127.5"),
            ["--mean has 2 values, the graph has 3 channels: give 1 for all or 3"],
        ),
        ({}, (*NAMES, "--rgb", "--bgr", *SCALE), ["--rgb and --bgr contradict each other"]),
        (
            {"image": ("n", 1, 16, 16)},
            (*NAMES, "--rgb", "--mean", "128", "--std", "64"),
            ["1 channel", "gray, not RGB"],
        ),
        ({"inputs": 2}, (*NAMES, "--rgb", *SCALE), ["has 2 inputs", "extra1 tensor(float) [n, 2]", "Export it again"]),
        ({"image": (1, 3, 16, 16)}, (*NAMES, "--rgb", *SCALE), ["batch size is fixed at 1", "--free-batch"]),
        ({"image": ("n", 3, "h", "w")}, (*NAMES, "--rgb", *SCALE), ["--size SIDE (height and width are free"]),
        ({}, (*NAMES, "--rgb", *SCALE, "--size", "32"), ["the graph takes a height of 16, --size says 32"]),
        (
            {"flatten": False},
            (*NAMES, "--rgb", *SCALE),
            ["[n, 4, 1, 1] is not [N, classes]: end it in a Flatten"],
        ),
        ({"image": ("n", 5, 16, 16)}, (*NAMES, "--rgb", *SCALE), ["neither 1 nor 3 channels"]),
        ({"dtype": TensorProto.FLOAT16}, (*NAMES, "--rgb", *SCALE), ["is tensor(float16)"]),
        ({}, (*NAMES, "--rgb", *SCALE, "--answers", "probabilities"), ["said to be probabilities", "say logits"]),
        ({}, (*NAMES, "--rgb", *SCALE, "--answers", "odds"), ["no kind of answers 'odds'"]),
        ({}, (*NAMES, "--rgb", "--mean", "a,b,c", "--std", "1,1,1"), ["--mean takes a number for each channel"]),
        ({}, ("--classes", "a,b,b,c", "--rgb", *SCALE), ["class names are unique"]),
    ],
)
def test_what_is_missing_or_wrong_is_said(
    cli: Cli, tmp_path: Path, kind: dict[str, object], options: tuple[str, ...], texts: list[str]
) -> None:
    source = write(tmp_path / "theirs.onnx", **kind)  # type: ignore[arg-type]  # keywords of one call, by name
    done = cli("stamp", source, *options, "-o", tmp_path / "ours.onnx")
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert "__init__" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
    for text in texts:
        assert text in done.stderr
    assert not (tmp_path / "ours.onnx").exists()


def test_channels_last_and_blue_first(cli: Cli, tmp_path: Path) -> None:
    source, out = write(tmp_path / "last.onnx", ("n", 16, 16, 3)), tmp_path / "ours.onnx"
    done = cli("stamp", source, *NAMES, "--bgr", *SCALE, "-o", out)
    assert done.returncode == 0, done.stderr
    spec = Artifact.load(out).spec
    assert (spec.layout, spec.input_shape, spec.preprocess.color) == ("NHWC", (16, 16, 3), "bgr")
    assert cli("audit", out, "--json").returncode == 0


def test_gray_three_times(cli: Cli, tmp_path: Path) -> None:
    source, out = write(tmp_path / "gray.onnx"), tmp_path / "ours.onnx"
    done = cli("stamp", source, *NAMES, "--gray", *SCALE, "-o", out)
    assert done.returncode == 0, done.stderr
    assert Artifact.load(out).spec.preprocess.color == "gray"


@pytest.mark.parametrize("reshape_to", [None, (1, 4), (1, -1)])
def test_a_fixed_batch_is_freed(cli: Cli, tmp_path: Path, reshape_to: Sequence[int] | None) -> None:
    source, out = write(tmp_path / "one.onnx", (1, 3, 16, 16), reshape_to=reshape_to), tmp_path / "ours.onnx"
    done = cli("stamp", source, *NAMES, "--rgb", *SCALE, "--free-batch", "-o", out)
    assert done.returncode == 0, done.stderr
    pictures = np.random.default_rng(1).standard_normal((3, 3, 16, 16)).astype(np.float32)
    (together,) = open_unoptimised(out).run(None, {"pixels": pictures})
    alone = [open_unoptimised(source).run(None, {"pixels": each[None]})[0] for each in pictures]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_a_batch_that_cannot_be_freed(cli: Cli, tmp_path: Path) -> None:
    """One answer for a whole batch: the freed graph does not answer what the old one did."""
    source = write(tmp_path / "one.onnx", (1, 3, 16, 16), reshape_to=(-1, 4))
    model = onnx.load(source)
    model.graph.node[0].input[0] = "mixed"  # the mean over the batch is taken from every picture
    model.graph.node.insert(0, helper.make_node("Sub", ["pixels", "mean"], ["mixed"]))
    model.graph.node.insert(0, helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[0], keepdims=1))
    onnx.save(model, source)
    done = cli("stamp", source, *NAMES, "--rgb", *SCALE, "--free-batch", "-o", tmp_path / "ours.onnx")
    assert done.returncode == 2
    assert "answers otherwise for pictures together than one by one" in done.stderr


def test_a_toml_file_to_edit(cli: Cli, tmp_path: Path) -> None:
    source, spec, out = (
        write(tmp_path / "theirs.onnx", ending="Softmax"),
        tmp_path / "spec.toml",
        tmp_path / "ours.onnx",
    )
    done = cli("stamp", source, "--init", spec)
    assert done.returncode == 0, done.stderr
    assert "left to fill in: classes, color, mean, std" in done.stdout
    text = spec.read_text()
    assert 'output = "probabilities"' in text
    assert "height_px = 16" in text
    assert cli("stamp", source, "--init", spec).returncode == 2  # it may hold somebody's work
    assert spec.read_text() == text
    unfilled = cli("stamp", source, "--spec", spec, "-o", out)
    assert (unfilled.returncode, "classes" in unfilled.stderr) == (2, True)
    text = text.replace("classes = []", 'classes = ["a", "b", "c", "d"]').replace('color = ""', 'color = "rgb"')
    text = text.replace("mean = []", "mean = [123.675, 116.28, 103.53]").replace("std = []", "std = [58.4, 57.1, 57.4]")
    spec.write_text(text)
    done = cli("stamp", source, "--spec", spec, "-o", out)
    assert done.returncode == 0, done.stderr
    assert Artifact.load(out).spec.classes == ("a", "b", "c", "d")


def test_a_toml_file_needs_only_what_the_graph_does_not_tell(cli: Cli, tmp_path: Path) -> None:
    source, spec, out = (
        write(tmp_path / "theirs.onnx", ("n", 1, 16, 16)),
        tmp_path / "spec.toml",
        tmp_path / "ours.onnx",
    )
    spec.write_text('classes = ["a", "b", "c", "d"]\npreprocess = { mean = [128], std = [64] }\n')
    done = cli("stamp", source, "--spec", spec, "-o", out)
    assert done.returncode == 0, done.stderr
    assert Artifact.load(out).spec.preprocess.width_px == 16


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('classes = ["a", "b", "c", "d"]', "preprocess.mean is missing"),
        ("preprocess = { mean = [128], std = [64] }", "classes is missing: 4 names"),
        ('classes = ["a", "b"]\npreprocess = { mean = [128], std = [64] }', "answers 4 classes, its spec names 2"),
        ('classes = ["a", "b", "c", "d"]\npreprocess = { mean = [0.5], std = [0.5] }', "Converted: mean = [127.5]"),
        (
            'classes = ["a", "b", "c", "d"]\npreprocess = { mean = [128], std = [64], classes = [1] }',
            "no key 'preprocess.classes'",
        ),
        ('clases = ["a", "b"]', "no key 'clases'"),
        ("preprocess = 3", "preprocess is a table"),
        ('classes = ["a", "b", "c", "d"]\npreprocess = { mean = "x", std = [64] }', "mean is a list"),
        (
            'classes = ["a", "b", "c", "d"]\noutput_name = "z"\npreprocess = { mean = [128], std = [64] }',
            "no output 'z'",
        ),
    ],
)
def test_errors_of_a_toml_file_name_its_keys(cli: Cli, tmp_path: Path, text: str, message: str) -> None:
    source, spec = write(tmp_path / "theirs.onnx", ("n", 1, 16, 16)), tmp_path / "spec.toml"
    spec.write_text(text)
    done = cli("stamp", source, "--spec", spec, "-o", tmp_path / "ours.onnx")
    assert done.returncode == 2
    assert message in done.stderr
    assert "__init__" not in done.stderr
    assert not (tmp_path / "ours.onnx").exists()


def test_one_way_at_a_time(cli: Cli, tmp_path: Path) -> None:
    source, spec = write(tmp_path / "theirs.onnx"), tmp_path / "spec.toml"
    spec.write_text("")
    assert (
        "leave out the other options" in cli("stamp", source, "--spec", spec, *NAMES, "-o", tmp_path / "x.onnx").stderr
    )
    assert "name the file to write" in cli("stamp", source, *NAMES).stderr


def test_a_softmax_said_to_be_logits_is_a_warning(tmp_path: Path) -> None:
    source = write(tmp_path / "theirs.onnx", ("n", 1, 16, 16), ending="Softmax")
    with pytest.warns(UserWarning, match="a second softmax would blur them"):
        rarn_edge.stamp(source, tmp_path / "o.onnx", classes="abcd", mean=[128], std=[64], output="logits")


def test_several_outputs_name_one(tmp_path: Path) -> None:
    source = write(tmp_path / "theirs.onnx", ("n", 1, 16, 16))
    model = onnx.load(source)
    model.graph.output.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 4, 1, 1]))
    onnx.save(model, source)
    with pytest.raises(InputError, match="has 2 outputs"):
        rarn_edge.stamp(source, tmp_path / "o.onnx", classes="abcd", mean=[128], std=[64])
    (tmp_path / "s.toml").write_text(
        'classes = ["a", "b", "c", "d"]\noutput_name = "answer"\npreprocess = { mean = [128], std = [64] }\n'
    )
    made = rarn_edge.stamp(source, tmp_path / "o.onnx", spec=tmp_path / "s.toml")
    assert made.spec.output_name == "answer"
