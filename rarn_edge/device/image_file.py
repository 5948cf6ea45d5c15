"""From an image file's bytes to pixels, with the size checked before anything is decoded.

A PNG of a few kilobytes can claim 20,000 x 20,000 pixels; decoding it takes gigabytes. OpenCV tells the size of an image
only by decoding it, so the few bytes that hold it are read here.
"""

import re
import struct
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import decode_colour, decode_gray
from rarn_edge.errors import InputError

MAX_PIXELS = 50_000_000
"""More than any phone's photograph; 150 MB once decoded in colour."""


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        InputError: it is absent, a folder, empty, or may not be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    if not content:
        raise InputError(f"{path}: the file is empty")
    return content


def gray_image(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """[H, W] uint8; `name` is for messages.

    Raises:
        InputError: no image, a broken one, or one of more than `max_pixels` (said before decoding).
    """
    check_size(content, name, max_pixels)
    return decode_gray(content, name)


def colour_image(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """[H, W, 3] uint8 in OpenCV's order (blue, green, red); EXIF rotation applied.

    Raises:
        InputError: as `gray_image`.
    """
    check_size(content, name, max_pixels)
    return decode_colour(content, name)


def check_size(content: bytes, name: str, max_pixels: int = MAX_PIXELS) -> tuple[int, int] | None:
    """(width_px, height_px) as the file claims, or None where the format is not one of those read here.

    Raises:
        InputError: more than `max_pixels`, or a JPEG without its end.
    """
    size = claimed_size_px(content)
    if size is not None and size[0] * size[1] > max_pixels:
        raise InputError(
            f"{name}: {size[0]:,} x {size[1]:,} pixels, more than the limit of {max_pixels / 1e6:g} million.\n"
            f"If that is meant: --max-megapixels {-(-size[0] * size[1] // 1_000_000)}"
        )
    if content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise InputError(
            f"{name}: a JPEG that is cut short; repair or remove it"
        )  # the decoder would fill it with gray
    return size


def is_animated_gif(content: bytes) -> bool:
    """Whether a GIF holds several pictures: each frame of an animation has a graphic control block before its image."""
    frames = re.finditer(rb"\x21\xf9\x04.{4}\x00\x2c", content, re.DOTALL)
    return content.startswith((b"GIF87a", b"GIF89a")) and next(islice(frames, 1, None), None) is not None


def claimed_size_px(content: bytes) -> tuple[int, int] | None:
    """(width_px, height_px) from the header of PNG, JPEG, GIF, BMP, WebP or TIFF; None when it is none of them or cut."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", content, 16)
        if content.startswith((b"GIF87a", b"GIF89a")):
            return struct.unpack_from("<HH", content, 6)
        if content.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", content, 18)
            return abs(width), abs(height)
        if content.startswith(b"\xff\xd8"):
            return _jpeg_size(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp_size(content)
        if content.startswith((b"II*\0", b"MM\0*")):
            return _tiff_size(content)
    except (struct.error, IndexError):
        return None  # cut short: the decoder will say so
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """From the start-of-frame segment; the others are skipped by their length."""
    at = 2
    while content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:  # padding
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 5)
            return width, height
        else:
            at += 2 + struct.unpack_from(">H", content, at + 2)[0]
    return None


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _tiff_size(content: bytes) -> tuple[int, int] | None:
    """From tags 256 and 257 of the first directory."""
    order = "<" if content.startswith(b"II") else ">"
    start = struct.unpack_from(order + "I", content, 4)[0]
    found = {}
    for entry in range(struct.unpack_from(order + "H", content, start)[0]):
        tag, kind = struct.unpack_from(order + "HH", content, start + 2 + 12 * entry)
        if tag in (256, 257):
            found[tag] = struct.unpack_from(order + ("H" if kind == 3 else "I"), content, start + 10 + 12 * entry)[0]
    return (found[256], found[257]) if len(found) == 2 else None
