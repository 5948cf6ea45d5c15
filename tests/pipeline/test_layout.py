"""A file that takes its pictures channels last, as cameras give them: made by export, and equal to what it was made of."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import rarn_edge
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import model_input
from rarn_edge.contract.spec import InputDtype
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import GateError, InputError
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.passes import layout as layout_pass
from rarn_edge.pipeline.passes.layout import in_layout
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import CPU, open_session


@pytest.fixture(scope="module")
def plain(shipped_float32: Callable[..., Artifact]) -> Artifact:
    """With the shipped weights, whose ranges are shipped too."""
    return shipped_float32("rarn-n")


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_the_file_answers_alike_and_takes_channels_last(plain: Artifact, dtype: InputDtype, tmp_path: Path) -> None:
    made = rarn_edge.export(tmp_path / "last.onnx", "rarn-n", input_dtype=dtype, layout="NHWC").artifact
    assert (made.spec.layout, made.spec.input_shape, made.spec.input_dtype) == ("NHWC", (48, 48, 1), dtype)
    faces = synthetic_faces(8, seed=3).pixels
    assert model_input(faces, made.spec).shape == (8, 48, 48, 1)
    first, last = (run_logits(open_session(each.path, CPU, 1), each.spec, faces) for each in (plain, made))
    assert np.abs(first - last).max() <= 1e-4 * max(1, np.abs(first).max())


def test_shipped_ranges_fit_it(plain: Artifact, tmp_path: Path) -> None:
    """One more tensor, the transposed input, has the input's range; the INT8 file decides as that of the other layout."""
    model = LoadedModel.read(plain)
    last = in_layout(model, "NHWC").save(tmp_path / "last.onnx")
    files = [
        rarn_edge.quantize(source.path, tmp_path / f"{index}.onnx", target="x86-avx2").artifact
        for index, source in enumerate((plain, last))
    ]
    faces = synthetic_faces(8, seed=3).pixels
    one, other = (run_logits(open_session(each.path, CPU, 1), each.spec, faces) for each in files)
    np.testing.assert_allclose(one, other, atol=0.02 * np.abs(one).max())
    report = rarn_edge.parity([plain.path, last.path, files[1].path], threads=1).report
    assert report.passed


def test_a_wrong_transpose_does_not_pass(plain: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout_pass, "CHANNELS_FIRST", (0, 3, 2, 1))
    with pytest.raises(GateError, match="the channels-last graph differs"):
        in_layout(LoadedModel.read(plain), "NHWC")


def test_it_is_not_taken_back(plain: Artifact) -> None:
    last = in_layout(LoadedModel.read(plain), "NHWC")
    assert in_layout(last, "NHWC") is last
    assert [node.op_type for node in last.graph.graph.node].count("Transpose") >= 1
    onnx.checker.check_model(last.graph)
    with pytest.raises(InputError, match="export it again with --layout nchw"):
        in_layout(last, "NCHW")
