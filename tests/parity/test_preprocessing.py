"""One image, one tensor, one answer: every way through the package, and the script in the documentation that has none of it."""

import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.artifact import Artifact
from rarn_edge.data import load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.metrics import softmax
from rarn_edge.parity.chain import file_form
from rarn_edge.preprocess import decode_gray, resize, to_input
from rarn_edge.spec import Preprocess

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
TINY = ROOT / "tests" / "device" / "tiny.onnx"
GRAY = cv2.resize(synthetic_faces(1, seed=5).images[0], (64, 80), interpolation=cv2.INTER_NEAREST)
COLOUR = np.stack([GRAY, GRAY // 2, 255 - GRAY], axis=2)


def png(image: np.ndarray) -> bytes:
    done, content = cv2.imencode(".png", image)
    assert done
    return content.tobytes()


def alpha() -> np.ndarray:
    return np.dstack([COLOUR, np.full(GRAY.shape, 100, dtype=np.uint8)])


PNGS: dict[str, bytes] = {
    "gray": png(GRAY),
    "colour": png(COLOUR),
    "alpha": png(alpha()),
    "16-bit": png(GRAY.astype(np.uint16) * 257),
    "own size": png(GRAY[:48, :48]),
    "odd": png(GRAY[:77, :51]),
    "small": png(GRAY[:31, :19]),
    "one pixel": png(GRAY[:1, :1]),
}


def tensor(content: bytes) -> np.ndarray:
    image = resize(decode_gray(content, "x"), 48, 48)
    return to_input(image[None], Preprocess())


GOLDEN = {  # the first 16 digits of the sha256 of the little-endian tensor
    "gray": "eed8925ed35730e7",
    "colour": "ecb596b1302656da",
    "alpha": "ecb596b1302656da",
    "16-bit": "eed8925ed35730e7",
    "own size": "a668b4f435f1ddd6",
    "odd": "896df986a178f221",
    "small": "04c5c14e1320a381",
    "one pixel": "5cf47c469f09b510",
}


@pytest.mark.parametrize("kind", PNGS)
def test_golden_hash(kind: str) -> None:
    """PNG is lossless and OpenCV's resize of bytes is in whole numbers: the tensor is the same bytes everywhere."""
    assert hashlib.sha256(tensor(PNGS[kind]).astype("<f4").tobytes()).hexdigest()[:16] == GOLDEN[kind]


def test_alpha_and_depth_change_nothing() -> None:
    np.testing.assert_array_equal(tensor(PNGS["alpha"]), tensor(PNGS["colour"]))
    np.testing.assert_array_equal(tensor(PNGS["16-bit"]), tensor(PNGS["gray"]))


def test_exif_rotation_is_applied() -> None:
    """A JPEG turned by its EXIF entry is the upright picture."""
    done, encoded = cv2.imencode(".jpg", GRAY)
    assert done
    plain = encoded.tobytes()
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00\x00\x00\x00\x00"
    app1 = b"Exif\x00\x00" + tiff
    turned = plain[:2] + b"\xff\xe1" + (len(app1) + 2).to_bytes(2, "big") + app1 + plain[2:]
    upright = np.rot90(decode_gray(plain, "plain"), -1)  # orientation 6: turn it clockwise
    np.testing.assert_array_equal(decode_gray(turned, "turned"), upright)


@pytest.mark.parametrize("kind", PNGS)
def test_every_way_gives_the_same_probabilities(kind: str, python: Cli, tmp_path: Path) -> None:
    """The script of the documentation, `Classifier` (which `predict` uses), and what `evaluate` and `parity` run."""
    folder = tmp_path / "happy"
    folder.mkdir()
    path = folder / "x.png"
    path.write_bytes(PNGS[kind])
    text = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "ten_lines.py").write_text(script)
    done = python(tmp_path / "ten_lines.py", TINY, path)
    assert done.returncode == 0, done.stderr
    bare = json.loads(done.stdout)
    (prediction,) = Classifier(TINY, threads=1).predict(str(path))
    artifact = Artifact.load(TINY)
    assert tuple(bare) == artifact.spec.classes == prediction.classes
    np.testing.assert_allclose(prediction.probabilities, list(bare.values()), atol=1e-6)
    form = file_form(artifact, load_faces(tmp_path), threads=1)
    np.testing.assert_allclose(softmax(form.logits)[0], list(bare.values()), atol=1e-6)
