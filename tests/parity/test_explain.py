"""Mutations: each is caught by the step that should catch it, and --explain names the node and says why."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.onnx_graph import LoadedModel, load_graph, save_artifact
from rarn_edge.parity.explain import explain, first_fault
from rarn_edge.pipeline.passes.uint8_input import float_from_bytes
from rarn_edge.pipeline.precision import to_float16
from rarn_edge.pipeline.quantize import Quantized

Cli = Callable[..., subprocess.CompletedProcess[str]]
Change = Callable[[np.ndarray], np.ndarray]
FACES = synthetic_faces(16, seed=8)


def mutate(artifact: Artifact, path: Path, change: Callable[[onnx.ModelProto], None]) -> Artifact:
    model = load_graph(artifact.path)
    change(model)
    return save_artifact(model, artifact.contract, path)


def rewrite(model: onnx.ModelProto, name: str, change: Change) -> None:
    tensor = next(t for t in model.graph.initializer if t.name == name)
    array = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(array)).astype(array.dtype), name))


def convolution(model: onnx.ModelProto, position: int) -> onnx.NodeProto:
    """The position-th convolution with a kernel above 1x1."""
    shapes = {t.name: t.dims for t in model.graph.initializer}
    convs = [n for n in model.graph.node if n.op_type == "Conv" and shapes.get(n.input[1], [0])[-1] == 3]
    return convs[position]


def swap_first_two(values: np.ndarray) -> np.ndarray:
    return values[[1, 0, *range(2, len(values))]]


FLOAT_MUTATIONS: dict[str, tuple[Callable[[onnx.NodeProto], str], Change, str]] = {
    "dropped bias": (lambda node: node.input[2], np.zeros_like, "bias is all zeros"),
    "transposed weight": (lambda node: node.input[1], lambda w: np.swapaxes(w, -1, -2), "weight is transposed"),
    "scaled weight": (lambda node: node.input[1], lambda w: 2 * w, "weight is 2 times what it was"),
    "swapped channels": (lambda node: node.input[1], swap_first_two, "same values in another order"),
}


@pytest.mark.parametrize("mutation", FLOAT_MUTATIONS)
@pytest.mark.parametrize("position", [0, 3])
def test_a_float_mutation_is_named(simplified: Artifact, tmp_path: Path, mutation: str, position: int) -> None:
    which, change, cause = FLOAT_MUTATIONS[mutation]
    node = convolution(load_graph(simplified.path), position)
    mutant = mutate(simplified, tmp_path / "mutant.onnx", lambda model: rewrite(model, which(node), change))
    rows = explain(simplified, mutant, FACES.images)
    fault = first_fault(rows)
    assert fault is not None
    assert fault.tensor == node.output[0]
    assert cause in (fault.cause or "")
    assert [row.tensor for row in rows if row.cause] == [node.output[0]]  # what follows is right by itself


def test_changed_resize_is_named(simplified: Artifact, tmp_path: Path) -> None:
    def change(model: onnx.ModelProto) -> None:
        node = next(n for n in model.graph.node if n.op_type == "Resize")
        for attribute in node.attribute:
            if attribute.name == "coordinate_transformation_mode":
                attribute.s = b"align_corners"

    node = next(n for n in load_graph(simplified.path).graph.node if n.op_type == "Resize")
    fault = first_fault(explain(simplified, mutate(simplified, tmp_path / "mutant.onnx", change), FACES.images))
    assert fault is not None
    assert fault.tensor == node.output[0]
    assert "coordinate_transformation_mode is align_corners, was asymmetric" in (fault.cause or "")


def test_swapped_classes_are_named(simplified: Artifact, tmp_path: Path) -> None:
    graph = load_graph(simplified.path)
    name = next(t.name for t in graph.graph.initializer if list(t.dims) == [7])
    mutant = mutate(simplified, tmp_path / "mutant.onnx", lambda model: rewrite(model, name, swap_first_two))
    fault = first_fault(explain(simplified, mutant, FACES.images))
    assert fault is not None
    assert fault.tensor == simplified.spec.output_name
    assert "bias has the same values in another order" in (fault.cause or "")


def activation(model: onnx.ModelProto) -> tuple[onnx.NodeProto, str]:
    """The quantization of a tensor in the middle of an INT8 graph, and that tensor."""
    nodes = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    node = nodes[len(nodes) // 3]
    return node, node.input[0]


INT8_MUTATIONS: dict[str, tuple[int, Change]] = {
    "scale halved": (1, lambda scale: scale / 2),
    "scale twenty times": (1, lambda scale: scale * 20),
    "zero point shifted": (2, lambda zero: zero + 90),
}


@pytest.mark.parametrize("mutation", INT8_MUTATIONS)
def test_an_int8_mutation_is_named(
    simplified: Artifact, int8: Mapping[Target, Quantized], tmp_path: Path, mutation: str
) -> None:
    right = int8[Target.X86_AVX2].artifact
    assert first_fault(explain(simplified, right, FACES.images)) is None
    index, change = INT8_MUTATIONS[mutation]
    node, tensor = activation(load_graph(right.path))
    mutant = mutate(right, tmp_path / "mutant.onnx", lambda model: rewrite(model, node.input[index], change))
    fault = first_fault(explain(simplified, mutant, FACES.images))
    assert fault is not None
    assert tensor in fault.node
    assert any(word in (fault.cause or "") for word in ("clips", "scale", "zero point"))


def test_a_float16_mutation_is_named(simplified: Artifact, tmp_path: Path) -> None:
    right = to_float16(simplified, tmp_path / "half.onnx")
    assert first_fault(explain(simplified, right, FACES.images)) is None
    node = convolution(load_graph(right.path), 3)
    mutant = mutate(right, tmp_path / "mutant.onnx", lambda model: rewrite(model, node.input[2], np.zeros_like))
    fault = first_fault(explain(simplified, mutant, FACES.images))
    assert fault is not None
    assert (fault.tensor, fault.cause) == (node.output[0], "its bias is all zeros")


def test_the_first_file_may_take_pixels(simplified: Artifact, int8: Mapping[Target, Quantized], tmp_path: Path) -> None:
    pixels = float_from_bytes(LoadedModel.read(simplified)).save(tmp_path / "pixels.onnx")
    rows = explain(pixels, int8[Target.X86_AVX2].artifact, FACES.images)
    assert len(rows) > 20
    assert first_fault(rows) is None


def test_explain_on_the_command_line(cli: Cli, simplified: Artifact, tmp_path: Path) -> None:
    node = convolution(load_graph(simplified.path), 2)
    mutate(simplified, tmp_path / "mutant.onnx", lambda model: rewrite(model, node.input[2], np.zeros_like))
    done = cli("parity", simplified.path, tmp_path / "mutant.onnx", "--explain")
    assert done.returncode == 1
    assert "explained:" in done.stderr
    assert "its bias is all zeros" in done.stderr


def test_nothing_to_explain(cli: Cli, simplified: Artifact) -> None:
    done = cli("parity", simplified.path, simplified.path, "--explain")
    assert done.returncode == 0
    assert "no step from one form to the next failed" in done.stderr
