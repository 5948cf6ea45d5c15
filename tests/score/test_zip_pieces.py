"""Pieces of a zip: together they are what `zipfile` finds in the whole, and none takes the memory of the whole."""

import gc
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from rarn_edge.errors import InputError
from rarn_edge.score.units import plan
from rarn_edge.score.zip_pieces import cut_zip, open_piece

CONTENTS = {
    "readme.txt": b"no image",
    "a/": b"",
    "a/folder.png/": b"",
    **{f"a/{index}.png": bytes([index]) * (1 + 50 * index) for index in range(23)},
    "a/lächeln.jpg": b"a name in UTF-8",
    "__MACOSX/._1.png": b"no image either",
}


def write(path: Path, compression: int = zipfile.ZIP_STORED, comment: bytes = b"") -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.comment = comment
        for index, (name, content) in enumerate(CONTENTS.items()):
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            info.comment = b"of an entry" * (index % 3)
            archive.writestr(info, content)


def with_prefix(path: Path) -> None:
    write(path)
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())


def in_zip64(path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 3)  # what 65,535 entries do to a zip, done by four
        write(path)
    assert b"PK\6\6" in path.read_bytes()


def in_zip64_with_prefix(path: Path) -> None:
    in_zip64(path)
    path.write_bytes(b"#!/bin/sh\nexit\n" + path.read_bytes())


KINDS: dict[str, Callable[[Path], None]] = {
    "stored": write,
    "deflated": lambda path: write(path, zipfile.ZIP_DEFLATED),
    "LZMA": lambda path: write(path, zipfile.ZIP_LZMA),
    "with a comment": lambda path: write(path, comment=b"made by hand " * 99),
    "with the longest comment": lambda path: write(path, comment=b"x" * 65_535),
    "after a program": with_prefix,
    "zip64": in_zip64,
    "zip64 after a program": in_zip64_with_prefix,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("images", [1, 5, 1000])
def test_pieces_are_the_whole(kind: str, images: int, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    KINDS[kind](path)
    found: list[tuple[str, bytes]] = []
    counts = []
    for first, stop in cut_zip(path, images):
        with open_piece(path, first, stop) as (archive, entries):
            found += [(entry.filename, archive.read(entry)) for entry in entries]
            counts.append(len(entries))
    expected = [(name, content) for name, content in CONTENTS.items() if name.endswith((".png", ".jpg"))]
    assert found == [(name, content) for name, content in expected if not name.startswith("__MACOSX")]
    assert counts[:-1] == [images] * (len(counts) - 1)


def test_one_broken_entry_is_one_broken_entry(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(bytes([7]) * 351, bytes([7]) * 350 + b"x"))
    ((first, stop),) = cut_zip(path, 1000)
    broken = []
    with open_piece(path, first, stop) as (archive, entries):
        for entry in entries:
            try:
                archive.read(entry)
            except zipfile.BadZipFile:
                broken.append(entry.filename)
    assert broken == ["a/7.png"]


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-30],
        lambda content: content.replace(b"PK\1\2", b"PK\0\0"),
        lambda content: content[-200:],
        lambda content: content[: len(content) // 2],
        lambda content: content[:0],
    ],
    ids=["end cut off", "records overwritten", "start cut off", "half", "empty"],
)
def test_damaged_zips_are_refused(harm: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write(path)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match="cannot be read as zip"):
        list(plan([str(path)], 5, "image"))


def test_memory_is_that_of_a_piece(tmp_path: Path) -> None:
    """Planning a zip of 4,000 entries and reading from it takes what a zip of 400 does."""

    def peak_bytes(entries: int) -> int:
        path = tmp_path / f"{entries}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for index in range(entries):
                archive.writestr(f"{index:06d}.png", b"x")
        del archive
        gc.collect()
        gc.freeze()  # what other tests left, however much, does not keep the collector from this one's garbage
        tracemalloc.start()
        try:
            for first, stop in cut_zip(path, 50):
                with open_piece(path, first, stop) as (opened, images):
                    assert opened.read(images[-1]) == b"x"
                del opened, images
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            gc.unfreeze()

    small, large = peak_bytes(400), peak_bytes(4000)
    assert (
        large < small + 500_000
    )  # the directory of all 4,000 is some 2.5 MB; garbage that waits for the collector is less
