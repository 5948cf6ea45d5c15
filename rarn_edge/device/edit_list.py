"""How many frames of an MP4 or MOV are played: editors that trim one without encoding it anew leave all of them in the file."""

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.limits import MAX_FILE_BYTES

MAX_FRAMES = 10_000_000
_MAX_ATOMS = 10_000  # before the one that describes the tracks


def frames_played(path: Path, frames: int) -> int | None:
    """Of the video track with so many frames, how many its edit list plays at least; None: it has no such list."""
    try:
        movie = _movie(path)
        rate = _ticks_per_s(_atom(movie, b"mvhd"))
        tracks = ((_atom(track, b"mdia"), _atom(track, b"edts", b"elst")) for track in _atoms(movie, b"trak"))
        found = (_played(media, edits, rate, frames) for media, edits in tracks if edits)
        return next((played for played in found if played is not None), None)
    except (OSError, struct.error, ValueError, ArithmeticError):  # another container, or nonsense in this one
        return None


def _played(media: bytes, edits: bytes, movie_ticks_per_s: int, frames: int) -> int | None:
    """None for another track."""
    samples = _atom(media, b"minf", b"stbl")
    counts, ticks = _runs(_atom(samples, b"stts"), "u4")
    if _atom(media, b"hdlr")[8:12] != b"vide" or counts.sum() != frames or frames > MAX_FRAMES:
        return None
    entry = struct.Struct(">qqi" if edits[0] == 1 else ">Iii")
    count = struct.unpack_from(">I", edits, 4)[0]
    parts = [part for part in entry.iter_unpack(edits[8 : 8 + count * entry.size]) if part[1] >= 0]  # else a pause
    if len(parts) != 1:
        return 0  # decoders may lose any number of frames where one part follows another
    length, start, _ = parts[0]
    ticks_per_frame = np.repeat(ticks, counts)
    shown_at = ticks_per_frame.cumsum() - ticks_per_frame
    counts, delays = _runs(_atom(samples, b"ctts"), "i4")
    if counts.sum() == frames:
        shown_at += np.repeat(delays, counts)
    shown_at = shown_at[shown_at >= start] - start
    if length:  # else up to the end; rounded as FFmpeg does
        shown_at = shown_at[shown_at < round(length * _ticks_per_s(_atom(media, b"mdhd")) / movie_ticks_per_s)]
    return len(shown_at)


def _runs(content: bytes, kind: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(counts, values) of a table of runs."""
    table = content[8 : 8 + 8 * struct.unpack_from(">I", content, 4)[0]] if content else b""
    rows = np.frombuffer(table, dtype=f">u4,>{kind}")
    return rows["f0"].astype(np.int64), rows["f1"].astype(np.int64)


def _ticks_per_s(header: bytes) -> int:
    """Of `mvhd` or `mdhd`."""
    return int(struct.unpack_from(">I", header, 20 if header[:1] == b"\1" else 12)[0])


def _atom(content: bytes, *way: bytes) -> bytes:
    """What lies in the first atom of each kind on the way; empty where there is none."""
    for kind in way:
        content = next(_atoms(content, kind), b"")
    return content


def _atoms(content: bytes, wanted: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(content):
        size_bytes, kind = struct.unpack_from(">I4s", content, at)
        if kind == wanted:
            yield content[at + 8 : at + size_bytes]
        at += max(size_bytes, 8)


def _movie(path: Path) -> bytes:
    """What lies in the atom `moov`."""
    with path.open("rb") as file:
        for _ in range(_MAX_ATOMS):
            size_bytes, kind = struct.unpack(">I4s", file.read(8))
            if size_bytes == 1:  # it is long: the size follows
                size_bytes = struct.unpack(">Q", file.read(8))[0] - 8
            if kind == b"moov":
                return file.read(min(max(size_bytes - 8, 0), MAX_FILE_BYTES))
            file.seek(max(size_bytes - 8, 0), 1)
    return b""
