"""The attention mask as a second output: there, in 0..1, and without effect on the logits."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.contract.artifact import Artifact
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.passes.attention import expose_attention

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"


def test_mask_beside_the_same_logits(simplified: Artifact, tmp_path: Path) -> None:
    shown = expose_attention(LoadedModel.read(simplified)).save(tmp_path / "debug.onnx")
    noted = {**simplified.contract.provenance, "second_output": "attention"}
    assert shown.contract == replace(simplified.contract, provenance=noted)
    faces = synthetic_faces(3, seed=1).images
    before, after = Classifier(simplified.path, threads=1), Classifier(shown.path, threads=1)
    np.testing.assert_allclose(
        [answer.logits for answer in after.predict(faces)],
        [answer.logits for answer in before.predict(faces)],
        atol=1e-5,
    )
    mask = after.attention(faces)
    assert mask.shape[0] == 3
    assert mask.shape[1] == mask.shape[2] > 1
    assert 0 <= mask.min() < mask.max() <= 1
    with pytest.raises(InputError, match="--attention"):
        before.attention(faces)
    with pytest.raises(InputError, match="already"):
        expose_attention(LoadedModel.read(shown))


def test_the_mask_turns_with_the_face(simplified: Artifact, tmp_path: Path) -> None:
    """Not exactly, for the backbone does not turn; but the output is the mask and no other map: it depends on the face."""
    classifier = Classifier(
        expose_attention(LoadedModel.read(simplified)).save(tmp_path / "debug.onnx").path, threads=1
    )
    one, other = classifier.attention(synthetic_faces(2, seed=2).images)
    assert np.abs(one - other).max() > 1e-4


def test_a_graph_without_a_mask() -> None:
    with pytest.raises(InputError, match="0 attention masks"):
        expose_attention(LoadedModel.read(Artifact.load(TINY)))


def test_explain_draws_over_the_face(cli: Cli, simplified: Artifact, tmp_path: Path) -> None:
    expose_attention(LoadedModel.read(simplified)).save(tmp_path / "debug.onnx")
    face = synthetic_faces(1, seed=3).images[0]
    assert cv2.imwrite(str(tmp_path / "face.png"), face)
    drawn = {}
    for name, options in (("plain", ()), ("explained", ("--explain",))):
        out = tmp_path / f"{name}.png"
        done = cli("predict", tmp_path / "face.png", "--model", tmp_path / "debug.onnx", "--annotate", out, *options)
        assert done.returncode == 0, done.stderr
        drawn[name] = cv2.imread(str(out)).astype(int)
    colour = np.abs(drawn["explained"][..., 0] - drawn["explained"][..., 2])
    assert colour[60:200].mean() > 20  # red and blue over a gray face
    assert np.abs(drawn["plain"][60:200, 10:180, 0] - drawn["plain"][60:200, 10:180, 2]).max() == 0
