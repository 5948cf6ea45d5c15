"""Class folders, loose and zipped: labels by folder name, splits by file name or folder, and broken files named."""

import contextlib
import errno
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data import Split, load_faces
from rarn_edge.data.faces import UNLABELLED, Faces
from rarn_edge.errors import InputError

Write = Callable[..., Path]
Jpeg = Callable[[str], bytes]


@pytest.fixture(params=["folder", "zip"])
def write(request: pytest.FixtureRequest) -> Write:
    """The same files, as a folder and as a zip."""
    fixture: Write = request.getfixturevalue("write_tree" if request.param == "folder" else "write_zip")
    return fixture


def found(faces: Faces) -> list[tuple[str, str]]:
    """(class, split) of each image."""
    return [(faces.classes[label], split) for label, split in zip(faces.labels, faces.splits, strict=True)]


def test_train_and_test_folders(write: Write, face_jpeg: Jpeg) -> None:
    faces = load_faces(
        write({"train/happy/1.jpg": face_jpeg("happy"), "test/sad/1.jpg": face_jpeg("sad"), "test/notes.txt": b"?"})
    )
    assert found(faces) == [("sad", "test"), ("happy", "Training")]
    assert faces.images.shape == (2, 48, 48)
    assert faces.names == ("test/sad/1.jpg", "train/happy/1.jpg")
    assert len(faces.split(Split.TRAINING)) == 1
    assert faces.held_out().names == ("test/sad/1.jpg",)


@pytest.mark.parametrize("name", ["val", "valid", "Validation", "dev", "eval", "Testing"])
def test_usual_names_of_the_held_out_part(write: Write, face_jpeg: Jpeg, name: str) -> None:
    faces = load_faces(write({"Train/happy/1.jpg": face_jpeg("happy"), f"{name}/sad/1.jpg": face_jpeg("sad")}))
    assert sorted(found(faces)) == [("happy", "Training"), ("sad", "test")]


def test_class_folders_alone_are_unsplit(write: Write, face_jpeg: Jpeg) -> None:
    faces = load_faces(write({f"{name}/x.jpg": face_jpeg(name) for name in CLASSES}))
    assert found(faces) == [(name, "all") for name in CLASSES]
    for image, name in zip(faces.images, CLASSES, strict=True):
        drawn = cv2.imdecode(np.frombuffer(face_jpeg(name), dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
        assert (image == drawn).all()


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("anger", "angry"),
        ("Happiness", "happy"),
        ("SADNESS", "sad"),
        ("surprised", "surprise"),
        ("fearful", "fear"),
        ("disgusted", "disgust"),
        ("Neutral", "neutral"),
    ],
)
def test_usual_spellings_of_a_class(write: Write, face_jpeg: Jpeg, folder: str, name: str) -> None:
    assert found(load_faces(write({f"data/{folder}/x.jpg": face_jpeg(name)}))) == [(name, "all")]


def test_merged_test_folder_is_told_apart_by_prefix(write: Write, face_jpeg: Jpeg) -> None:
    faces = load_faces(
        write(
            {
                "train/fear/Training_3.jpg": face_jpeg("fear"),
                "test/fear/PublicTest_1.jpg": face_jpeg("fear"),
                "test/fear/PrivateTest_2.jpg": face_jpeg("fear"),
                "test/fear/other_1.jpg": face_jpeg("fear"),
            }
        )
    )
    splits = {name.rsplit("/", 1)[1]: split for name, split in zip(faces.names, faces.splits, strict=True)}
    assert splits == {
        "Training_3.jpg": "Training",
        "PublicTest_1.jpg": "PublicTest",
        "PrivateTest_2.jpg": "PrivateTest",
        "other_1.jpg": "test",
    }
    assert faces.held_out().names == ("test/fear/PublicTest_1.jpg",)
    assert len(faces.split(Split.TEST)) == 3


def test_any_size_and_format(write: Write) -> None:
    colour = np.full((120, 90, 3), (10, 200, 100), dtype=np.uint8)
    images = {
        f"happy/x{suffix}": cv2.imencode(suffix, colour)[1].tobytes() for suffix in (".png", ".gif", ".bmp", ".webp")
    }
    faces = load_faces(write(images))
    assert faces.images.shape == (4, 48, 48)
    assert abs(int(faces.images.mean()) - (0.114 * 10 + 0.587 * 200 + 0.299 * 100)) < 3


def test_images_outside_class_folders_have_no_label(write: Write, face_jpeg: Jpeg) -> None:
    assert load_faces(write({"x.jpg": face_jpeg("happy")})).labels.tolist() == [UNLABELLED]


