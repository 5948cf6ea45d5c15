"""What an image file claims of itself, read from its header before a decoder sees it.

A PNG of a few kilobytes can claim 20,000 x 20,000 pixels; decoding it takes gigabytes. OpenCV tells the size of an image only by
decoding it, so the few bytes that hold it are read here. A format whose size is not read here is not decoded at all.
"""

import re
import struct
from collections.abc import Iterator
from itertools import islice

from rarn_edge.boundary.limits import LARGEST_PIXELS
from rarn_edge.errors import InputError

FORMATS = "PNG, JPEG, GIF, BMP, WebP or TIFF"
_HOLE_BYTES = 512
_GIF_STEPS = 1 << 16  # before its first picture; each takes up to 256 bytes


def check_image(content: bytes, name: str, max_pixels: int) -> tuple[int, int]:
    """(width_px, height_px) as the file claims.

    Raises:
        InputError: no image of `FORMATS`, more than `max_pixels`, or a JPEG that is cut short.
    """
    if not content:
        raise InputError(f"{name}: cannot be decoded as an image: it is empty")
    size = claimed_size_px(content)
    if size is None:
        raise InputError(
            f"{name}: cannot be decoded as an image; convert, repair or remove it (no readable header of {FORMATS})"
        )
    if min(size) < 1:
        raise InputError(f"{name}: cannot be decoded as an image: it claims {size[0]:,} x {size[1]:,} pixels")
    if size[0] * size[1] > max_pixels:
        pixels = size[0] * size[1]
        way = f"Make it smaller, or raise the limit: --max-megapixels {-(-pixels // 1_000_000)} (predict and score)"
        if pixels > LARGEST_PIXELS:
            way = f"Make it smaller: more than {LARGEST_PIXELS / 1e6:g} million are never read"
        raise InputError(
            f"{name}: {size[0]:,} x {size[1]:,} pixels, more than the limit of {max_pixels / 1e6:g} million.\n{way}"
        )
    if content.startswith(b"\xff\xd8") and _jpeg_picture(content) is None:
        raise InputError(f"{name}: cannot be decoded as an image; repair or remove it (a JPEG that is cut short)")
    return size


def claimed_size_px(content: bytes) -> tuple[int, int] | None:
    """(width_px, height_px) from the header of PNG, JPEG, GIF, BMP, WebP or TIFF; None when it is none of them or cut."""
    try:
        if content.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", content, 16) if content[12:16] == b"IHDR" else None
        if content.startswith((b"GIF87a", b"GIF89a")):
            return _gif_size(content)
        if content.startswith(b"BM"):
            return _bmp_size(content)
        if content.startswith(b"\xff\xd8"):
            return _jpeg_size(content)
        if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
            return _webp_size(content)
        if content.startswith((b"II*\0", b"MM\0*")):
            return _tiff_size(content)
    except (struct.error, IndexError):
        return None  # cut short
    return None


def doubts(content: bytes, name: str) -> str | None:
    """A notice when a decoder would leave something out without a word: further pictures, or a hole; else None."""
    several = None
    if content.startswith((b"GIF87a", b"GIF89a")):
        frames = re.finditer(rb"\x21\xf9\x04.{4}\x00\x2c", content, re.DOTALL)  # one control block a frame
        several = "an animated GIF" if next(islice(frames, 1, None), None) is not None else None
    elif content.startswith(b"\x89PNG"):
        head = content[: max(content.find(b"IDAT"), 0)]
        at = head.find(b"acTL")
        several = "an animated PNG" if at >= 0 and int.from_bytes(head[at + 4 : at + 8], "big") > 1 else None
    elif content[:4] == b"RIFF" and content[12:16] == b"VP8X" and len(content) > 20 and content[20] & 2:
        several = "an animated WebP"
    elif content.startswith((b"II*\0", b"MM\0*")) and _tiff_has_more(content):
        several = "a TIFF of several pages"
    elif content.startswith(b"\xff\xd8") and _jpeg_has_hole(content):
        return f"{name}: a JPEG with a stretch of zeros in its picture; it may be damaged"
    return None if several is None else f"{name}: {several}; only its first picture is read"


