"""From an image file to pixels: the one limit of `contract.preprocess`, by the names that devices use."""

from pathlib import Path

from rarn_edge.boundary.limits import MAX_FILE_BYTES, MAX_PIXELS
from rarn_edge.boundary.paths import read_bytes as read_regular_file
from rarn_edge.boundary.paths import shown
from rarn_edge.contract.preprocess import decode_colour as colour_image
from rarn_edge.contract.preprocess import decode_gray as gray_image
from rarn_edge.errors import InputError

__all__ = ["MAX_PIXELS", "colour_image", "gray_image", "read_bytes"]


def read_bytes(path: Path) -> bytes:
    """A file's content.

    Raises:
        InputError: it is no regular file, empty, too large, or may not be read.
    """
    content = read_regular_file(path, MAX_FILE_BYTES)
    if not content:
        raise InputError(f"{shown(path)}: the file is empty")
    return content
