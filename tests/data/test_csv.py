"""The four CSV files of FER-2013: read alike, mapped by name, and refused with the line that is wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data import Split, load_faces, synthetic_faces
from rarn_edge.data.faces import CSV_CLASSES, UNLABELLED
from rarn_edge.errors import InputError

WriteCsv = Callable[..., Path]
Rows = list[tuple[int, str]]

USAGES = ("Training", "Training", "Training", "PublicTest", "PublicTest", "PrivateTest", "PrivateTest")


def test_fer2013(write_csv: WriteCsv, csv_rows: Rows) -> None:
    rows = [f"{number},{pixels},{usage}" for (number, pixels), usage in zip(csv_rows, USAGES, strict=True)]
    faces = load_faces(write_csv("emotion,pixels,Usage", rows))
    assert faces.images.shape == (7, 48, 48)
    assert faces.images.dtype == np.uint8
    assert faces.splits.tolist() == list(USAGES)
    assert faces.names[0] == "fer2013.csv:2"
    assert_classes_mapped_by_name(faces.labels, faces.images)


def test_icml_face_data(write_csv: WriteCsv, csv_rows: Rows) -> None:
    rows = [f"{number},{usage},{pixels}" for (number, pixels), usage in zip(csv_rows, USAGES, strict=True)]
    faces = load_faces(write_csv("emotion, Usage, pixels", rows, "icml_face_data.csv"))
    assert faces.splits.tolist() == list(USAGES)
    assert_classes_mapped_by_name(faces.labels, faces.images)


def test_train_has_no_split(write_csv: WriteCsv, csv_rows: Rows) -> None:
    faces = load_faces(write_csv("emotion,pixels", [f"{number},{pixels}" for number, pixels in csv_rows], "train.csv"))
    assert faces.available_splits == (Split.UNSPLIT,)
    assert len(faces.split(Split.TRAINING)) == 7
    assert_classes_mapped_by_name(faces.labels, faces.images)


def test_test_has_no_labels(write_csv: WriteCsv, csv_rows: Rows) -> None:
    faces = load_faces(write_csv("pixels", [pixels for _, pixels in csv_rows], "test.csv"))
    assert set(faces.labels.tolist()) == {UNLABELLED}
    with pytest.raises(InputError, match="7 of 7 images have no label"):
        faces.labelled()


def test_quoted_pixels_byte_order_mark_and_blank_lines(tmp_path: Path, csv_rows: Rows) -> None:
    number, pixels = csv_rows[4]
    path = tmp_path / "excel.CSV"
    path.write_bytes(f'\ufeffemotion,pixels,Usage\r\n\r\n{number},"{pixels} ",Training\r\n'.encode())
    faces = load_faces(path)
    assert faces.labels.tolist() == [CLASSES.index("sad")]
    assert faces.names == ("excel.CSV:3",)


def assert_classes_mapped_by_name(labels: np.ndarray, images: np.ndarray) -> None:
    """Number 4 is sad and 6 is neutral in the CSV files; in the project neutral comes before sad."""
    assert [CLASSES[label] for label in labels] == list(CSV_CLASSES)
    assert CLASSES[labels[4]] == "sad"
    assert CLASSES[labels[6]] == "neutral"
    assert (images == synthetic_faces(7, seed=1).images[labels]).all()


def change_pixel(text: str, value: str) -> str:
    return f"{value} {text.split(' ', 1)[1]}"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda p: p.rsplit(" ", 1)[0], "line 3: 2,303 pixels, expected 2,304"),
        (lambda p: p + " 0", "line 3: 2,305 pixels"),
        (lambda _: "", "line 3: 0 pixels"),
        (lambda p: change_pixel(p, "12x"), "line 3: pixel value '12x' is not"),
        (lambda p: change_pixel(p, "256"), "line 3: pixel value 256 is not"),
        (lambda p: change_pixel(p, "9" * 40), "line 3: pixel value 9.* is not"),
        (lambda p: change_pixel(p, "-1"), "line 3: pixel value '-1' is not"),
        (lambda p: change_pixel(p, "1.5"), "line 3: pixel value '1.5' is not"),
        (lambda p: change_pixel(p, "\u0663"), "line 3: pixel value '\u0663' is not"),
        (lambda p: p.replace(" ", "\t"), r"line 3: pixel value '.*\\t.*' is not"),
    ],
)
def test_wrong_pixels_name_the_line(
    write_csv: WriteCsv, face_text: Callable[[str], str], edit: Callable[[str], str], message: str
) -> None:
    good = face_text("happy")
    path = write_csv("emotion,pixels,Usage", [f"3,{good},Training", f"3,{edit(good)},Training"])
    with pytest.raises(InputError, match=message):
        load_faces(path)


@pytest.mark.parametrize(
    ("label", "usage", "message"),
    [
        ("9", "Training", r"line 2: label '9' is none of 0 angry, .* 4 sad, 5 surprise, 6 neutral"),
        ("happy", "Training", "line 2: label 'happy' is none of"),
        ("", "Training", "line 2: label '' is none of"),
        ("3", "Validation", "line 2: usage 'Validation' is none of Training, PublicTest, PrivateTest"),
        ("3", "a,b", "line 2: 4 columns, but the header has 3"),
    ],
)
def test_wrong_label_usage_or_columns(
    write_csv: WriteCsv, face_text: Callable[[str], str], label: str, usage: str, message: str
) -> None:
    path = write_csv("emotion,pixels,Usage", [f"{label},{face_text('happy')},{usage}"])
    with pytest.raises(InputError, match=message):
        load_faces(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"emotion,pixels,Usage\n", "a header but no rows"),
        (b"\n\n", "no column 'pixels'"),
        (b"name,age\nx,3\n", r"no column 'pixels' in the header \(name, age\); expected emotion,pixels,Usage"),
        (bytes(range(256)) * 40, "not a CSV text file"),
        (b"emotion,pixels,Usage\n3,\xff\xfe,Training\n", "not a CSV text file"),
        (b"x" * 200_000, "not a CSV text file"),
    ],
)
def test_what_is_no_fer_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_faces(path)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "noise.csv"
    for seed in range(20):
        path.write_bytes(np.random.default_rng(seed).bytes(5000))
        with pytest.raises(InputError):
            load_faces(path)


def test_missing_file_and_unknown_form(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder; pictures are a zip"):
        load_faces(tmp_path / "fer2013.csv")
    other = tmp_path / "fer2013.tar"
    other.write_bytes(b"x")
    with pytest.raises(InputError, match=r"unknown form '\.tar'"):
        load_faces(other)
