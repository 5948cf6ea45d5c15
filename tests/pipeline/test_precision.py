"""float16 and dynamic INT8 keep the contract and nearly the answers."""

import logging
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import rarn_edge
from rarn_edge import Classifier
from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import GateError, InputError
from rarn_edge.onnx_graph import LoadedModel, save_artifact
from rarn_edge.parity.outputs import file_form
from rarn_edge.pipeline.precision import fault_here, to_dynamic_int8, to_float16
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session
from rarn_edge.score.work import Row, _Gathered
from rarn_edge.stats.sqnr import sqnr_db
from rarn_edge.workflow.inputs import read_subject


@pytest.mark.parametrize(
    ("convert", "precision", "share", "signal_db"),
    [(to_float16, "float16", 0.56, 50), (to_dynamic_int8, "int8-dynamic", 0.35, 20)],
)
def test_contract_size_and_answers(
    simplified: Artifact,
    tmp_path: Path,
    convert: Callable[[Artifact, Path], Artifact],
    precision: str,
    share: float,
    signal_db: float,
) -> None:
    done = convert(simplified, tmp_path / "x.onnx")
    assert (done.contract.precision, done.spec) == (precision, simplified.spec)
    assert done.contract.provenance["source_sha256"] == simplified.sha256
    assert done.size_bytes < share * simplified.size_bytes
    faces = synthetic_faces(32, seed=5)
    before, after = (file_form(artifact, faces, threads=1).logits for artifact in (simplified, done))
    assert np.isfinite(after).all()
    assert sqnr_db(before, after) > signal_db
    with pytest.raises(InputError, match=f"is already {precision}"):
        to_float16(done, tmp_path / "y.onnx")


def test_dynamic_int8_is_judged_one_picture_at_a_time(simplified: Artifact, tmp_path: Path) -> None:
    """As `Classifier` uses it: its ranges are of a batch, so that answers would depend on which faces share one."""
    done = to_dynamic_int8(simplified, tmp_path / "x.onnx")
    faces = synthetic_faces(9, seed=5)
    alone = Classifier(done.path, threads=1).logits(faces.images)
    np.testing.assert_array_equal(file_form(done, faces, threads=1).logits, alone)
    subject = read_subject(done.path, "cpu", 1)
    np.testing.assert_array_equal(subject.predict(faces.images), alone)
    together = run_logits(open_session(done.path, "cpu", 1), done.spec, faces.images)
    assert np.abs(together - alone).max() > 0


def test_a_weight_beyond_float16_is_refused(simplified: Artifact, tmp_path: Path) -> None:
    model = LoadedModel.read(simplified)
    tensor = next(each for each in model.graph.graph.initializer if len(each.dims) == 4)
    weight = numpy_helper.to_array(tensor).copy()
    weight.flat[0] = -70_000
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    with pytest.raises(GateError, match=f"float16 ends at 65,504, and '{tensor.name}' has a weight of 7e\\+04"):
        to_float16(model, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_answers_that_float16_changes_are_refused(simplified: Artifact, tmp_path: Path) -> None:
    """A factor of 1e-8 is below float16's smallest number."""
    model = LoadedModel.read(simplified)
    graph = model.graph.graph
    (last,) = [node for node in graph.node if simplified.spec.output_name in node.output]
    last.output[0] = "answers"
    for name, factor in (("small", 1e-8), ("large", 1e4)):
        graph.initializer.append(numpy_helper.from_array(np.float32(factor), name))
    graph.node.append(helper.make_node("Mul", ["answers", "small"], ["down"], "down"))
    graph.node.append(helper.make_node("Mul", ["down", "large"], ["up"], "up"))
    graph.node.append(helper.make_node("Mul", ["up", "large"], [simplified.spec.output_name], "again"))
    with pytest.raises(GateError, match=r"the float16 graph differs by .* too coarse for it: use --precision int8"):
        to_float16(model, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_ends_the_process_is_found_in_another_one(
    simplified: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = to_float16(simplified, tmp_path / "x.onnx")
    assert fault_here(made) is None
    monkeypatch.setattr("rarn_edge.pipeline.precision._ANSWER", "import os; os.abort()")
    told: list[str] = []
    rarn_edge.quantize(
        simplified.path, tmp_path / "y.onnx", precision="fp16", on_notice=lambda text, _label: told.append(text)
    )
    said = r"cannot run it on this CPU \(its process ended with code -?\d+\): run it on another provider"
    assert any(re.search(said, text) for text in told)
    monkeypatch.undo()
    made.path.write_bytes(b"cut short")
    assert "cannot run it on this CPU" in str(fault_here(made))


def test_threads_that_quantize_leave_stdout_alone(simplified: Artifact, tmp_path: Path) -> None:
    before = (sys.stdout, logging.root.manager.disable)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda index: to_dynamic_int8(simplified, tmp_path / f"{index}.onnx"), range(4)))
    assert (sys.stdout, logging.root.manager.disable) == before


def test_answers_of_a_dynamic_file_do_not_depend_on_their_batch(simplified: Artifact, tmp_path: Path) -> None:
    made = to_dynamic_int8(simplified, tmp_path / "x.onnx")
    faces = list(synthetic_faces(9, seed=5).pixels)
    classifier = Classifier(made.path, threads=1)
    together, alone = classifier.predict(faces), [classifier.predict([face])[0] for face in faces]
    assert [answer.logits for answer in together] == [answer.logits for answer in alone]
    gathered = _Gathered(classifier)  # as `score` asks
    for face in faces:
        gathered.add(Row("face"), face)
    np.testing.assert_array_equal(gathered.part().probabilities, np.float32([answer.probabilities for answer in alone]))


def test_a_file_with_free_sizes_is_asked_for_the_pictures_of_its_contract(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, "h", "w"])
    answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])
    weight = numpy_helper.from_array(np.ones((2, 1, 3, 3), dtype=np.float32), "w")
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], "conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["g"], "pool"),
        helper.make_node("Flatten", ["g"], ["logits"], "flat"),
    ]
    graph = helper.make_graph(nodes, "net", [value], [answer], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    spec = ModelSpec("net", ("a", "b"), preprocess=Preprocess(8, 8))
    assert fault_here(save_artifact(model, Contract(spec), tmp_path / "net.onnx")) is None
