"""Image files in class folders, loose or zipped (`train/happy/x.jpg`, `happy/x.jpg`), or in a CSV `file,label[,split]`."""

import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePath, PurePosixPath

import numpy as np

from rarn_edge.boundary.limits import MAX_FILE_BYTES
from rarn_edge.boundary.paths import read_bytes, shown, why
from rarn_edge.boundary.walk import is_hidden_name, walk
from rarn_edge.data.csv_file import rows_of
from rarn_edge.data.faces import SPLIT_NAMES, UNLABELLED, Faces, Split, classes_of
from rarn_edge.data.stream import Reader
from rarn_edge.errors import InputError, first_line

SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff")
UNREAD_SUFFIXES = (".heic", ".heif", ".avif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw")
"""Of pictures that cannot be decoded here: they count as images, so that each is reported and none is passed over."""
IMAGE_SUFFIXES = (*SUFFIXES, *UNREAD_SUFFIXES)
# of folders: classes may be called by the other names
_FOLDER_SPLITS = {name: split for name, split in SPLIT_NAMES.items() if name not in ("all", "public", "private")}
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


def read_folder(root: Path) -> Faces:
    """Every image below `root`, also behind links to folders, not decoded yet.

    Raises:
        InputError: no images, a class folder without any or behind a link that leads nowhere, two classes that differ by case, or
            a folder that cannot be read.
    """
    try:
        entries = [PurePosixPath(PurePath(name).as_posix()) for name in walk(str(root))]
    except OSError as error:
        raise InputError(f"{shown(error.filename or root)}: cannot be read ({why(error)})") from error
    files = sorted(entry for entry in entries if is_image(entry))
    found = _from_paths(files, str(root), lambda name: read_bytes(root / name, MAX_FILE_BYTES))
    labelled = (name for name, label in zip(found.names, found.labels.tolist(), strict=True) if label != UNLABELLED)
    beside = {PurePosixPath(name).parent.parent for name in labelled}
    holding = {parent for file in files for parent in file.parents}
    for path in sorted(path for folder in beside for path in (root / folder).iterdir()):
        entry = PurePosixPath(path.relative_to(root).as_posix())
        hidden = is_hidden_name(path.name) or path.name.startswith("__")
        if not hidden and path.is_symlink() and not path.exists():
            raise InputError(
                f"{root}: '{entry}' beside the class folders is a link that leads nowhere; mend or remove it"
            )
        if entry not in holding and not hidden and path.is_dir():
            raise InputError(
                f"{root}: the class folder '{entry}' holds no images ({' '.join(SUFFIXES)}); fill or remove it"
            )
    return found


def read_zip(path: Path) -> Faces:
    """Every image in a zip, not decoded yet; nothing is unpacked to disk.

    Raises:
        InputError: not a zip or a damaged one, no images, or two classes that differ by case.
    """
    try:
        archive = zipfile.ZipFile(path)  # it stays open for as long as its images may be asked for
        infos: dict[PurePosixPath, zipfile.ZipInfo] = {}
        for info in archive.infolist():
            if not info.is_dir() and infos.setdefault(PurePosixPath(info.filename), info) is not info:
                raise InputError(f"{path}: holds {info.filename} twice, and only one of the two could be read")
        files = sorted(file for file in infos if is_image(file))
        for file in files:
            size = infos[file].file_size
            if size > MAX_FILE_BYTES:
                raise InputError(f"{path}: {file} is {size:,} bytes; {MAX_FILE_BYTES:,} is the limit")
    except _ZIP_ERRORS as error:
        raise _damaged(path, error) from error

    def read(name: str) -> bytes:
        try:
            return archive.read(infos[PurePosixPath(name)])
        except _ZIP_ERRORS as error:
            raise _damaged(path, error) from error

    return _from_paths(files, str(path), read)


