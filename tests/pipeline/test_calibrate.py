"""Ranges are what the tensors really reach, of the network they say, and a file of them survives its trip."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import save_artifact
from rarn_edge.pipeline.calibrate import Ranges, calibrate, check_sample, observe
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.stats.histograms import BINS, PERCENTILE, find_range

SPEC = ModelSpec("net", ("angry", "disgust", "fear", "happy"), preprocess=Preprocess(4, 4))


def net(folder: Path, *nodes: onnx.NodeProto, output: str = "logits") -> Artifact:
    """A graph from `input` [n, 1, 4, 4] to `output`."""
    value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 4, 4])
    answer = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    constants = [
        helper.make_tensor("two", TensorProto.FLOAT, [], [2.0]),
        helper.make_tensor("five", TensorProto.FLOAT, [], [5.0]),
    ]
    graph = helper.make_graph(list(nodes), "net", [value], [answer], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return save_artifact(model, Contract(SPEC, provenance={"weights_sha256": "ab" * 32}), folder / "net.onnx")


def gray(*values: int) -> Faces:
    """One face of 4x4 equal pixels for each value."""
    images = np.repeat(np.array(values, dtype=np.uint8), 16).reshape(-1, 4, 4)
    return replace(synthetic_faces(len(values), seed=0), images=images)


@pytest.fixture
def doubling(tmp_path: Path) -> Artifact:
    """input -> doubled = 2 x -> shifted = 2 x + 5 -> logits = ReLU."""
    return net(
        tmp_path,
        helper.make_node("Mul", ["input", "two"], ["doubled"]),
        helper.make_node("Add", ["doubled", "five"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["logits"]),
    )


def test_minmax_is_exact(doubling: Artifact) -> None:
    """Pixels 0, 64 and 192 are -2, -1 and 1 as input."""
    found = calibrate(doubling, gray(0, 64, 192), "minmax")
    assert found.tensors == {"input": (-2.0, 1.0), "doubled": (-4.0, 2.0), "shifted": (0.0, 7.0), "logits": (0.0, 7.0)}
    assert (found.method, found.images, found.weights_sha256) == ("minmax", 3, "ab" * 32)


@pytest.mark.parametrize(("pixel", "low", "high"), [(192, 0.0, 1.0), (64, -1.0, 0.0)])
@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy", "mse"])
def test_zero_is_always_in_range(doubling: Artifact, method: Any, pixel: int, low: float, high: float) -> None:
    """Padding and ReLU make zeros; a constant tensor has its value and zero."""
    assert calibrate(doubling, gray(pixel), method).tensors["input"] == (low, high)


def test_every_batch_counts(doubling: Artifact) -> None:
    values = [128] * 70
    values[69] = 255
    assert calibrate(doubling, gray(*values), "minmax").tensors["input"] == (0.0, 127 / 64)


def test_percentile_cuts_an_outlier(doubling: Artifact) -> None:
    images = np.random.default_rng(0).integers(96, 161, (4096, 4, 4)).astype(np.uint8)
    images[17, 1, 2], images[18, 2, 1] = 255, 0  # two of 65,536 values
    faces = replace(synthetic_faces(1, seed=0), images=images, labels=np.zeros(4096, dtype=np.int64))
    exact = calibrate(doubling, faces, "minmax").tensors
    cut = calibrate(doubling, faces, "percentile").tensors
    values = (images.astype(np.float64) - 128) / 64
    tail = (100 - PERCENTILE) / 2
    for name, factor, shift in (("input", 1, 0), ("doubled", 2, 0), ("shifted", 2, 5)):
        (low, high), (cut_low, cut_high) = exact[name], cut[name]
        bin_width = (high - low) / (BINS - 1)
        expected = np.percentile(values * factor + shift, [tail, 100 - tail])
        assert cut_low == pytest.approx(min(0, expected[0]), abs=2 * bin_width)
        assert cut_high == pytest.approx(expected[1], abs=2 * bin_width)
        assert cut_high < high
    assert exact["input"] == (-2.0, 127 / 64)


def test_methods_cut_what_minmax_keeps(simplified: Artifact) -> None:
    observed = observe(simplified, synthetic_faces(64, seed=3))
    exact = observed.ranges("minmax").tensors
    for method in ("percentile", "entropy", "mse"):
        found = observed.ranges(method).tensors  # type: ignore[arg-type]  # a tuple of literals is one of str
        assert exact.keys() == found.keys()
        eps = 1e-5
        assert all(low >= exact[n][0] - eps and high <= exact[n][1] + eps for n, (low, high) in found.items())
        assert any(high - low < 0.95 * np.diff(exact[name])[0] for name, (low, high) in found.items())


def test_mse_is_the_best_range() -> None:
    """Against the squared error itself, over a grid of symmetric ranges of a long-tailed sample."""
    values = np.random.default_rng(0).standard_t(3, 100_000)
    low, high = float(values.min()), float(values.max())
    counts = np.histogram(values, BINS, (low, high))[0]

    def error(ends: tuple[float, float]) -> float:
        step = (ends[1] - ends[0]) / 255
        rounded = np.round((np.clip(values, *ends) - ends[0]) / step) * step + ends[0]
        return float(np.mean((values - rounded) ** 2))

    best = min(error((a * low, b * high)) for a in np.linspace(0.25, 1, 16) for b in np.linspace(0.25, 1, 16))
    assert error(find_range("mse", counts, low, high)) <= 1.05 * best
    assert error((low, high)) > 1.2 * best


def test_entropy_cuts_a_lonely_outlier() -> None:
    counts = (1e6 * np.exp(-np.arange(BINS) / 100)).astype(np.int64)  # nothing beyond a third
    counts[-1] = 1
    low, high = find_range("entropy", counts, 0.0, 100.0)
    assert low == 0.0
    assert high < 70


def test_bad_samples_are_named() -> None:
    good = synthetic_faces(64, seed=0)
    assert check_sample(good) == []
    assert any("only 1 calibration images" in line for line in check_sample(good.where(np.arange(1))))
    one_class = replace(good, labels=np.zeros(64, dtype=np.int64))
    assert check_sample(one_class) == ["the calibration images are all of one class: give some of each"]
    partly = replace(good, images=np.concatenate([good.images[:63], np.zeros_like(good.images[:1])]))
    assert check_sample(partly) == ["1 of 64 calibration images are of one gray value each: leave them out"]
    with pytest.raises(InputError, match="all 3 calibration images are of one gray value"):
        check_sample(gray(1, 2, 3))


@pytest.mark.parametrize("method", ["minmax", "percentile"])
@pytest.mark.parametrize(
    ("node", "pixels"),
    [(("Sqrt", ["input"]), (255, 0)), (("Log", ["input"]), (128,)), (("Div", ["two", "input"]), (128,))],
    ids=["nan", "minus infinity", "infinity"],
)
def test_a_tensor_that_is_not_finite_is_named(
    tmp_path: Path, node: tuple[str, list[str]], pixels: tuple[int, ...], method: Any
) -> None:
    artifact = net(
        tmp_path,
        helper.make_node(node[0], node[1], ["bad"]),
        helper.make_node("Identity", ["bad"], ["logits"]),
    )
    with pytest.raises(InputError, match=r"tensor '(bad|logits)' is not finite on these images"):
        calibrate(artifact, gray(*pixels), method)


def test_progress_ends_at_the_total(doubling: Artifact) -> None:
    for method, total in (("minmax", 40), ("percentile", 80)):
        seen: list[tuple[int, int]] = []
        calibrate(doubling, gray(*range(40)), method, lambda done, of, seen=seen: seen.append((done, of)))  # type: ignore[arg-type, misc]
        assert seen[-1] == (total, total)


def test_no_faces(doubling: Artifact) -> None:
    with pytest.raises(InputError, match="at least one image"):
        calibrate(doubling, gray(1).where(np.array([False])))


def test_int8_file_is_refused(int8: dict[Target, Quantized]) -> None:
    with pytest.raises(InputError, match="calibration needs the float32 file; this one is int8"):
        calibrate(int8[Target.ARM].artifact, synthetic_faces(1, seed=0))


def test_calibration_is_repeatable_and_leaves_the_file(simplified: Artifact, ranges: Ranges) -> None:
    assert calibrate(simplified, synthetic_faces(64, seed=3)) == ranges
    assert Artifact.load(simplified.path).sha256 == simplified.sha256


def test_round_trip(ranges: Ranges, tmp_path: Path) -> None:
    ranges.save(tmp_path / "r.json")
    assert Ranges.load(tmp_path / "r.json") == ranges


def test_sample_says_what_was_shown(ranges: Ranges) -> None:
    assert ranges.sample.startswith("64 images of ")
    assert "[10, 9, 9, 9, 9, 9, 9]" in ranges.sample


GOOD = {
    "schema_version": 2,
    "tensors": {"input": [-1.0, 1.0]},
    "method": "minmax",
    "images": 1,
    "weights_sha256": None,
    "model_sha256": "ab",
    "sample": "",
    "sample_sha256": "cd",
}


def test_good_file_loads(tmp_path: Path) -> None:
    """The control of what follows."""
    (tmp_path / "r.json").write_text(json.dumps(GOOD))
    assert Ranges.load(tmp_path / "r.json").tensors == {"input": (-1.0, 1.0)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b"[]",
        b"{}",
        json.dumps(GOOD).encode()[:-5],
        json.dumps({**GOOD, "schema_version": 1}).encode(),
        json.dumps({**GOOD, "method": "magic"}).encode(),
        json.dumps({**GOOD, "tensors": []}).encode(),
        json.dumps({**GOOD, "tensors": {"input": [1.0]}}).encode(),
        json.dumps({**GOOD, "tensors": {"input": ["a", "b"]}}).encode(),
        json.dumps({**GOOD, "tensors": {"input": [float("nan"), 1.0]}}).encode(),
        json.dumps({**GOOD, "tensors": {"input": [0.0, float("inf")]}}).encode(),
        json.dumps({**GOOD, "tensors": {"input": [1.0, -1.0]}}).encode(),
        json.dumps({**GOOD, "extra": 1}).encode(),
        json.dumps({**GOOD, "weights_sha256": 5}).encode(),
        json.dumps({**GOOD, "images": "many"}).encode(),
        json.dumps({key: value for key, value in GOOD.items() if key != "weights_sha256"}).encode(),
    ],
)
def test_a_file_that_is_no_ranges_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"r\.json: not a ranges file \(.*make one with: rarn-edge quantize --calib"):
        Ranges.load(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json"):
        Ranges.load(tmp_path / "nowhere.json")
