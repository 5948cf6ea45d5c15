"""Writing files so that a killed process or a full disk never leaves half a file in place of a whole one."""

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

from rarn_edge.boundary.paths import exists, shown
from rarn_edge.errors import InputError

MAX_OUTPUT_NAME_BYTES = 200
"""Of 255 that file systems take: `OUT.parts` and a file in progress have longer names."""


def check_outputs(
    outputs: Iterable[Path | None], inputs: Iterable[Path | str | None] = (), walked: Iterable[Path | str | None] = ()
) -> None:
    """Refuse, before any work is done, outputs that would overwrite an input or one another, or cannot be written.

    Args:
        outputs: The files to be written; None stands for an option that was not given.
        inputs: What is read: files and folders. What is not on disk (a model's name, `-`, a camera) can be overwritten by nobody.
        walked: Folders that are searched for inputs: an output in one of them would be read as an input.

    Raises:
        InputError: which two are the same, links resolved; or as `check_output`.
    """
    named = [path for path in outputs if path is not None]
    for one in {path.parent: path for path in named}.values():  # a folder is tried once, however many files go there
        check_output(one)
    for path in named:
        _refuse_unfit(path)
    check_apart(named, inputs, walked)


def check_apart(
    outputs: Iterable[Path | None], inputs: Iterable[Path | str | None] = (), walked: Iterable[Path | str | None] = ()
) -> None:
    """The part of `check_outputs` that asks nothing of the output's folder, which may not exist yet.

    Raises:
        InputError: which two are the same, links resolved.
    """
    named = [path for path in outputs if path is not None]
    taken: dict[object, Path] = {}
    for path in named:
        keys = _identities(path)
        if keys & taken.keys():
            raise InputError(f"{shown(path)}: is named for two outputs; give each a path of its own")
        taken |= dict.fromkeys(keys, path)
    for source in inputs:
        if source is not None and (found := next((taken[k] for k in _identities(Path(source)) if k in taken), None)):
            raise InputError(f"{shown(found)}: is read by this command, so it cannot be its output; name another file")
    for source in walked:
        if source is None or not _is_folder(Path(source)):
            continue
        whole = Path(os.path.realpath(source))
        for path in named:
            if whole in Path(os.path.realpath(path)).parents:
                raise InputError(
                    f"{shown(path)}: lies in {shown(source)}, which is read as input; name a file elsewhere"
                )


def _identities(path: Path) -> set[object]:
    """What two names of one file have in common: its real path and, where it exists, its place on the disk."""
    try:
        real = os.path.normcase(os.path.realpath(path))
        status = path.stat()
    except ValueError:  # a zero byte: no file has that name
        return {str(path)}
    except OSError:
        return {real}
    return {real, (status.st_dev, status.st_ino)}


def check_output(path: Path) -> None:
    """Refuse an output path that cannot be written, before any work is done.

    Raises:
        InputError: the folder is missing or not writable, the path is a folder, or no name that a file system takes.
    """
    folder = path.parent
    if not exists(folder) or not _is_folder(folder):
        raise InputError(
            f"{shown(path)}: the folder {shown(folder)} does not exist; make it first: mkdir -p {quote(shown(folder))}"
        )
    _refuse_unfit(path)
    probe = folder / f".{secrets.token_hex(8)}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot write in {shown(folder)} ({error.strerror})") from error


def _refuse_unfit(path: Path) -> None:
    """What asks nothing of the folder: whether the path is that of a file, with a name that fits."""
    if len(os.fsencode(path.name)) > MAX_OUTPUT_NAME_BYTES:
        raise InputError(f"{shown(path)}: a name of more than {MAX_OUTPUT_NAME_BYTES} bytes; give a shorter one")
    if exists(path) and not path.is_file():
        what = "is a folder; name a file in it" if path.is_dir() else "is there and no regular file; name another"
        raise InputError(f"{shown(path)}: {what}")


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and removed on any failure."""
    check_output(path)
    suffix = path.suffix if len(path.suffix) <= 20 else ""
    temporary = path.with_name(f".{path.stem[:16]}.{os.getpid()}-{secrets.token_hex(4)}.part{suffix}")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")  # bytes in names that are not UTF-8


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
