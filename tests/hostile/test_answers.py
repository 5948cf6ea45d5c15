"""Answers are finite and have the shape that the contract says, or they are no answers."""

import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from rarn_edge import Classifier
from rarn_edge.boundary.documents import to_json
from rarn_edge.contract.artifact import Artifact, is_one_file
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.workflow.inputs import ComparisonFaces
from rarn_edge.workflow.verdict import measure

from .conftest import TINY, Changed, fill, one_image_at_once, other_classes, rotated_classes

Cli = Callable[..., subprocess.CompletedProcess[str]]
OUTSIDE = ("bundle", "evaluate", "predict", "quantize")


def call(cli: Cli, command: str, model: Path, faces_folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    arguments: dict[str, tuple[object, ...]] = {
        "predict": (faces_folder / "PublicTest", "--model", model, "--json"),
        "score": (faces_folder / "PublicTest", "--model", model, "-o", out / "out.csv", "--workers", "1"),
        "evaluate": (model, "--data", faces_folder, "--json"),
        "bundle": (model, "-o", out / "board"),
        "quantize": (model, "-o", out / "int8.onnx", "--calib", faces_folder, "--no-verdict"),
        "verdict": (TINY, model),
        "parity": (TINY, model),
        "audit": (model,),
    }
    return cli(command, *arguments[command])


def refused(done: subprocess.CompletedProcess[str], *texts: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for text in texts:
        assert text in done.stderr
    assert "NaN" not in done.stdout


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("command", OUTSIDE)
def test_answers_that_are_no_numbers(
    cli: Cli, command: str, value: float, changed: Changed, faces_folder: Path, tmp_path: Path
) -> None:
    done = call(cli, command, changed("x.onnx", fill("bias", value)), faces_folder, tmp_path)
    refused(done, "finite")
    assert not (tmp_path / "board").exists()
    assert not (tmp_path / "int8.onnx").exists()


def test_a_score_says_it_row_by_row(cli: Cli, changed: Changed, faces_folder: Path, tmp_path: Path) -> None:
    done = call(cli, "score", changed("x.onnx", fill("bias", math.nan)), faces_folder, tmp_path)
    refused(done, "14 of 14 images could not be read")
    rows = (tmp_path / "out.csv").read_text().splitlines()[1:]
    assert len(rows) == 14
    assert all(row.endswith(",,,,,,,,,,the model's answer is not a finite number,") for row in rows)


@pytest.mark.parametrize("count", [6, 8])
@pytest.mark.parametrize("command", ["predict", "score", "evaluate", "bundle", "verdict", "parity", "audit"])
def test_another_number_of_answers(
    cli: Cli, command: str, count: int, changed: Changed, faces_folder: Path, tmp_path: Path
) -> None:
    model = changed("x.onnx", other_classes(count))
    refused(call(cli, command, model, faces_folder, tmp_path), "its contract says [")


@pytest.mark.parametrize("command", ["predict", "score", "evaluate", "bundle", "verdict", "quantize"])
def test_a_graph_that_takes_one_image_at_once(
    cli: Cli, command: str, changed: Changed, faces_folder: Path, tmp_path: Path
) -> None:
    done = call(cli, command, changed("x.onnx", one_image_at_once), faces_folder, tmp_path)
    refused(done)
    error = done.stderr.partition("error: ")[2]
    assert "/onnxruntime" not in error
    assert len(error.strip().splitlines()) <= 2


def test_a_verdict_asks_for_agreement(changed: Changed) -> None:
    faces = ComparisonFaces(synthetic_faces(256, seed=5), None, "drawn")
    before = Artifact.load(TINY)
    after = Artifact.load(changed("x.onnx", rotated_classes))
    found = measure(before, after, faces, rounds=20, launches=1)
    assert (found.decision, "decides otherwise" in found.line()) == ("keep", True)
    found = measure(before, Artifact.load(changed("nan.onnx", fill("bias", math.nan))), faces, rounds=20, launches=1)
    assert (found.decision, "not finite" in found.line()) == ("keep", True)
    with pytest.raises(InputError, match="nothing to compare with"):
        measure(Artifact.load(changed("nan.onnx", fill("bias", math.nan))), before, faces, rounds=20, launches=1)


@pytest.mark.parametrize("field", ["temperature", "std", "mean"])
@pytest.mark.parametrize("value", ["1e-300", "1e300", "0", "-1e7", "1e400", "9" * 401, "NaN"])
def test_figures_of_a_contract(cli: Cli, field: str, value: str, face: Path, tmp_path: Path) -> None:
    if (field, value) in (("mean", "1e-300"), ("mean", "0")):
        pytest.skip("a mean may be small")
    model = onnx.load(TINY)
    text = model.metadata_props[0].value
    found = '"temperature": 1.0' if field == "temperature" else f'"{field}": [{"64.0" if field == "std" else "128.0"}]'
    assert found in text
    model.metadata_props[0].value = text.replace(
        found, f'"{field}": {value}' if field == "temperature" else f'"{field}": [{value}]'
    )
    onnx.save(model, tmp_path / "x.onnx")
    refused(cli("predict", face, "--model", tmp_path / "x.onnx"))


def test_json_is_json() -> None:
    data = {"a": [math.nan, (math.inf, {"b": -math.inf})], "c": 1.5}
    assert json.loads(to_json(data)) == {"a": [None, [None, {"b": None}]], "c": 1.5}
    assert to_json({"x": 1}) == '{"x": 1}'


def test_a_model_in_two_files_is_not_bundled(cli: Cli, tmp_path: Path) -> None:
    model = onnx.load(TINY)
    path = tmp_path / "x.onnx"
    onnx.save(model, path, save_as_external_data=True, location="x.bin", size_threshold=0)
    assert (tmp_path / "x.bin").is_file()
    assert not is_one_file(path)
    assert is_one_file(TINY)
    for out in ("board", "board.zip"):
        refused(
            cli("bundle", path, "-o", tmp_path / out), "its weights lie in a file beside it", "onnx.save(onnx.load("
        )
        assert not (tmp_path / out).exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"threads": 2.5}, "threads is a whole number"),
        ({"threads": 10**20}, "threads is at most"),
        ({"threads": True}, "threads is a whole number"),
        ({"batch": "8"}, "batch is a whole number"),
        ({"max_pixels": 1e9}, "max_pixels is a whole number"),
        ({"min_confidence": "0.5"}, "min_confidence is between"),
        ({"model": "a\0b.onnx"}, "zero byte"),
        ({"model": "x" * 300 + ".onnx"}, "longer than a file system takes"),
    ],
)
def test_the_classifier_says_what_it_takes(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Classifier(**{"model": TINY, **arguments})  # type: ignore[arg-type]  # that is the point


def test_the_classifier_knows_two_orders_of_colour() -> None:
    face = np.zeros((48, 48, 3), dtype=np.uint8)
    with pytest.raises(InputError, match="colour is one of rgb, bgr, found 'xyz'"):
        Classifier(TINY).predict(face, colour="xyz")  # type: ignore[arg-type]


def test_weights_that_are_no_numbers_are_not_quantized(
    cli: Cli, changed: Changed, faces_folder: Path, tmp_path: Path
) -> None:
    done = call(cli, "quantize", changed("x.onnx", fill("weight", math.nan)), faces_folder, tmp_path)
    refused(done, "not finite")


@pytest.mark.parametrize("command", ["parity", "verify"])
def test_a_graph_that_never_ends_is_ended(
    cli: Cli, command: str, changed: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop of 2**62 turns whose body does nothing: a check gives up after its limit of time."""
    monkeypatch.setattr("rarn_edge.runtime.logits.LIMIT_S", 0.5)
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["again"]), helper.make_node("Identity", ["value"], ["same"])],
        "body",
        [
            helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, []),
            helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", onnx.TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("again", onnx.TensorProto.BOOL, []),
            helper.make_tensor_value_info("same", onnx.TensorProto.FLOAT, None),
        ],
    )

    def endless(model: onnx.ModelProto) -> None:
        model.graph.node[-1].output[0] = "answer"
        model.graph.initializer.append(numpy_helper.from_array(np.array(2**62, dtype=np.int64), "turns"))
        model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        model.graph.node.append(helper.make_node("Loop", ["turns", "yes", "answer"], ["logits"], body=body))

    path = changed("x.onnx", endless)
    assert cli("parity", TINY, "--bundle", tmp_path / "t.rarn-parity").returncode == 0
    done = cli(*(("parity", TINY, path) if command == "parity" else ("verify", tmp_path / "t.rarn-parity", path)))
    refused(done, "did not answer within 0.5 s")
