"""The integer form answers as the graph it came from, and ONNX Runtime finds no float operator left in its INT8 file."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import rarn_edge
from rarn_edge.audit.run import audit
from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.preprocess import model_input, to_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel, load_graph
from rarn_edge.pipeline.calibrate import Ranges, calibrate
from rarn_edge.pipeline.passes.int8_kernels import SCALE, integer_form
from rarn_edge.pipeline.passes.uint8_input import float_from_bytes
from rarn_edge.pipeline.quantize import Quantized, quantize
from rarn_edge.runtime.logits import run_logits
from rarn_edge.stats.sqnr import sqnr_db


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


class Hard(nn.Module):
    """MobileNetV3's activations (Howard 2019): HardSwish after convolutions, HardSigmoid as the weight of each channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.Hardswish(), nn.Conv2d(16, 32, 3, 2, 1), nn.Hardswish()
        )
        self.squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(32, 32, 1), nn.Hardsigmoid())
        self.last = nn.Linear(32, 3)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.first(x)
        logits: Tensor = self.last((maps * self.squeeze(maps)).mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = Hard().eval()
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, nn.Conv2d):
                    layer.weight *= 4  # both ends of the activations are reached
    spec = ModelSpec("hard", ("a", "b", "c"))
    return rarn_edge.export(tmp_path_factory.mktemp("hard") / "hard.onnx", module, spec=spec).artifact


def test_hard_activations_answer_the_same_as_sum_clip_and_product(hard: Artifact) -> None:
    inputs = np.random.default_rng(0).normal(0, 3, (4, 1, 48, 48)).astype(np.float32)
    before = load_graph(hard.path)
    after = integer_form(before)
    assert {"HardSwish", "HardSigmoid"} <= {node.op_type for node in before.graph.node}
    assert not {"HardSwish", "HardSigmoid"} & {node.op_type for node in after.graph.node}
    np.testing.assert_allclose(answers(before, inputs), answers(after, inputs), rtol=0, atol=1e-4)
    onnx.checker.check_model(after, full_check=True)


@pytest.mark.parametrize("target", Target)
def test_hard_activations_run_in_integers(hard: Artifact, target: Target, tmp_path: Path) -> None:
    """By what ONNX Runtime executes here, where it fuses unsigned activations alone: the clip and the division are no nodes."""
    faces = synthetic_faces(64, seed=3)
    made = quantize(hard, target, calibrate(hard, faces), tmp_path / "hard.onnx")
    assert made.float_operators == ()
    found = audit(made.artifact, faces.pixels)
    if target in (Target.X86_AVX2, Target.X86_VNNI):
        assert found.islands == ()
        assert not {"Clip", "Mul", "HardSwish", "HardSigmoid"} & found.operators.keys()
    plain, rounded = (
        run_logits(open_unoptimised(each.path), each.spec, faces.pixels) for each in (hard, made.artifact)
    )
    assert sqnr_db(plain, rounded) > 25


def test_an_operator_without_a_kernel_is_named(tmp_path: Path) -> None:
    """It runs in float between INT8 neighbours; the audit finds the same one in what ONNX Runtime executes."""
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2), nn.Tanh(), nn.Conv2d(8, 3, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    net = rarn_edge.export(tmp_path / "n.onnx", module.eval(), spec=ModelSpec("n", ("a", "b", "c"))).artifact
    faces = synthetic_faces(32, seed=3)
    calibrate(net, faces).save(tmp_path / "ranges.json")
    said: list[str] = []
    rarn_edge.quantize(
        net.path,
        tmp_path / "q.onnx",
        target="x86-avx2",
        ranges=tmp_path / "ranges.json",
        on_notice=lambda text, _label: said.append(text),
    )
    assert "no INT8 kernel for Tanh: they stay float32; see audit" in said
    (island,) = audit(Artifact.load(tmp_path / "q.onnx"), faces.pixels).islands
    assert (island.operators, island.reason) == (("Tanh",), "no INT8 kernel for Tanh")
