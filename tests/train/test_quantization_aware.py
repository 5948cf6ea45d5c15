"""A network that is finished for INT8 answers in training as its file will, and ends on the grid of that file."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import CLASSES
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.parity.outputs import file_form
from rarn_edge.pipeline.calibrate import calibrate
from rarn_edge.pipeline.export import export
from rarn_edge.pipeline.prepare import prepare
from rarn_edge.pipeline.quantize import Quantized, lie_on_seven_bits, quantize
from rarn_edge.train.checkpoint import Weights, load_state, load_weights
from rarn_edge.train.loop import train
from rarn_edge.train.loss import targets_of
from rarn_edge.train.quantization_aware import QuantizationAware
from rarn_edge.train.run import Run
from rarn_edge.train.workers import ALONE

MakeRun = Callable[..., Run]
SHOWN = synthetic_faces(64, seed=3)  # what the fixture `ranges` was measured on
JUDGED = synthetic_faces(64, seed=22)


def signal_db(wanted: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    return float(10 * np.log10((wanted**2).sum() / ((wanted - found) ** 2).sum()))


def inputs(weights: Weights, images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(to_input(images, weights.spec.preprocess))


@pytest.mark.parametrize("target", Target)
def test_a_rounded_network_answers_as_its_int8_file(
    weights: Weights, int8: Mapping[Target, Quantized], target: Target
) -> None:
    model, shown = weights.model(), inputs(weights, JUDGED.pixels)
    rounded = QuantizationAware(model, shown[:2], target)
    rounded.measure(torch.split(inputs(weights, SHOWN.pixels), 32))
    with torch.no_grad():
        exact, own = model(shown).numpy(), rounded(shown).numpy()
    file = file_form(int8[target].artifact, JUDGED).logits
    assert signal_db(exact, own) == pytest.approx(signal_db(exact, file), abs=1.5)  # as much noise
    assert signal_db(file, own) > signal_db(file, exact) + 2  # and most of it the same


def test_the_gradient_passes_through_the_rounding(weights: Weights) -> None:
    """Where the rounding itself is flat: every parameter of the network learns, and its statistics stay."""
    model, shown = weights.model(), inputs(weights, JUDGED.pixels)
    rounded = QuantizationAware(model, shown[:2], Target.X86_AVX2)
    rounded.measure([shown])
    before = {name: value.clone() for name, value in model.named_buffers()}
    rounded(shown).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


class Normalised(nn.Module):
    """A kernel with its normalisation, and a weight that no parameter gives exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.left, self.right = (nn.Parameter(torch.randn(3, 4)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(self.norm(self.conv(x)).amax(dim=(2, 3)), self.left * self.right)


def test_weights_are_put_on_the_grid(weights: Weights, simplified: Artifact, tmp_path: Path) -> None:
    """Those of the whole network, turned and averaged kernels too: its file then keeps 7 bits on any CPU, and nothing is lost."""
    model, shown = weights.model(), inputs(weights, JUDGED.pixels)
    QuantizationAware(model, shown[:2], Target.X86_AVX2).put_on_grid()
    placed = export(replace(weights, tensors=dict(model.state_dict())), tmp_path / "placed.onnx")
    assert not lie_on_seven_bits(LoadedModel.read(simplified).graph)
    prepared = prepare(placed)
    assert lie_on_seven_bits(prepared.integer)
    ranges = calibrate(prepared, SHOWN)
    files = [
        quantize(prepared, target, ranges, tmp_path / target).artifact for target in (Target.X86_AVX2, Target.X86_VNNI)
    ]
    assert all("7 bits" in file.contract.provenance["recipe_int8"] for file in files)
    assert np.array_equal(*(file_form(file, JUDGED).logits for file in files))


def test_weights_that_no_parameter_gives_stay() -> None:
    torch.manual_seed(0)
    model = Normalised().eval()
    left, right, kernel = (value.detach().clone() for value in (model.left, model.right, model.conv.weight))
    QuantizationAware(model, torch.randn(2, 1, 8, 8), Target.X86_AVX2).put_on_grid()
    assert torch.equal(model.left, left)
    assert torch.equal(model.right, right)
    assert not torch.equal(model.conv.weight, kernel)
    torch.testing.assert_close(model.conv.weight, kernel, rtol=0, atol=float(kernel.abs().max()) / 100)


def test_a_finished_network_flips_fewer_decisions(make_run: MakeRun, weights: Weights, tmp_path: Path) -> None:
    """The run's weights beside the same before they are put on the grid."""
    run = replace(make_run(tmp_path / "run", "edge-quantized", epochs=1), start=weights)
    train(run)
    finished = load_weights(tmp_path / "run" / "weights.safetensors")
    plain = replace(finished, tensors=load_state(tmp_path / "run" / "last.pt")["averaged"])
    judged = synthetic_faces(256, seed=23)
    flips, noise = [], []
    for number, each in enumerate((plain, finished)):
        prepared = prepare(export(each, tmp_path / f"{number}.onnx"))
        file = quantize(
            prepared, Target.X86_AVX2, calibrate(prepared, SHOWN), tmp_path / f"{number}.int8.onnx"
        ).artifact
        with torch.no_grad():
            exact = each.model()(inputs(each, judged.pixels)).numpy()
        found = file_form(file, judged).logits
        flips.append(int((exact.argmax(1) != found.argmax(1)).sum()))
        noise.append(signal_db(exact, found))
    assert flips[1] < flips[0]
    assert noise[1] > noise[0] + 1


def test_drawn_faces_are_learnt_beside_the_others(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path, "edge-quantized")
    assert run.drawn is not None
    assert run.learnt == len(run.train) + len(run.drawn) == len(run.train) + 14
    labels = targets_of(run).labels
    assert labels.shape == (run.learnt, 7)
    assert [CLASSES[index] for index in labels[-14:].argmax(dim=1)] == [*CLASSES, *CLASSES]
    others = replace(run, train=replace(run.train, classes=("one", "two", *CLASSES[2:])))
    assert others.drawn is None
    assert others.learnt == len(run.train)


def test_several_workers_are_refused(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has one worker; start it without torchrun"):
        train(make_run(tmp_path, "edge-quantized"), workers=replace(ALONE, count=2))
