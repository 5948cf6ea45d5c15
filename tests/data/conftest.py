"""Small data sets of drawn faces in every shape a user may have."""

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import pytest

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.faces import CSV_CLASSES
from rarn_edge.data.synthetic import synthetic_faces

PIXELS = {name: synthetic_faces(len(CLASSES), seed=1).images[index] for index, name in enumerate(CLASSES)}
"""One 48x48 face of each class."""


def pixel_text(name: str) -> str:
    return " ".join(str(value) for value in PIXELS[name].ravel())


def jpeg(name: str) -> bytes:
    done, content = cv2.imencode(".jpg", PIXELS[name])
    assert done
    return content.tobytes()


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """`write_csv(header, rows)`: a CSV whose rows are ready text."""

    def write(header: str, rows: list[str], name: str = "fer2013.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture
def write_tree(tmp_path: Path) -> Callable[[Mapping[str, bytes]], Path]:
    """`write_tree({"train/happy/a.jpg": content})`: a folder."""

    def write(files: Mapping[str, bytes]) -> Path:
        root = tmp_path / "faces"
        root.mkdir()
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
        return root

    return write


@pytest.fixture
def write_zip(tmp_path: Path) -> Callable[..., Path]:
    """`write_zip({"train/happy/a.jpg": content})`: a zip."""

    def write(files: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
        path = tmp_path / "faces.zip"
        with zipfile.ZipFile(path, "w", compression) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path

    return write


@pytest.fixture
def face_text() -> Callable[[str], str]:
    """The pixels of one class's face as a CSV writes them."""
    return pixel_text


@pytest.fixture
def face_jpeg() -> Callable[[str], bytes]:
    """One class's face as a JPEG file."""
    return jpeg


@pytest.fixture
def csv_rows() -> list[tuple[int, str]]:
    """(number, pixels) of one face of each class, numbered as the CSV files number them."""
    return [(number, pixel_text(name)) for number, name in enumerate(CSV_CLASSES)]