def _gif_size(content: bytes) -> tuple[int, int] | None:
    """The canvas, or the first frame where it is larger; None where there is no frame."""
    canvas_width, canvas_height, flags = struct.unpack_from("<HHB", content, 6)
    at = 13 + (3 * 2 ** (flags % 8 + 1) if flags & 0x80 else 0)  # after the colour table
    in_extension = False
    for _ in range(_GIF_STEPS):
        if in_extension:
            in_extension, at = content[at] > 0, at + 1 + content[at]  # a block of it; an empty one is the last
        elif content[at] == 0x21:
            in_extension, at = True, at + 2
        elif content[at] == 0x2C:
            left, top, width, height = struct.unpack_from("<HHHH", content, at + 1)
            return max(canvas_width, left + width), max(canvas_height, top + height)
        else:
            return None
    return None


def _bmp_size(content: bytes) -> tuple[int, int]:
    header_bytes = struct.unpack_from("<I", content, 14)[0]
    if header_bytes == 12:  # OS/2
        return struct.unpack_from("<HH", content, 18)
    width, height = struct.unpack_from("<ii", content, 18)
    return abs(width), abs(height)


_JPEG_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd8\xff])")  # not data, nor a marker without a segment


def _jpeg_markers(content: bytes) -> Iterator[tuple[int, int]]:
    """(marker, place of what follows it) up to the end of the picture, as a decoder finds them: bytes between segments are passed
    over. What comes after the picture, such as the video of a motion photo, is not looked at."""
    at = 2
    while (found := _JPEG_MARKER.search(content, at)) is not None:
        marker, at = found[1][0], found.end()
        yield marker, at
        if marker == 0xD9:
            return
        at += struct.unpack_from(">H", content, at)[0]


def _jpeg_picture(content: bytes) -> tuple[int, int] | None:
    """Where its first scan begins and where the picture ends; None where it is cut short."""
    scan = None
    try:
        for marker, at in _jpeg_markers(content):
            if marker == 0xDA and scan is None:
                scan = at
            if marker == 0xD9:
                return None if scan is None else (scan, at)
    except struct.error:
        return None
    return None


def _jpeg_size(content: bytes) -> tuple[int, int] | None:
    """From the start-of-frame segment."""
    for marker, at in _jpeg_markers(content):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", content, at + 3)
            return width, height
        if marker == 0xDA:
            return None
    return None


def _jpeg_has_hole(content: bytes) -> bool:
    """Whether a stretch of its picture is zeros, as a broken disk or download leaves it."""
    picture = _jpeg_picture(content)
    return picture is not None and bytes(_HOLE_BYTES) in content[slice(*picture)]


def _webp_size(content: bytes) -> tuple[int, int] | None:
    kind = content[12:16]
    if kind == b"VP8X":
        if len(content) < 30:
            return None
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", content, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


_TIFF_KINDS = {1: "B", 3: "H", 4: "I"}
_TIFF_SIDES = {256: 0, 322: 0, 257: 1, 323: 1}  # width of the image and of a tile, their heights


def _tiff_size(content: bytes) -> tuple[int, int] | None:
    """From the first directory: the larger of the image and of one tile."""
    order = "<" if content.startswith(b"II") else ">"
    start = struct.unpack_from(order + "I", content, 4)[0]
    found: list[list[int]] = [[], []]
    for entry in range(struct.unpack_from(order + "H", content, start)[0]):
        tag, kind = struct.unpack_from(order + "HH", content, start + 2 + 12 * entry)
        if tag in _TIFF_SIDES:
            if kind not in _TIFF_KINDS:
                return None
            value = struct.unpack_from(order + _TIFF_KINDS[kind], content, start + 10 + 12 * entry)[0]
            found[_TIFF_SIDES[tag]].append(value)
    return (max(found[0]), max(found[1])) if all(found) else None


def _tiff_has_more(content: bytes) -> bool:
    order = "<" if content.startswith(b"II") else ">"
    try:
        start = struct.unpack_from(order + "I", content, 4)[0]
        entries = struct.unpack_from(order + "H", content, start)[0]
        return bool(struct.unpack_from(order + "I", content, start + 2 + 12 * entries)[0])
    except struct.error:
        return False
