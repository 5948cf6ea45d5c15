"""The image files of one unit as bytes, one after the other; a Parquet file stays open for the next unit of this process."""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rarn_edge.boundary.limits import MAX_FILE_BYTES
from rarn_edge.errors import InputError, first_line, require_extra
from rarn_edge.score.units import Unit
from rarn_edge.score.zip_pieces import open_piece

Content = bytes | InputError
_ENTRY_ERRORS = (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error)


def read_unit(unit: Unit, column: str, base: Path) -> Iterator[tuple[str, Content]]:
    """(name, bytes or why there are none) of each image; names are as the user gave them, relative ones lie in `base`."""
    where = str(base / unit.path)
    if unit.kind == "files":
        for name in unit.names:
            yield str(Path(unit.path, name)), _file(Path(where, name))
    elif unit.kind == "zip":
        with open_piece(Path(where), unit.start, unit.stop) as (archive, entries):
            for entry in entries:
                yield f"{unit.path}/{entry.filename}", _entry(archive, entry)
    elif unit.kind == "tar":
        with Path(where).open("rb") as file:
            for name, (offset, size_bytes) in zip(unit.names, unit.offsets, strict=True):
                yield f"{unit.path}/{name}", _slice(file.fileno(), offset, size_bytes)
    else:
        first = unit.start
        for content in _parquet(where, unit, column):
            yield f"{unit.path}#{unit.row_group}:{first}", content
            first += 1


def _file(path: Path) -> Content:
    try:
        return path.read_bytes() or InputError("the file is empty")
    except OSError as error:
        return InputError(f"cannot be read ({error.strerror})")


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Content:
    if entry.file_size > MAX_FILE_BYTES:
        return InputError(f"{entry.file_size:,} bytes; {MAX_FILE_BYTES:,} is the limit")
    try:
        return archive.read(entry) or InputError("the entry is empty")
    except _ENTRY_ERRORS as error:
        return InputError(f"cannot be unpacked ({first_line(error)})")


def _slice(file: int, offset: int, size_bytes: int) -> Content:
    if size_bytes > MAX_FILE_BYTES:
        return InputError(f"{size_bytes:,} bytes; {MAX_FILE_BYTES:,} is the limit")
    content = os.pread(file, size_bytes, offset)
    return content if len(content) == size_bytes > 0 else InputError("the tar ends before this entry does")


@dataclass
class _Rows:
    """A Parquet row group being read from its start: units come in order, so a process passes over each row once."""

    key: tuple[str, int, int, str]
    batches: Iterator[Any]
    at: int = 0  # rows passed
    rest: Any = None  # what is left of the current batch


_rows: list[_Rows] = []  # at most one, of this process


def _parquet(where: str, unit: Unit, column: str) -> Iterator[Content]:
    key = (where, unit.shard_mtime_ns, unit.row_group, column)
    if not _rows or _rows[0].key != key or _rows[0].at > unit.start:
        parquet = require_extra("pyarrow.parquet", "score")
        file = parquet.ParquetFile(where, buffer_size=1 << 20, pre_buffer=False)  # flat memory for any row group
        _rows[:] = [
            _Rows(key, file.iter_batches(256, row_groups=[unit.row_group], columns=[column], use_threads=False))
        ]
    rows = _rows[0]
    while rows.at < unit.stop:
        if rows.rest is None or len(rows.rest) == 0:
            rows.rest = next(rows.batches).column(0)
        if rows.at < unit.start:
            passed = min(len(rows.rest), unit.start - rows.at)
            rows.rest, rows.at = rows.rest.slice(passed), rows.at + passed
            continue
        taken = min(len(rows.rest), unit.stop - rows.at)
        part, rows.rest = rows.rest.slice(0, taken), rows.rest.slice(taken)
        rows.at += taken
        for value in part.to_pylist():
            content = value.get("bytes") if isinstance(value, dict) else value
            yield content or InputError("no bytes in this row")
