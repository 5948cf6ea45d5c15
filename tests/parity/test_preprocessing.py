"""One image, one tensor, one answer: every way through the package, and the script in the documentation that has none of it."""

import hashlib
import importlib.metadata
import json
import re
import subprocess
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.preprocess import decode_gray, resize, to_input
from rarn_edge.contract.spec import Preprocess
from rarn_edge.data import load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.parity.outputs import file_form
from rarn_edge.stats.classification import softmax

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
    "colour": "dae55b1319dbeaa9",
    "alpha": "dae55b1319dbeaa9",
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


JPEGS: dict[
    str, tuple[bytes, bytes, str]
] = {  # made once: the file, its pixels as PNG, and the golden hash of the tensor
    "gray": (
        b64decode(
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8t"
            "MC0oMCUoKSj/wAALCAAgABgBAREA/8QAGQAAAgMBAAAAAAAAAAAAAAAAAwYCBQcE/8QAKhAAAQMDAgUCBwAAAAAAAAAAAQIDEQAEBRIhBiIx"
            "QVETYRQlcZKh4fD/2gAIAQEAAD8AXHs3l8KVHI23xbKOYuMmAkfYB196ZcZkbXMWIuLRQLckEEgkfWDUnRpneQetZtl7figXoZUX7y3UAFnQ"
            "kIM9QR0rv4Vtcvjsi0hLTlvYOq52ioEAwR338HajcY57I27/AKNi2420pMh1MESY8j+mtEctWldoJ7bVXuNfMU6EgpaTJHuQf1VVkMam7t0h"
            "1sJUiYEA+DTPdPFCFIbEuKHKDS6zmEY5p5GRQtp4DUYAUCD0iCfzRWL5q9Y9ZrWE7gSImv/Z"
        ),
        b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAABgAAAAgCAAAAAAtNefkAAACQklEQVQozxVSy24UQQy03Z7u6Z3d7EIeSgRCIoIrN0DiB7jxTfwgBw7cwiYi"
            "ipRkRbLsY2b64Ta9rT5ZrnK5yvhdT2LisAiJMEPZH6VMDcTI8xDAqMmZWkgZWYqqIJKR5c2gyQGCIWXvAtSnQIwOOpcxH++TxhKiAyoFEPFL"
            "vmfD76YfxPssWBJoloLIX/XpebVa7laLt+clceWrEFTlbj0+DHOjOUrDUQS0KKkWHszlqaEf/5Zmm155iEZVqxIlysGmcBSpLU2TS8MjTUib"
            "iths17tu9vmn3swYz9edC83aPvd4aUlymb6c41Wcjd+6Fh7wl715JvYyIPRBYwftRAIa2GS1jj+65VUAjNdyrNltp4/5brlxCmzbSTMUk5rm"
            "bBh1+x5G2Pa9I34NETP6011YnPlixyfHF8+UJuzT+Zt239sLCpPt2tcAXixu4c7V9Vl6cAWEtTedNk9HTRHLPKtiqw3FKAajrZnChE/QtlwN"
            "xuoBWcA1oRPUpIYaZVdNq/8AGRxoBCxuRpA4kzkwUaIkLHncM/kp24GDMXgAEUVuWWuqqajUlFuqdSQKONRlyZ42O5+BE6toTYcr31hng0Wu"
            "zGgtA6FBzHGTuPUuBYjdCAyGtQBwpRultQntbI8oUjhVTUUR8tjFur9L95LlEC4xi6Lm/eaa3/hxcEe1bFxFce3XlGP0jImgRA2mDpbECYuI"
            "kB92v2eXJ9tHkm7e1GPkOiBFaNwnd/tn9fA3tAwdwuGqGSVknvQl9mSJ0HaeisB/aQZpKRSriSEAAAAASUVORK5CYII="
        ),
        "73c0b988bf52e4bb",
    ),
    "colour": (
        b64decode(
            "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAYEBQYFBAYGBQYHBwYIChAKCgkJChQODwwQFxQYGBcUFhYaHSUfGhsjHBYWICwgIyYnKSopGR8t"
            "MC0oMCUoKSj/2wBDAQcHBwoIChMKChMoGhYaKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCgoKCj/wAAR"
            "CAAgABgDASIAAhEBAxEB/8QAGQAAAgMBAAAAAAAAAAAAAAAAAAYCBAUD/8QAKRAAAgEDAwIEBwAAAAAAAAAAAQIDAAQRBRIhE0EiJDFhUXGR"
            "kqGx4f/EABgBAAIDAAAAAAAAAAAAAAAAAAIGAAMF/8QAIxEAAQMDBAIDAAAAAAAAAAAAAQACAwQRIQUSMVETQSJh0f/aAAwDAQACEQMRAD8A"
            "T5NRvtPybuLrxrzvj7D7a17O6hv7bqwHK+hGRn8Up30Wsi4EZMlxEwAY7QFPsR6VZ0SC+tbtFCPFbOfEhIIB5/lNVXpkD6fytewP5+JwR1b0"
            "esJdLRZMrjHyope17U7uKXp26MqEZ3jkfqiq6TQp54hJuaL/AH+KBhITW8KHtg/CqrJ5obQCqDJHvzVuaQqpVBlyOM1lR362qSLdqyOBk8Zz"
            "9DS9SxyyNJbk9e8oAoXVoJ4gHQArnjg0V2juUuIuom4DtmitSKpnhGzhFchf/9k="
        ),
        b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAABgAAAAgCAAAAAAtNefkAAACB0lEQVQozyVS2W7UQBDsazz2bi6hhEdeEeJv+BC+mLdIBJFkRZLdtT3TB+1k"
            "ZEtWT7uqq6vw58DaYJCG4cS+EiJAREgoFgmkkUDNW9tB1vOVXzFcTYQSwgFUS2ztACioaijjFBRdg4puZUCQNrdn4nH3RQqhK1Jg3gTyj9vL"
            "gmHL2wmGShEEH4caCBeZ/4Q7CYNn+zZYiJbLivH4+2FY/FMR0cTH93FptQvwM7mWAitQAIuaCS6HA9by/X6Z79d6MYRZ896Uz4/Htv47+s7i"
            "rx5HJ1uPL4enJ6kJlZzLbifHRIJC6r2ryrd4fFiG0h/ohtFxeG6vh3NqIa8XE5m5uo9ECvtJUua4l2vqnxvubpoPd9DH4TV4KKgh1a9u5bxO"
            "0GC0FjrXa7mxPhOQpAljIE5KKwMp73BVkCE8PB0Q4BW4DhWq7AtoQpnngpCIOlEhcvdtiZKW5D95GJQYemLTyNBEt96PLmTyfoqpFNmY0xlA"
            "RPJkyBYIS4/DRABs84W6YQXmu7bJDJeSmjMkCN3SvQyQAjlTGpOMabQ2tX1JxhjBQqmIxUZq0EKwqyklTCpLB1MzQpowTLUwwClFUd6J4NYy"
            "n5d3aLN9jo2Rfmz1MFUGK2P15ZSR4oyvGOZOgupTfl/u7di5jhk0yDyDGZXydX07zev5ZZr4g5xyDAPJUCdlLi4fzlz5f6vjVMhTY/gkAAAA"
            "AElFTkSuQmCC"
        ),
        "a3de0f41fca071dc",
    ),
}