def test_files_the_system_leaves_behind_are_ignored(write: Write, face_jpeg: Jpeg) -> None:
    files = {"happy/x.jpg": face_jpeg("happy"), "happy/._x.jpg": b"\0", "__MACOSX/happy/y.jpg": b"\0"}
    assert load_faces(write(files)).names == ("happy/x.jpg",)


def test_hidden_folders_are_no_classes(write: Write, face_jpeg: Jpeg) -> None:
    copies = ("happy/.ipynb_checkpoints/x-checkpoint.jpg", "happy/@eaDir/x.jpg/SYNOPHOTO_THUMB_M.jpg")
    faces = load_faces(write({name: face_jpeg("happy") for name in ("happy/x.jpg", "sad/x.jpg", *copies)}))
    assert faces.names == ("happy/x.jpg", "sad/x.jpg")
    assert found(faces) == [("happy", "all"), ("sad", "all")]


def test_hidden_folders_beside_classes_need_no_images(write_tree: Write, face_jpeg: Jpeg) -> None:
    root = write_tree({"happy/x.jpg": face_jpeg("happy"), "sad/x.jpg": face_jpeg("sad")})
    for name in (".cache", "@eaDir", "__pycache__"):
        (root / name).mkdir()
    assert load_faces(root).names == ("happy/x.jpg", "sad/x.jpg")


def test_linked_folders_are_read(write_tree: Write, face_jpeg: Jpeg, tmp_path: Path) -> None:
    root = write_tree({"train/happy/1.jpg": face_jpeg("happy"), "train/sad/2.jpg": face_jpeg("sad")})
    (tmp_path / "held-out" / "happy").mkdir(parents=True)
    (tmp_path / "held-out" / "happy" / "3.jpg").write_bytes(face_jpeg("happy"))
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "4.jpg").write_bytes(face_jpeg("fear"))
    (root / "test").symlink_to(tmp_path / "held-out")
    (root / "train" / "fear").symlink_to(tmp_path / "others")
    (root / "train" / "happy" / "all").symlink_to(root)  # a circle
    faces = load_faces(root)
    assert faces.names == ("test/happy/3.jpg", "train/fear/4.jpg", "train/happy/1.jpg", "train/sad/2.jpg")
    assert found(faces) == [("happy", "test"), ("fear", "Training"), ("happy", "Training"), ("sad", "Training")]


def test_a_class_without_images_is_named(write_tree: Write, face_jpeg: Jpeg, tmp_path: Path) -> None:
    root = write_tree({"train/happy/1.jpg": face_jpeg("happy"), "train/sad/notes.txt": b"?"})
    with pytest.raises(InputError, match="the class folder 'train/sad' holds no images"):
        load_faces(root)
    (root / "train" / "sad" / "notes.txt").unlink()
    (root / "train" / "sad").rmdir()
    (tmp_path / "nothing").mkdir()
    (root / "train" / "fear").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputError, match="the class folder 'train/fear' holds no images"):
        load_faces(root)
    (tmp_path / "nothing").rmdir()
    with pytest.raises(InputError, match="'train/fear' beside the class folders is a link that leads nowhere; mend or"):
        load_faces(root)