def read_listing(path: Path) -> Faces:
    """The images that a CSV names in its column `file`, relative to it, with `label` and perhaps `split`; not decoded yet.

    Raises:
        InputError: a missing column or file, an unknown split, a row of another length (line named).
    """
    files: list[str] = []
    labels: list[str] = []
    splits: list[Split] = []
    for line, row in rows_of(path):
        files.append(row["file"].strip())
        labels.append(row.get("label", "").strip())
        try:
            splits.append(Split.parse(row["split"]) if "split" in row else Split.UNSPLIT)
        except InputError as error:
            raise InputError(f"{path}, line {line}: {error}") from error
    missing = [name for name in files if not (path.parent / name).is_file()]
    if missing:
        raise InputError(
            f"{path}: {len(missing):,} of {len(files):,} files are not there, '{missing[0]}' among them;"
            f" names are relative to {path.parent}"
        )
    return _undecoded(files, labels, splits, str(path), lambda name: read_bytes(path.parent / name, MAX_FILE_BYTES))


def is_image(path: PurePosixPath) -> bool:
    """By its name, which is relative to the data; what is hidden is none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not is_hidden(path)


def is_hidden(path: PurePath) -> bool:
    """A hidden file or one in a hidden folder: `._x.jpg`, which macOS leaves beside each file, or what lies in
    `.ipynb_checkpoints`."""
    return any(is_hidden_name(part) for part in path.parts if part != "..")


def _damaged(path: Path, error: BaseException) -> InputError:
    return InputError(f"{path}: cannot be read as a zip of images ({first_line(error)})")


def _from_paths(paths: list[PurePosixPath], source: str, reader: Reader) -> Faces:
    if not paths:
        raise InputError(
            f"{source}: no images in it ({' '.join(SUFFIXES)}); expected folders such as train/happy/x.jpg"
        )
    # a folder in a split is a class, also one called `test`, where classes lie beside it; `test/test/1.png` has none
    with_classes = {
        path.parent.parent for path in paths if _is_split(path.parent.parent) and not _is_split(path.parent)
    }
    labels = [_class_folder(path, with_classes) or "" for path in paths]
    splits = [_split_of(path, with_classes) for path in paths]
    outside = [path for path, split in zip(paths, splits, strict=True) if split is Split.UNSPLIT]
    if 0 < len(outside) < len(paths):
        raise InputError(
            f"{source}: {len(outside):,} of {len(paths):,} images are in no split, '{outside[0]}' among them;"
            " the folders of splits are called train, val and test"
        )
    return _undecoded([str(path) for path in paths], labels, splits, source, reader)


def _undecoded(
    names: Sequence[str], labels: Sequence[str], splits: Sequence[Split], source: str, reader: Reader
) -> Faces:
    """A set of files with the class that each is labelled with, or "" for none."""
    classes, index_of = classes_of(sorted({label for label in labels if label}), source)
    return Faces(
        np.empty((len(names), 0, 0), dtype=np.uint8),
        np.array([index_of[label] if label else UNLABELLED for label in labels], dtype=np.int64),
        np.array([split.value for split in splits]),
        tuple(names),
        source,
        classes,
        reader=reader,
    )


def _class_folder(path: PurePosixPath, with_classes: set[PurePosixPath]) -> str | None:
    """The folder an image is in, unless that is a split's."""
    return path.parent.name if not _is_split(path.parent) or path.parent.parent in with_classes else None


def _split_of(path: PurePosixPath, with_classes: set[PurePosixPath]) -> Split:
    """By file-name prefix where it tells (the Kaggle copy merges both test splits in one folder), else by folder."""
    prefix = path.name.split("_")[0]
    if "_" in path.name and prefix in (Split.TRAINING, Split.PUBLIC_TEST, Split.PRIVATE_TEST):
        return Split(prefix)
    folders = path.parts[:-1]
    if path.parent.parent in with_classes:
        folders = folders[:-1]  # the last one is a class
    named = (_FOLDER_SPLITS.get(name.lower()) for name in reversed(folders))
    return next((split for split in named if split is not None), Split.UNSPLIT)


def _is_split(folder: PurePosixPath) -> bool:
    return folder.name.lower() in _FOLDER_SPLITS
