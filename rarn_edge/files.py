"""Writing files so that a killed process or a full disk never leaves half a file in place of a whole one."""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rarn_edge.errors import InputError


def check_output(path: Path) -> None:
    """Refuse an output path that cannot be written, before any work is done.

    Raises:
        InputError: the folder is missing or not writable, or the path is a folder.
    """
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path}: the folder {folder} does not exist; make it first: mkdir -p {folder}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    probe = folder / f".{path.name}.{secrets.token_hex(4)}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{path}: cannot write in {folder} ({error.strerror})") from error


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and removed on any failure."""
    check_output(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}-{secrets.token_hex(4)}.part{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_files(folder: Path, files: Mapping[str, bytes]) -> tuple[Path, ...]:
    """Write files by name into a folder, which is made if needed, each atomically; their paths.

    Raises:
        InputError: the folder cannot be made, or a file cannot be written.
    """
    make_folder(folder)
    for name, content in files.items():
        with atomic(folder / name) as temporary:
            temporary.write_bytes(content)
    return tuple(folder / name for name in files)


def make_folder(path: Path) -> Path:
    """Create `path` and its parents if needed.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: cannot make this folder ({error.strerror})") from error
    return path


def file_sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
