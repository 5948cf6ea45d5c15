"""An INT8 file has the types its target needs, answers nearly as before, and never exists in half."""

import json
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.quantize import Quantized, quantize
from rarn_edge.runtime.logits import run_logits

Int8 = Mapping[Target, Quantized]
TARGETS = pytest.mark.parametrize("target", list(Target))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def activation_zero_points(model: onnx.ModelProto) -> list[np.ndarray]:
    found = constants(model)
    return [found[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"]


def convolution_weights(model: onnx.ModelProto) -> list[tuple[onnx.NodeProto, np.ndarray, np.ndarray, np.ndarray]]:
    """(DequantizeLinear, weight, scale, zero point) of each convolution."""
    found = constants(model)
    made_by = {node.output[0]: node for node in model.graph.node}
    sources = [made_by[node.input[1]] for node in model.graph.node if node.op_type == "Conv"]
    return [(node, *(found[name] for name in node.input)) for node in sources]  # type: ignore[misc]


@TARGETS
def test_activation_types(int8: Int8, target: Target) -> None:
    zero_points = activation_zero_points(onnx.load(int8[target].artifact.path))
    expected = np.uint8 if target in (Target.X86_AVX2, Target.X86_VNNI) else np.int8
    assert len(zero_points) > 20
    assert {zero.dtype.type for zero in zero_points} == {expected}
    if target is Target.TENSORRT:
        assert not any(zero.any() for zero in zero_points)
    else:
        assert any(zero.any() for zero in zero_points)  # asymmetric: ReLU's range starts at 0


@TARGETS
def test_weight_ranges(int8: Int8, target: Target) -> None:
    layers = convolution_weights(onnx.load(int8[target].artifact.path))
    assert len(layers) == int8[target].convolutions > 10
    assert {weight.dtype.type for _, weight, _, _ in layers} == {np.int8}
    assert not any(zero.any() for *_, zero in layers)
    low, high = min(int(w.min()) for _, w, _, _ in layers), max(int(w.max()) for _, w, _, _ in layers)
    if target is Target.X86_AVX2:
        assert low >= -64
        assert 62 <= high <= 64
        assert 2 * 255 * max(high, -low) < 2**15  # two products of u8 x s8 fit in 16 bits: nothing saturates
    else:
        assert high == 127
        assert low in (-127, -128)


@TARGETS
def test_weights_are_per_channel(int8: Int8, target: Target) -> None:
    for node, weight, scale, _ in convolution_weights(onnx.load(int8[target].artifact.path)):
        assert scale.shape == (weight.shape[0],)
        assert [a.i for a in node.attribute if a.name == "axis"] == [0]


@TARGETS
def test_every_convolution_is_int8(int8: Int8, target: Target) -> None:
    assert int8[target].quantized_convolutions == int8[target].convolutions


def test_a_layer_kept_in_float_is_not_counted(simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    """The second convolution reads what the first wrote in INT8: its own weights say that it is float."""
    layers = [node.name for node in onnx.load(simplified.path).graph.node if node.op_type == "Conv"]
    done = quantize(simplified, Target.X86_AVX2, ranges, tmp_path / "x.onnx", keep_float=layers[1:2])
    assert done.quantized_convolutions == done.convolutions - 1


@TARGETS
def test_one_valid_file(int8: Int8, target: Target) -> None:
    path = int8[target].artifact.path
    onnx.checker.check_model(onnx.load(path, load_external_data=False), full_check=True)
    assert [value.name for value in onnx.load(path).graph.input] == ["input"]
    assert [value.name for value in onnx.load(path).graph.output] == ["logits"]


@TARGETS
def test_contract(int8: Int8, simplified: Artifact, ranges: Ranges, target: Target) -> None:
    contract = int8[target].artifact.contract
    assert (contract.precision, contract.target) == ("int8", target)
    assert contract.spec == simplified.spec
    assert contract.provenance["weights_sha256"] == simplified.contract.provenance["weights_sha256"]
    assert contract.provenance["source_sha256"] == simplified.sha256
    assert contract.provenance["calibration"] == f"mse, {ranges.sample}"
    assert contract.parameters == simplified.contract.parameters
    session = ort.InferenceSession(int8[target].artifact.path, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["rarn_edge"])["target"] == target.value


@TARGETS
def test_file_is_at_most_0_30_of_float32(int8: Int8, simplified: Artifact, target: Target) -> None:
    assert int8[target].artifact.size_bytes <= 0.30 * simplified.size_bytes


@TARGETS
def test_answers_nearly_as_float32(int8: Int8, simplified: Artifact, target: Target) -> None:
    """The graph as written, so that the host's own kernels do not matter; random weights decide by thin margins."""
    faces = synthetic_faces(128, seed=9)
    before, after = (
        run_logits(open_unoptimised(artifact.path), simplified.spec, faces.images)
        for artifact in (simplified, int8[target].artifact)
    )
    signal_power, noise_power = before.var(axis=0).sum(), (after - before).var(axis=0).sum()
    assert 10 * np.log10(signal_power / noise_power) > 13  # dB; trained weights measure 32
    best = np.sort(before, axis=1)
    margin = best[:, -1] - best[:, -2]
    clear = margin >= np.median(margin)
    assert (before.argmax(1) == after.argmax(1))[clear].mean() >= 0.95


@TARGETS
@pytest.mark.parametrize("batch", [1, 2, 7])
def test_batch_stays_dynamic(int8: Int8, target: Target, batch: int) -> None:
    artifact = int8[target].artifact
    answer = run_logits(open_unoptimised(artifact.path), artifact.spec, synthetic_faces(batch, seed=2).images)
    assert answer.shape == (batch, 7)


def test_source_and_ranges_are_left_alone(simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    before = dict(ranges.tensors)
    quantize(simplified, Target.ARM, ranges, tmp_path / "x.onnx")
    assert Artifact.load(simplified.path).sha256 == simplified.sha256
    assert ranges.tensors == before


def test_repeatable(simplified: Artifact, ranges: Ranges, int8: Int8, tmp_path: Path) -> None:
    again = quantize(simplified, Target.X86_AVX2, ranges, tmp_path / "x.onnx").artifact
    assert again.sha256 == int8[Target.X86_AVX2].artifact.sha256


def test_quantized_file_is_refused(int8: Int8, ranges: Ranges, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is already int8; quantize the float32 file it came from"):
        quantize(int8[Target.ARM].artifact, Target.ARM, ranges, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sha", ["0" * 64, None])
def test_ranges_of_other_weights_are_refused(
    simplified: Artifact, ranges: Ranges, tmp_path: Path, sha: str | None
) -> None:
    with pytest.raises(InputError, match=r"ranges were measured on other weights .* measure them anew with --calib"):
        quantize(simplified, Target.ARM, replace(ranges, weights_sha256=sha), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_ranges_of_another_graph_are_refused(simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    fewer = {name: value for name, value in ranges.tensors.items() if name != "logits"}
    with pytest.raises(InputError, match=r"the ranges lack 1 tensors of this graph \(first: 'logits'\)"):
        quantize(simplified, Target.ARM, replace(ranges, tensors=fewer), tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


def test_output_is_checked_first(simplified: Artifact, ranges: Ranges, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mkdir -p"):
        quantize(simplified, Target.ARM, ranges, tmp_path / "missing" / "x.onnx")


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_interrupted_writing_leaves_nothing(
    simplified: Artifact,
    ranges: Ranges,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
) -> None:
    def half(model: onnx.ModelProto, path: Path) -> None:
        Path(path).write_bytes(model.SerializeToString()[:1000])
        raise error

    monkeypatch.setattr(onnx, "save", half)
    with pytest.raises(error):
        quantize(simplified, Target.ARM, ranges, tmp_path / "x.onnx")
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import onnx
def half(model, path):
    Path(path).write_bytes(model.SerializeToString()[:1000])
    os.kill(os.getpid(), signal.SIGKILL)
onnx.save = half
from rarn_edge.cli import main
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_quantize_leaves_no_half_file(
    simplified: Artifact, ranges: Ranges, tmp_path: Path, python: Callable[..., object]
) -> None:
    ranges.save(tmp_path / "ranges.json")
    out = tmp_path / "x.onnx"
    command = ("quantize", simplified.path, "-o", out, "--target", "arm", "--ranges", tmp_path / "ranges.json")
    done = python("-c", KILLED, *command)
    assert done.returncode == -signal.SIGKILL  # type: ignore[attr-defined]
    assert not out.exists()
    assert list(tmp_path.glob("*.onnx")) == [path for path in tmp_path.glob("*.onnx") if path.name.startswith(".")]
    assert quantize(simplified, Target.ARM, ranges, out).artifact.contract.precision == "int8"
