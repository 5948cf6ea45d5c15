"""The integer form answers as the graph it came from, and ONNX Runtime finds no float operator left in its INT8 file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.preprocess import model_input, to_input
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, load_graph
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.passes.int8_kernels import SCALE, integer_form
from rarn_edge.pipeline.passes.uint8_input import float_from_bytes
from rarn_edge.pipeline.quantize import Quantized, quantize
from rarn_edge.runtime.logits import run_logits


def answers(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    (logits,) = open_unoptimised(model.SerializeToString()).run(["logits"], {"input": inputs})
    return np.asarray(logits)


def test_integer_form_answers_the_same(simplified: Artifact) -> None:
    inputs = to_input(synthetic_faces(16, seed=5).images, simplified.spec.preprocess)
    before = load_graph(simplified.path)
    after = integer_form(load_graph(simplified.path))
    assert {"ReduceMax", "ReduceMean"} <= {node.op_type for node in before.graph.node}
    assert not {"ReduceMax", "ReduceMean"} & {node.op_type for node in after.graph.node}
    assert any(node.op_type == "MatMul" for node in after.graph.node)
    np.testing.assert_allclose(answers(before, inputs), answers(after, inputs), rtol=0, atol=1e-4)
    onnx.checker.check_model(after, full_check=True)


def test_the_scale_of_the_weighted_sum_costs_no_node(int8: Mapping[Target, Quantized]) -> None:
    for done in int8.values():
        model = load_graph(done.artifact.path)
        assert not any(SCALE in name for node in model.graph.node for name in node.input)
        assert done.float_operators == ()


@pytest.mark.parametrize("target", [Target.X86_AVX2, Target.ARM])
def test_pixels_in_answer_exactly_as_floats_in(
    simplified: Artifact, ranges: Ranges, tmp_path: Path, target: Target
) -> None:
    faces = synthetic_faces(32, seed=9).images
    full = replace(ranges, tensors={**ranges.tensors, "input": (-2.0, 127 / 64)})
    floats = quantize(simplified, target, full, tmp_path / "floats.onnx").artifact
    pixels = quantize(simplified, target, ranges, tmp_path / "pixels.onnx", "uint8").artifact
    assert (pixels.spec.input_dtype, floats.spec.input_dtype) == ("uint8", "float32")
    assert open_unoptimised(pixels.path).get_inputs()[0].type == "tensor(uint8)"
    a, b = (run_logits(open_unoptimised(f.path), f.spec, faces) for f in (floats, pixels))
    np.testing.assert_array_equal(a, b)


def test_float32_graph_takes_pixels_too(simplified: Artifact, tmp_path: Path) -> None:
    faces = synthetic_faces(8, seed=9).images
    pixels = float_from_bytes(LoadedModel.read(simplified)).save(tmp_path / "pixels.onnx")
    assert model_input(faces, pixels.spec).dtype == np.uint8
    a, b = (run_logits(open_unoptimised(f.path), f.spec, faces) for f in (simplified, pixels))
    np.testing.assert_array_equal(a, b)  # mean 128 and deviation 64 are exact
    with pytest.raises(InputError, match="takes uint8; quantize the float32-input file with --input uint8"):
        quantize(pixels, Target.ARM, None, tmp_path / "x.onnx")  # type: ignore[arg-type]  # refused before ranges matter
