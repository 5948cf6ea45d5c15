"""The work in pieces: which images of which folder, archive or table make one part of the result, in a fixed order."""

import hashlib
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal

from rarn_edge.boundary.names import printable
from rarn_edge.boundary.paths import require_file, require_source
from rarn_edge.boundary.walk import walk
from rarn_edge.data.images import IMAGE_SUFFIXES, SUFFIXES, is_image
from rarn_edge.errors import InputError, first_line, require_extra
from rarn_edge.score.zip_pieces import cut_zip

Kind = Literal["files", "zip", "tar", "parquet"]
SHARD_SUFFIXES: dict[str, Kind] = {".zip": "zip", ".tar": "tar", ".parquet": "parquet"}
MAX_GROUP_ROWS = 10**9
COMPRESSED_TARS = (".tgz", ".gz", ".bz2", ".xz", ".zst")


@dataclass(frozen=True)
class Unit:
    """One piece: image files or a tar's members by name, some rows of a Parquet row group, or of a zip's directory."""

    number: int
    kind: Kind
    path: str  # the folder, or the shard
    names: tuple[str, ...] = ()  # files and tar members
    offsets: tuple[tuple[int, int], ...] = ()  # of tar members: (first byte, bytes)
    start: int = 0  # rows of the row group, bytes of a zip's file
    stop: int = 0
    row_group: int = 0
    shard_size_bytes: int = 0  # a shard that changed makes another unit
    shard_mtime_ns: int = 0
    files_sha256: str = ""  # of the sizes and times of files: likewise

    @property
    def digest(self) -> str:
        """Ten hex digits that change when the piece holds something else."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:10]


def plan(inputs: list[str], rows: int, column: str) -> Iterator[Unit]:
    """The units of all inputs, at most `rows` images each, numbered from 0.

    Raises:
        InputError: an input that is absent, empty, of an unknown kind, or damaged; or a Parquet file without `column`.
    """
    number = 0
    for text in inputs:
        before = number
        for unit in _units(Path(text), rows, column):
            yield replace(unit, number=number)
            number += 1
        if number == before:
            raise InputError(f"{text}: no images in it ({' '.join(SUFFIXES)}), nor shards ({' '.join(SHARD_SUFFIXES)})")


def _units(path: Path, rows: int, column: str) -> Iterator[Unit]:
    if stat.S_ISDIR(require_source(path).st_mode):
        yield from _folder(path, rows, column)
    elif path.suffix.lower() in SHARD_SUFFIXES:
        yield from _shard(path, rows, column)
    elif path.suffix.lower() in IMAGE_SUFFIXES:
        yield Unit(0, "files", str(path.parent), (path.name,), files_sha256=_stamps(path.parent, (path.name,)))
    elif path.suffix.lower() in COMPRESSED_TARS:
        raise InputError(f"{path}: a compressed tar can only be read from its start; give a plain .tar or a .zip")
    else:
        raise InputError(f"{path}: unknown kind '{path.suffix}'; a folder, {', '.join(SHARD_SUFFIXES)} or an image")


def _stamps(folder: Path, names: tuple[str, ...]) -> str:
    """Changes when one of the files does, by its size or the time of its last change."""
    found = hashlib.sha256()
    for name in names:
        try:
            status = os.stat(folder / name)  # noqa: PTH116  # a million Paths take seconds
        except OSError:  # a dead link: that it cannot be read is said where it is read
            found.update(b"none|")
            continue
        found.update(f"{status.st_size},{status.st_mtime_ns}|".encode())
    return found.hexdigest()


def _folder(root: Path, rows: int, column: str) -> Iterator[Unit]:
    """Images below a folder in sorted order, in pieces; shards in it are units of their own, after the images."""
    shards: list[Path] = []

    def images() -> Iterator[str]:
        for path in walk(str(root)):
            suffix = PurePosixPath(path).suffix.lower()
            if suffix in IMAGE_SUFFIXES:
                yield path
            elif suffix in SHARD_SUFFIXES:
                shards.append(root / path)

    found = images()
    try:
        while names := tuple(islice(found, rows)):
            yield Unit(0, "files", str(root), names, files_sha256=_stamps(root, names))
    except OSError as error:
        raise InputError(f"{error.filename or root}: cannot be read ({error.strerror})") from error
    for shard in sorted(shards):
        yield from _shard(shard, rows, column)


def _shard(path: Path, rows: int, column: str) -> Iterator[Unit]:
    try:
        status = require_file(path)
        kind = SHARD_SUFFIXES[path.suffix.lower()]
        shard = Unit(0, kind, str(path), shard_size_bytes=status.st_size, shard_mtime_ns=status.st_mtime_ns)
        if kind == "zip":
            for start, stop in cut_zip(path, rows):
                yield replace(shard, start=start, stop=stop)
        elif kind == "tar":
            members = _tar_members(path)
            while part := tuple(islice(members, rows)):
                yield replace(shard, names=tuple(name for name, _ in part), offsets=tuple(place for _, place in part))
        else:
            for group, count in enumerate(_parquet_groups(path, column)):
                for start in range(0, count, rows):
                    yield replace(shard, row_group=group, start=start, stop=min(start + rows, count))
    except InputError:
        raise
    except (
        Exception
    ) as error:  # pyarrow's, zipfile's and tarfile's errors share no base class; the cause is kept and named
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({first_line(error)})") from error


def _tar_members(path: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    before = ""
    with tarfile.open(path, "r:") as archive:
        while (member := _next_member(archive, before)) is not None:
            before = member.name
            if member.isfile() and is_image(PurePosixPath(member.name)):
                if member.size < 0:
                    raise tarfile.TarError(f"entry {printable(member.name)} claims {member.size} bytes")
                yield member.name, (member.offset_data, member.size)
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep a million of them


def _next_member(archive: tarfile.TarFile, before: str) -> tarfile.TarInfo | None:
    """`archive.next`, which takes a damaged header for the end of the archive: here it is an error."""
    try:
        member = archive.next()
        if member is None and archive.fileobj is not None:
            archive.fileobj.seek(archive.offset)
            if any(archive.fileobj.read(tarfile.BLOCKSIZE)):
                raise tarfile.HeaderError("no entry is where one should be")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise tarfile.TarError(f"after entry {printable(before) or '(none)'}: {first_line(error)}") from error
    return member


def _parquet_groups(path: Path, column: str) -> list[int]:
    """Rows of each row group, once the column is known to hold bytes."""
    pyarrow = require_extra("pyarrow", "score")
    parquet = require_extra("pyarrow.parquet", "score")
    with parquet.ParquetFile(path) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise InputError(f"{path}: no column '{column}'; it has {', '.join(schema.names)} (choose with --column)")
        kind = schema.field(column).type
        if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
            kind = kind.field("bytes").type
        if not (pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind)):
            raise InputError(f"{path}: column '{column}' holds {kind}; expected image files as bytes")
        counts = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        for group, count in enumerate(counts):
            if not 0 <= count <= MAX_GROUP_ROWS:
                raise InputError(f"{path}: row group {group} claims {count:,} rows; {MAX_GROUP_ROWS:,} is the limit")
        return counts
