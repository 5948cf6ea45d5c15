"""The size an image file claims, read before it is decoded."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.boundary.image_header import claimed_size_px, doubts
from rarn_edge.boundary.limits import MAX_FILE_BYTES
from rarn_edge.boundary.paths import read_bytes
from rarn_edge.contract.preprocess import decode_colour, decode_gray
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError


def encoded(suffix: str, width_px: int = 61, height_px: int = 37, options: tuple[int, ...] = ()) -> bytes:
    image = np.random.default_rng(0).integers(0, 255, (height_px, width_px, 3), dtype=np.uint8)
    done, content = cv2.imencode(suffix, image, options)
    assert done
    return bytes(content.tobytes())


def giant_png(side_px: int = 20_000) -> bytes:
    """A PNG of gray zeros, some 400 KB, that would decode to 400 MB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    lines = zlib.compress(bytes(side_px * (side_px + 1)), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif", ".gif"])
def test_size(suffix: str) -> None:
    assert claimed_size_px(encoded(suffix)) == (61, 37)


def test_size_of_a_lossless_webp_and_a_progressive_jpeg() -> None:
    assert claimed_size_px(encoded(".webp", options=(cv2.IMWRITE_WEBP_QUALITY, 101))) == (61, 37)
    assert claimed_size_px(encoded(".jpg", options=(cv2.IMWRITE_JPEG_PROGRESSIVE, 1))) == (61, 37)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tif", ".gif"])
@pytest.mark.parametrize("keep", [0, 2, 5, 11, 13, 17, 25])
def test_a_cut_header_is_no_crash(suffix: str, keep: int) -> None:
    claimed_size_px(encoded(suffix)[:keep])
    with pytest.raises(InputError, match="x: "):
        decode_gray(encoded(suffix)[:keep], "x")


def test_a_giant_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(InputError, match=r"20,000 x 20,000 pixels, more than the limit of 50 million") as raised:
        decode_gray(giant_png(), "x.png")
    assert "--max-megapixels 400" in str(raised.value)


def test_the_advice_is_never_refused() -> None:
    claim = bytearray(encoded(".png"))
    struct.pack_into(">II", claim, 16, 40_000, 25_000)
    with pytest.raises(InputError, match="--max-megapixels 1000"):
        decode_gray(bytes(claim), "x.png")
    struct.pack_into(">II", claim, 16, 40_000, 40_000)
    with pytest.raises(
        InputError, match=r"40,000 x 40,000 pixels(.|\n)*more than 1000 million are never read"
    ) as raised:
        decode_gray(bytes(claim), "x.png")
    assert "--max-megapixels" not in str(raised.value)


def test_the_limit_can_be_raised_and_lowered() -> None:
    assert decode_gray(encoded(".png"), "x", max_pixels=61 * 37).shape == (37, 61)
    with pytest.raises(InputError, match="61 x 37"):
        decode_gray(encoded(".png"), "x", max_pixels=61 * 37 - 1)


def test_colours_and_comments_of_a_gif_are_no_frame() -> None:
    """Each holds the bytes that begin a frame, with a giant size after them."""
    content, frame = encoded(".gif"), b"\0\x2c" + b"\xff" * 8
    table_end = 13 + 3 * 256
    coloured = content[:13] + (frame * 77)[: 3 * 256] + content[table_end:]
    comment = b"\x21\xfe" + (bytes([len(frame)]) + frame) * 20_000 + b"\0"
    for gif in (coloured, content[:table_end] + comment + content[table_end:]):
        assert claimed_size_px(gif) == (61, 37)
        assert decode_colour(gif, "x.gif").shape == (37, 61, 3)


def test_a_frame_larger_than_its_gif_counts() -> None:
    content = encoded(".gif")
    assert claimed_size_px(content[:6] + struct.pack("<HH", 8, 8) + content[10:]) == (61, 37)
    assert claimed_size_px(content[: 13 + 3 * 256] + b"\x21\xfe" + b"\1x" * 200_000 + content[13 + 3 * 256 :]) is None


def test_a_jpeg_that_is_cut_short_is_not_guessed_at() -> None:
    content = encoded(".jpg")
    assert decode_colour(content, "x.jpg").shape == (37, 61, 3)
    with pytest.raises(InputError, match=r"x\.jpg: cannot be decoded .*a JPEG that is cut short"):
        decode_colour(content[:-200], "x.jpg")


def test_what_comes_after_a_jpeg_is_not_looked_at() -> None:
    """As the video of a motion photo, here with a marker of a JPEG in it; or padding."""
    content = encoded(".jpg")
    video = np.random.default_rng(1).bytes(100_000) + b"\xff\xda" + bytes(8)
    np.testing.assert_array_equal(decode_colour(content + video, "x.jpg"), decode_colour(content, "x.jpg"))
    assert doubts(content + bytes(1024) + b"\xff\xd9", "x.jpg") is None
    middle = len(content) - 600
    assert "a stretch of zeros" in str(doubts(content[:middle] + bytes(512) + content[middle:], "x.jpg"))


def test_the_end_of_a_thumbnail_is_not_that_of_its_jpeg() -> None:
    content, thumbnail = encoded(".jpg"), b"Exif\0\0" + encoded(".jpg", 16, 12)
    whole = content[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail + content[2:]
    assert decode_colour(whole, "x.jpg").shape == (37, 61, 3)
    for keep in (whole.rfind(b"\xff\xda"), len(whole) - 200):
        with pytest.raises(InputError, match=r"x\.jpg: cannot be decoded .*a JPEG that is cut short"):
            decode_colour(whole[:keep], "x.jpg")


def test_sixteen_bits_become_eight() -> None:
    face = synthetic_faces(1, seed=0).images[0]
    deep = cv2.imencode(".png", face.astype(np.uint16) * 257)[1].tobytes()
    np.testing.assert_allclose(decode_gray(deep, "x.png"), face, atol=1)


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    for path, message in (
        ("empty.jpg", r"empty\.jpg: cannot be decoded as an image: it is empty"),
        ("none.jpg", "no such file"),
        (".", "is a folder"),
        ("text.jpg", "cannot be decoded"),
    ):
        with pytest.raises(InputError, match=message):
            decode_gray(read_bytes(tmp_path / path, MAX_FILE_BYTES), path)