def test_a_folder_that_cannot_be_read_is_named(
    write_tree: Write, face_jpeg: Jpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_tree({"happy/x.jpg": face_jpeg("happy"), "sad/x.jpg": face_jpeg("sad")})
    real = os.scandir

    def scandir(path: str) -> object:
        if path == str(root / "sad"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(InputError, match=r"faces.sad: cannot be read \(Permission denied\)"):
        load_faces(root)


@pytest.mark.parametrize("name", ["train", "Test", "val", "dev", "eval"])
def test_a_class_may_be_called_as_a_split(write: Write, face_jpeg: Jpeg, name: str) -> None:
    """A folder in a split's folder is a class; in all others the innermost name of a split counts."""
    files = [f"{split}/{folder}/1.jpg" for split in ("train", "test") for folder in (name, "bus")]
    faces = load_faces(write(dict.fromkeys([*files, "dev/train/bus/2.jpg"], face_jpeg("happy"))))
    assert faces.classes == tuple(sorted(("bus", name)))
    assert sorted(found(faces)) == sorted(
        [*((folder, split) for folder in (name, "bus") for split in ("test", "Training")), ("bus", "Training")]
    )


@pytest.mark.parametrize(
    ("name", "split"),
    [("test/test/1.jpg", "test"), ("test/PublicTest/1.jpg", "PublicTest"), ("test/PrivateTest/1.jpg", "PrivateTest")],
)
def test_a_split_inside_a_split_is_no_class(write: Write, face_jpeg: Jpeg, name: str, split: str) -> None:
    """Zips nested twice, and both test splits below one folder: no class lies beside them."""
    classes = ("train/train/happy/1.jpg", "train/train/sad/2.jpg")
    faces = load_faces(write(dict.fromkeys([*classes, name], face_jpeg("happy"))))
    assert faces.classes == ("happy", "sad")
    assert (faces.labels.tolist(), faces.splits.tolist()) == ([UNLABELLED, 0, 1], [split, "Training", "Training"])


def test_a_zip_with_unusual_paths(write_zip: Write, face_jpeg: Jpeg) -> None:
    assert found(load_faces(write_zip({"./train//happy/x.jpg": face_jpeg("happy")}))) == [("happy", "Training")]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"readme.txt": b"hello"}, "no images in it .* expected folders such as train/happy/x.jpg"),
        (
            {"train/cat/x.jpg": b"x", "third/cat/y.jpg": b"y"},
            "1 of 2 images are in no split, 'third/cat/y.jpg' among them",
        ),
        ({"cat/x.jpg": b"x", "Cat/y.jpg": b"y"}, "the classes 'Cat' and 'cat' differ by case alone"),
        ({"happy/empty.jpg": b""}, "happy/empty.jpg: cannot be decoded as an image"),
        (
            {"happy/text.jpg": b"no image" * 99},
            "happy/text.jpg: cannot be decoded as an image; convert, repair or remove it",
        ),
    ],
)
def test_what_cannot_be_used_is_named(write: Write, files: Mapping[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_faces(write(files))


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_broken_jpeg_is_named(write: Write, face_jpeg: Jpeg, part: float) -> None:
    whole = face_jpeg("sad")
    files = {"train/sad/a.jpg": whole, "train/sad/b.jpg": whole[: int(len(whole) * part)]}
    with pytest.raises(InputError, match=r"train/sad/b\.jpg: cannot be decoded as an image"):
        load_faces(write(files))


@pytest.mark.parametrize("content", [b"this is no zip", b"PK\x03\x04" + bytes(100), bytes(range(256)) * 20])
def test_not_a_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "faces.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"faces\.zip: cannot be read as a zip"):
        load_faces(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_zip_never_escapes_as_another_error(write_zip: Write, face_jpeg: Jpeg, compression: int) -> None:
    path = write_zip({f"{name}/x.jpg": face_jpeg(name) for name in CLASSES}, compression)
    whole = path.read_bytes()
    for part in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match=r"faces\.zip"):
            load_faces(path)
    rng = np.random.default_rng(0)
    for _ in range(150):  # flipped bytes: refused, or harmless
        damaged = bytearray(whole)
        for position in rng.integers(0, len(whole), 3):
            damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            load_faces(path)


def test_a_flipped_byte_in_an_image_is_noticed(write_zip: Write, face_jpeg: Jpeg) -> None:
    content = face_jpeg("happy")
    path = write_zip({"happy/x.jpg": content})
    damaged = bytearray(path.read_bytes())
    damaged[damaged.find(content) + len(content) // 2] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="Bad CRC-32"):
        load_faces(path)


def test_an_entry_that_claims_to_be_huge_is_not_unpacked(write_zip: Write, face_jpeg: Jpeg) -> None:
    path = write_zip({"happy/x.jpg": face_jpeg("happy")})
    content = bytearray(path.read_bytes())
    struct.pack_into("<I", content, content.find(b"PK\x01\x02") + 24, 2**30)  # size in the directory
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"happy/x\.jpg is 1,073,741,824 bytes; 67,108,864 is the limit"):
        load_faces(path)


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no images in it"):
        load_faces(tmp_path)


def test_only_what_is_chosen_is_decoded(write: Write, face_jpeg: Jpeg) -> None:
    """A broken image that nobody asked for is never opened; each chosen one comes with its own pixels."""
    files = {f"train/{name}/{index}.jpg": face_jpeg(name) for name in CLASSES for index in range(4)}
    broken = write({**files, "test/happy/broken.jpg": b"?"})
    with pytest.raises(InputError, match=r"broken\.jpg"):
        load_faces(broken)
    sample = load_faces(broken, lambda faces: faces.split(Split.TRAINING).balanced_sample(10, seed=3))
    assert len(sample) == 10
    assert len(set(sample.names)) == 10
    for image, label, name in zip(sample.images, sample.labels, sample.names, strict=True):
        drawn = cv2.imdecode(np.frombuffer(files[name], dtype=np.uint8), cv2.IMREAD_GRAYSCALE)
        assert (image == drawn).all()
        assert name.startswith(f"train/{CLASSES[label]}/")
