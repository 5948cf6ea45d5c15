"""Image files in class folders, loose or in a zip: `train/happy/x.jpg`, `test/sad/y.png`, or just `happy/x.jpg`."""

import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from rarn_edge.boundary.limits import MAX_FILE_BYTES
from rarn_edge.boundary.paths import read_bytes
from rarn_edge.contract.preprocess import decode_gray, resize
from rarn_edge.data.faces import UNLABELLED, Choose, Faces, Split, class_index
from rarn_edge.errors import InputError, first_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
_FOLDER_SPLITS = {
    "train": Split.TRAINING,
    "training": Split.TRAINING,
    "test": Split.TEST,
    "val": Split.TEST,
    "validation": Split.TEST,
    "publictest": Split.PUBLIC_TEST,
    "privatetest": Split.PRIVATE_TEST,
}
# RuntimeError: an encrypted entry; OSError, ValueError, struct.error: nonsense in the directory
_ZIP_ERRORS = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    struct.error,
)


@dataclass(frozen=True)
class _Entry:
    """One image to read: its path inside the set, its label and split."""

    path: PurePosixPath
    label: int
    split: Split


def read_folder(root: Path, side_px: int, choose: Choose | None = None) -> Faces:
    """Read every image below `root`, or the chosen ones; images come out as [N, side_px, side_px].

    Raises:
        InputError: no images, a folder name that is no class, or an image that cannot be decoded (file named).
    """
    relative = {path: PurePosixPath(path.relative_to(root).as_posix()) for path in root.rglob("*")}
    files = sorted(entry for path, entry in relative.items() if is_image(entry) and not path.is_dir())
    entries = _entries(files, str(root))
    return _read(entries, lambda path: read_bytes(root / path, MAX_FILE_BYTES), str(root), side_px, choose)


def read_zip(path: Path, side_px: int, choose: Choose | None = None) -> Faces:
    """Read every image in a zip, or the chosen ones; nothing is unpacked to disk.

    Raises:
        InputError: not a zip or a damaged one, no images, an unknown class folder, or a broken image (entry named).
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos: dict[PurePosixPath, zipfile.ZipInfo] = {}
            for info in archive.infolist():
                if not info.is_dir() and infos.setdefault(PurePosixPath(info.filename), info) is not info:
                    raise InputError(f"{path}: holds {info.filename} twice, and only one of the two could be read")
            files = sorted(file for file in infos if is_image(file))
            for file in files:
                size = infos[file].file_size
                if size > MAX_FILE_BYTES:
                    raise InputError(f"{path}: {file} is {size:,} bytes; {MAX_FILE_BYTES:,} is the limit")
            entries = _entries(files, str(path))
            return _read(entries, lambda file: archive.read(infos[file]), str(path), side_px, choose)
    except _ZIP_ERRORS as error:
        raise InputError(f"{path}: cannot be read as a zip of images ({first_line(error)})") from error


def is_image(path: PurePosixPath) -> bool:
    """By its name; hidden files are not, nor the `._x.jpg` that macOS leaves beside each one."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _entries(paths: list[PurePosixPath], source: str) -> list[_Entry]:
    if not paths:
        raise InputError(
            f"{source}: no images in it ({' '.join(SUFFIXES)}); expected folders such as train/happy/x.jpg"
        )
    entries = []
    for path in paths:
        folder = path.parent.name
        label = class_index(folder)
        if label is None and folder.lower() not in _FOLDER_SPLITS and folder:
            raise InputError(
                f"{source}: folder '{folder}' (of {path.name}) is no expression;"
                " expected angry, disgust, fear, happy, neutral, sad, surprise"
            )
        entries.append(_Entry(path, UNLABELLED if label is None else label, _split_of(path)))
    return entries


def _split_of(path: PurePosixPath) -> Split:
    """By file-name prefix where it tells (the Kaggle copy merges both test splits in one folder), else by folder."""
    prefix = path.name.split("_")[0]
    if "_" in path.name and prefix in (Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST):
        return Split(prefix)
    for folder in reversed(path.parts[:-1]):
        if folder.lower() in _FOLDER_SPLITS:
            return _FOLDER_SPLITS[folder.lower()]
    return Split.UNSPLIT


def _read(
    entries: list[_Entry],
    content_of: Callable[[PurePosixPath], bytes],
    source: str,
    side_px: int,
    choose: Choose | None,
) -> Faces:
    found = Faces(
        np.empty((len(entries), 0, 0), dtype=np.uint8),
        np.array([entry.label for entry in entries], dtype=np.int64),
        np.array([entry.split.value for entry in entries]),
        tuple(str(entry.path) for entry in entries),
        source,
    )
    chosen = found if choose is None else choose(found)
    images = np.empty((len(chosen), side_px, side_px), dtype=np.uint8)
    for index, name in enumerate(chosen.names):
        images[index] = resize(decode_gray(content_of(PurePosixPath(name)), f"{source}: {name}"), side_px, side_px)
    return replace(chosen, images=images)
