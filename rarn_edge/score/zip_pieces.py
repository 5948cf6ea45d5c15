"""A zip in pieces that take the memory of their own entries: `zipfile` holds the directory of the whole file, 600 bytes an entry.

The directory lies at the end of the file, one record an entry. A piece is a run of these records; `open_piece` shows `zipfile`
a file that ends with them, so that all its checks and methods of compression hold for a piece too.
"""

import io
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from rarn_edge.boundary.names import printable
from rarn_edge.data.images import is_image
from rarn_edge.errors import first_line

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# The end of the directory: signature, disks and entries, bytes of the directory, its first byte, bytes of the comment. The second
# lies before it where there are more than 4 GB or 65,535 entries, and is found through the third, which lies between them.
_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_RECORD = struct.Struct(
    "<4s4xH18x3H12x"
)  # signature, flags, bytes of the name, of extra fields and of the comment after it
_UTF8 = 0x800
_LONGEST_COMMENT = 0xFFFF
_BUFFER_BYTES = 1 << 17


def cut_zip(path: Path, images: int) -> Iterator[tuple[int, int]]:
    """Pieces of at most `images` images, in the zip's own order: first byte of the records, first byte after them.

    Raises:
        zipfile.BadZipFile: not a zip, or a damaged one.
    """
    with path.open("rb", _BUFFER_BYTES) as file:
        first, stop, _ = _directory(file)
        file.seek(first)
        found, at, before = 0, first, ""
        while at < stop:
            if found == images:
                yield first, at
                found, first = 0, at
            try:
                name, size_bytes = _record(file)
            except (zipfile.BadZipFile, UnicodeDecodeError) as error:
                where = f"after {printable(before)}" if before else "at its start"
                raise zipfile.BadZipFile(f"its directory is damaged {where}: {first_line(error)}") from error
            before = name
            found += _is_image(name)
            at += size_bytes
        if found:
            yield first, stop


@contextmanager
def open_piece(path: Path, first: int, stop: int) -> Iterator[tuple[zipfile.ZipFile, list[zipfile.ZipInfo]]]:
    """The zip with the records from byte `first` to `stop` as its directory, and the images among them.

    Nothing is ever unpacked to disk, so a name such as `../x.jpg` is only a name.
    """
    with path.open("rb", 0) as file:
        _, _, shift = _directory(file)
        view = io.BufferedReader(_Piece(file, first, stop, shift), _BUFFER_BYTES)
        with view, zipfile.ZipFile(view) as archive:
            yield archive, [info for info in archive.infolist() if _is_image(info.filename)]


def _is_image(name: str) -> bool:
    return not name.endswith("/") and is_image(PurePosixPath(name))


def _directory(file: BinaryIO) -> tuple[int, int, int]:
    """(first byte of the directory, first byte after it, bytes before the zip itself: the program of one that unpacks itself)."""
    size_bytes = file.seek(0, io.SEEK_END)
    tail_start = max(0, size_bytes - _END.size - _LONGEST_COMMENT - _LOCATOR64.size - _END64.size)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6", 0, len(tail) - _END.size + 4)
    if at < 0:
        raise zipfile.BadZipFile("File is not a zip file")
    *_, length, offset, _ = _END.unpack_from(tail, at)
    if at >= _LOCATOR64.size + _END64.size and tail.startswith(b"PK\6\7", at - _LOCATOR64.size):
        at -= _LOCATOR64.size + _END64.size
        signature, *_, length, offset = _END64.unpack_from(tail, at)
        if signature != b"PK\6\6":
            raise zipfile.BadZipFile("its end record for large files is not where it should be")
    stop = tail_start + at
    shift = stop - length - offset
    if shift < 0:
        raise zipfile.BadZipFile("its directory is cut short")
    return stop - length, stop, shift


def _record(file: BinaryIO) -> tuple[str, int]:
    """The name in the record at the file's position, and the record's bytes; the position is then the next one's."""
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size or not head.startswith(b"PK\1\2"):
        raise zipfile.BadZipFile("no entry is where one should be")
    _, flags, name_bytes, *others = _RECORD.unpack(head)
    name = file.read(name_bytes)
    file.seek(sum(others), io.SEEK_CUR)
    decoded = name.decode("utf-8" if flags & _UTF8 else "cp437")
    return decoded, _RECORD.size + name_bytes + sum(others)


class _Piece(io.RawIOBase):
    """A file up to byte `stop`, then an end record that names the bytes from `first` as the directory."""

    def __init__(self, file: BinaryIO, first: int, stop: int, shift: int) -> None:
        self._file = file
        self._stop = stop
        self._at = 0
        end64 = _END64.pack(b"PK\6\6", _END64.size - 12, 45, 45, 0, 0, 0, 0, stop - first, first - shift)
        locator = _LOCATOR64.pack(b"PK\6\7", 0, stop - shift, 1)
        self._end = end64 + locator + _END.pack(b"PK\5\6", *[0xFFFF] * 4, *[0xFFFFFFFF] * 2, 0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._stop + len(self._end)}[whence]
        if base + offset < 0:
            raise OSError("negative position")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        place = memoryview(buffer).cast("B")
        if self._at >= self._stop:
            content = self._end[self._at - self._stop :][: len(place)]
        else:
            self._file.seek(self._at)
            content = self._file.read(min(len(place), self._stop - self._at))
        place[: len(content)] = content
        self._at += len(content)
        return len(content)
