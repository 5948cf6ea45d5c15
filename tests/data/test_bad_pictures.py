"""What is wrong with pictures and class folders is said: which one, how many, and what to do."""

import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.contract.spec import Preprocess
from rarn_edge.data import load_faces
from rarn_edge.data.stream import Streamed
from rarn_edge.errors import InputError

COLOUR = Preprocess(32, 32, (128.0,) * 3, (64.0,) * 3)


def png(colour: bool, seed: int) -> bytes:
    shape = (40, 40, 3) if colour else (40, 40)
    return cv2.imencode(".png", np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))[1].tobytes()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    def call(files: dict[str, bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path / "data"

    return call


Write = Callable[[dict[str, bytes]], Path]


def test_gray_pictures_for_a_colour_network_are_counted(write: Write) -> None:
    files = {f"cat/{i}.png": png(colour=i >= 3, seed=i) for i in range(5)}
    faces = load_faces(write({**files, "dog/0.png": png(colour=True, seed=9)}), preprocess=COLOUR)
    assert faces.images.shape == (6, 32, 32, 3)
    assert str(faces.colour_notice(COLOUR)).startswith("3 of 6 images are gray, the model takes colour")


def test_colour_pictures_for_a_gray_network_are_counted(write: Write) -> None:
    faces = load_faces(write({f"cat/{i}.png": png(colour=i >= 3, seed=i) for i in range(5)}))
    assert str(faces.colour_notice(Preprocess())).startswith("2 of 5 images are in colour, the model takes gray")


def test_pictures_that_fit_are_not_mentioned(write: Write) -> None:
    faces = load_faces(write({"cat/0.png": png(colour=True, seed=0), "dog/0.png": png(colour=True, seed=1)}))
    assert faces.colour_notice(COLOUR) is None


def test_a_mean_of_one_value_for_three_channels() -> None:
    with pytest.raises(InputError, match="color 'rgb' needs three values of mean and std"):
        Preprocess(32, 32, (128.0,), (64.0,), color="rgb")
    with pytest.raises(InputError, match="mean and std have the same number of values"):
        Preprocess(32, 32, (128.0,) * 3, (64.0,))


def test_an_empty_class_folder_is_named(write: Write) -> None:
    root = write({"train/cat/0.png": png(colour=True, seed=0), "train/dog/0.png": png(colour=True, seed=1)})
    (root / "train" / "fox").mkdir()
    with pytest.raises(InputError, match="the class folder 'train/fox' holds no images"):
        load_faces(root, preprocess=COLOUR)


def test_classes_that_differ_by_case(write: Write) -> None:
    root = write({"cat/0.png": png(colour=True, seed=0), "Cat/1.png": png(colour=True, seed=1)})
    with pytest.raises(InputError, match="the classes 'Cat' and 'cat' differ by case alone; rename or merge them"):
        load_faces(root, preprocess=COLOUR)


def test_missing_files_of_a_csv_are_counted_and_one_is_named(write: Write) -> None:
    root = write({"a.png": png(colour=True, seed=0)})
    (root / "list.csv").write_text("file,label\na.png,cat\nb.png,dog\nc.png,cat\n")
    with pytest.raises(InputError, match=r"2 of 3 files are not there, 'b\.png' among them"):
        load_faces(root / "list.csv", preprocess=COLOUR)


@pytest.fixture
def stream(write: Write, monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], Streamed]:
    """`stream(251)`: 400 pictures that are decoded when asked for, this one cut short."""
    monkeypatch.setattr("rarn_edge.data.faces.MEMORY_BYTES", 0)
    whole = png(colour=True, seed=0)

    def call(bad: int | None) -> Streamed:
        found = {f"cat/{i:03}.png": whole if i != bad else whole[: len(whole) // 2] for i in range(400)}
        images = load_faces(write(found), preprocess=COLOUR).images
        assert isinstance(images, Streamed)
        return images

    return call


Stream = Callable[[int | None], Streamed]


def decoding_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("rarn-edge-decode")]


def test_a_picture_broken_in_the_middle_of_a_stream_is_named_and_all_threads_end(stream: Stream) -> None:
    with pytest.raises(InputError, match=r"cat/251\.png: cannot be decoded as an image"):
        for _ in stream(251).batches(16):
            pass
    assert decoding_threads() == []


def test_whoever_stops_early_leaves_no_thread(stream: Stream) -> None:
    batches = stream(None).batches(16)
    assert next(batches).shape == (16, 32, 32, 3)
    batches.close()  # type: ignore[attr-defined]  # it is a generator
    assert decoding_threads() == []
