"""From files to a verdict: the same network passes step by step, and any mutation of it fails the float step."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import save_artifact
from rarn_edge.parity.outputs import check_same_model, file_form
from rarn_edge.parity.steps import compare
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.train.checkpoint import Weights
from rarn_edge.workflow.parity import torch_form

FACES = synthetic_faces(32, seed=8)
Mutation = Callable[[onnx.ModelProto], None]


def test_float_hops_pass(weights: Weights, exported: Artifact, simplified: Artifact) -> None:
    forms = [torch_form(weights, FACES)] + [file_form(a, FACES, threads=1) for a in (exported, simplified)]
    steps = [compare(before, after, FACES.labels) for before, after in pairwise(forms)]
    assert [(step.measured.before, step.measured.after) for step in steps] == [
        ("torch", "exported.onnx"),
        ("exported.onnx", "simplified.onnx"),
    ]
    assert all(step.passed for step in steps)
    assert all(step.measured.accuracy_before == step.measured.accuracy_after for step in steps)


def test_int8_hop_is_judged_statistically(simplified: Artifact, int8: Mapping[Target, Quantized]) -> None:
    after = file_form(int8[Target.X86_AVX2].artifact, FACES, threads=1)
    step = compare(file_form(simplified, FACES, threads=1), after, FACES.labels)
    assert [check.figure for check in step.checks] == [
        "finite answers",
        "SQNR",
        "top-1 agreement",
        "accuracy lost",
    ]
    assert step.measured.max_abs_logit > 1e-3  # a float step would fail


def rewrite(model: onnx.ModelProto, dims: int, change: Callable[[np.ndarray], np.ndarray], position: int = 0) -> None:
    """Change the `position`-th initializer of that rank."""
    tensor = [t for t in model.graph.initializer if len(t.dims) == dims and t.data_type == onnx.TensorProto.FLOAT][
        position
    ]
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(change(numpy_helper.to_array(tensor))), tensor.name))


def scale_a_kernel(model: onnx.ModelProto) -> None:
    rewrite(model, 4, lambda w: (1.01 * w).astype(np.float32))


def swap_two_kernels(model: onnx.ModelProto) -> None:
    rewrite(model, 4, lambda w: w[[1, 0, *range(2, len(w))]], position=2)


def turn_the_kernels(model: onnx.ModelProto) -> None:
    rewrite(model, 4, lambda w: np.rot90(w, axes=(2, 3)))


def drop_a_bias(model: onnx.ModelProto) -> None:
    rewrite(model, 1, np.zeros_like)


def swap_two_classes(model: onnx.ModelProto) -> None:
    rewrite(model, 2, lambda w: w[[1, 0, *range(2, len(w))]] if len(w) == 7 else w[:, [1, 0, *range(2, w.shape[1])]])


def swap_two_class_biases(model: onnx.ModelProto) -> None:
    tensor = next(t for t in model.graph.initializer if list(t.dims) == [7])
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(values[[1, 0, *range(2, 7)]], tensor.name))


def drop_a_relu(model: onnx.ModelProto) -> None:
    node = next(node for node in model.graph.node if node.op_type == "Relu")
    node.op_type = "Identity"


@pytest.mark.parametrize(
    "mutation",
    [
        scale_a_kernel,
        swap_two_kernels,
        turn_the_kernels,
        drop_a_bias,
        swap_two_classes,
        swap_two_class_biases,
        drop_a_relu,
    ],
)
def test_a_mutation_fails_the_float_step(simplified: Artifact, tmp_path: Path, mutation: Mutation) -> None:
    model = onnx.load(simplified.path)
    mutation(model)
    mutant = save_artifact(model, simplified.contract, tmp_path / "mutant.onnx")
    step = compare(file_form(simplified, FACES, threads=1), file_form(mutant, FACES, threads=1), None)
    assert not step.passed
    assert step.measured.max_abs_logit > 1e-4


@pytest.mark.parametrize("change", [{"mean": (127.0,)}, {"std": (65.0,)}], ids=str)
def test_other_preprocessing_fails_the_float_step(
    simplified: Artifact, tmp_path: Path, change: dict[str, tuple[float]]
) -> None:
    """Each file is fed as its own contract says, so a wrong contract is a wrong model."""
    spec = replace(simplified.spec, preprocess=replace(simplified.spec.preprocess, **change))  # type: ignore[arg-type]
    mutant = save_artifact(
        onnx.load(simplified.path), replace(simplified.contract, spec=spec), tmp_path / "mutant.onnx"
    )
    assert not compare(file_form(simplified, FACES, threads=1), file_form(mutant, FACES, threads=1), None).passed


def test_other_weights_are_refused(exported: Artifact, simplified: Artifact, other_weights: Weights) -> None:
    check_same_model([exported, simplified])
    with pytest.raises(InputError, match=r"were made from different weights"):
        check_same_model([exported, simplified], other_weights.spec, other_weights.sha256)


def test_other_weights_behind_an_unknown_file_are_refused(exported: Artifact, other_weights: Weights) -> None:
    """A file of unknown weights between two known ones hides nothing."""
    unknown = replace(exported, contract=replace(exported.contract, provenance={}))
    known = replace(exported, contract=replace(exported.contract, provenance={"weights_sha256": other_weights.sha256}))
    with pytest.raises(InputError, match="were made from different weights"):
        check_same_model([exported, unknown, known])
