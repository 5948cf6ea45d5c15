"""The image files of one unit as bytes, one after the other; a Parquet file stays open for the next unit of this process."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rarn_edge.boundary.limits import MAX_FILE_BYTES
from rarn_edge.boundary.paths import read_bytes, shown
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
        with _readable(unit), open_piece(Path(where), unit.start, unit.stop) as (archive, entries):
            for entry in entries:
                yield f"{unit.path}/{entry.filename}", _entry(archive, entry)
    elif unit.kind == "tar":
        with _readable(unit), Path(where).open("rb") as file:
            for name, (offset, size_bytes) in zip(unit.names, unit.offsets, strict=True):
                yield f"{unit.path}/{name}", _slice(file, offset, size_bytes)
    else:
        first = unit.start
        for content in _parquet(where, unit, column):
            yield f"{unit.path}#{unit.row_group}:{first}", content
            first += 1


@contextmanager
def _readable(unit: Unit) -> Iterator[None]:
    """A shard that was readable when the work was planned and is not now."""
    try:
        yield
    except InputError:
        raise
    except (*_ENTRY_ERRORS, ValueError) as error:
        raise InputError(f"{unit.path}: cannot be read as {unit.kind} ({first_line(error)})") from error


def _file(path: Path) -> Content:
    try:
        return read_bytes(path, MAX_FILE_BYTES) or InputError("the file is empty")
    except InputError as error:
        return InputError(str(error).removeprefix(f"{shown(path)}: "))


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Content:
    if entry.file_size > MAX_FILE_BYTES:
        return InputError(f"{entry.file_size:,} bytes; {MAX_FILE_BYTES:,} is the limit")
    try:
        return archive.read(entry) or InputError("the entry is empty")
    except _ENTRY_ERRORS as error:
        return InputError(f"cannot be unpacked ({first_line(error)})")


def _slice(file: BinaryIO, offset: int, size_bytes: int) -> Content:
    if not 0 <= size_bytes <= MAX_FILE_BYTES or offset < 0:
        return InputError(f"{size_bytes:,} bytes; {MAX_FILE_BYTES:,} is the limit")
    file.seek(offset)
    content = file.read(size_bytes)
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
        with _readable(unit):
            file = parquet.ParquetFile(where, buffer_size=1 << 20, pre_buffer=False)  # flat memory for any row group
        _rows[:] = [
            _Rows(key, file.iter_batches(256, row_groups=[unit.row_group], columns=[column], use_threads=False))
        ]
    yield from _unit_rows(_rows[0], unit)


def _unit_rows(rows: _Rows, unit: Unit) -> Iterator[Content]:
    """Content of each row of the unit; where the file is damaged, the rest of its rows say so and the job goes on."""
    while rows.at < unit.stop:
        try:
            if rows.rest is None or len(rows.rest) == 0:
                rows.rest = next(rows.batches).column(0)
            if rows.at < unit.start:
                passed = min(len(rows.rest), unit.start - rows.at)
                rows.rest, rows.at = rows.rest.slice(passed), rows.at + passed
                continue
            taken = min(len(rows.rest), unit.stop - rows.at)
            values = rows.rest.slice(0, taken).to_pylist()
        except StopIteration:
            values, taken = None, 0
            reason = "the row group has fewer rows than its file says"
        except Exception as error:  # pyarrow raises OSError, ValueError and kinds of its own for damaged pages
            values, taken = None, 0
            reason = f"cannot be read from the Parquet file ({first_line(error)})"
        if values is None:
            _rows.clear()
            for _ in range(max(rows.at, unit.start), unit.stop):
                yield InputError(reason)
            return
        rows.rest, rows.at = rows.rest.slice(taken), rows.at + taken
        for value in values:
            content = value.get("bytes") if isinstance(value, dict) else value
            yield content or InputError("no bytes in this row")