@pytest.mark.parametrize("kind", JPEGS)
def test_golden_jpeg(kind: str) -> None:
    """Builds of libjpeg may round apart by one level; the pinned OpenCV brings its own, so there the bytes are the same."""
    content, pixels, golden = JPEGS[kind]
    decoded, expected = decode_gray(content, "x").astype(int), decode_gray(pixels, "y").astype(int)
    assert expected.std() > 10  # a picture, not a flat one
    np.testing.assert_allclose(decoded, expected, rtol=0, atol=1)
    pinned = re.search(r"^opencv-python-headless==(.+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert pinned is not None
    if cv2_version() == pinned[1]:
        assert hashlib.sha256(tensor(content).astype("<f4").tobytes()).hexdigest()[:16] == golden


def cv2_version() -> str | None:
    """Of the OpenCV distribution that constraints.txt pins; None where another one is installed."""
    try:
        return importlib.metadata.version("opencv-python-headless")
    except importlib.metadata.PackageNotFoundError:
        return None


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
def test_every_way_gives_the_same_probabilities(kind: str, python: Cli, cli: Cli, tmp_path: Path) -> None:
    """The script of the documentation, `Classifier`, the `predict` command, and what `evaluate` and `parity` run."""
    folder = tmp_path / "happy"
    folder.mkdir()
    path = folder / "x.png"
    path.write_bytes(PNGS[kind])
    text = (ROOT / "docs" / "guides" / "export.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "ten_lines.py").write_text(script)
    done = python(tmp_path / "ten_lines.py", TINY, path)
    assert done.returncode == 0, done.stderr
    bare = json.loads(done.stdout)
    (prediction,) = Classifier(TINY, threads=1).predict(str(path))
    said = cli("predict", path, "--model", TINY, "--crop", "--threads", 1, "--json")
    assert said.returncode == 0, said.stderr
    predicted = json.loads(said.stdout)["probabilities"]
    assert list(predicted) == list(bare)
    np.testing.assert_allclose(list(predicted.values()), list(bare.values()), atol=1e-6)
    artifact = Artifact.load(TINY)
    assert tuple(bare) == artifact.spec.classes == prediction.classes
    np.testing.assert_allclose(prediction.probabilities, list(bare.values()), atol=1e-6)
    form = file_form(artifact, load_faces(tmp_path), threads=1)
    np.testing.assert_allclose(softmax(form.logits)[0], list(bare.values()), atol=1e-6)
