"""How large an option may be, in one place: a typing error shall cost a message, not the machine."""

import math

from rarn_edge.errors import InputError

MAX_THREADS = 1024
MAX_BATCH = 65_536
MAX_ROWS = 1_000_000
MAX_MEGAPIXELS = 1000.0
LARGEST_PIXELS = int(MAX_MEGAPIXELS * 1e6)
MAX_PIXELS = 50_000_000
"""Of one image, where nothing else is said: more than any phone's photograph; 150 MB once decoded in colour."""
MAX_FILE_BYTES = 64 * 2**20
"""Of one image file, also on standard input; an entry of an archive that claims more is refused before it is unpacked."""


def check_count(value: object, name: str, largest: int) -> int:
    """A whole number from 1 to `largest`.

    Raises:
        InputError: anything else, a bool too.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} is a whole number, found {value!r}")
    if value < 1:
        raise InputError(f"{name} is at least 1, found {value}")
    if value > largest:
        raise InputError(f"{name} is at most {largest:,}, found {value if value < 10**18 else 'far more'}")
    return value


def pixels_of(megapixels: float) -> int:
    """A limit in pixels from one in millions.

    Raises:
        InputError: no number above 0 and up to `MAX_MEGAPIXELS`.
    """
    if not (math.isfinite(megapixels) and 0 < megapixels <= MAX_MEGAPIXELS):
        raise InputError(f"--max-megapixels is above 0 and at most {MAX_MEGAPIXELS:g}, found {megapixels:g}")
    return max(1, round(megapixels * 1e6))


def at_least_one(text: str) -> int:
    """A whole number of 1 or more, as the `type` of an option of argparse."""
    from argparse import ArgumentTypeError

    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"a whole number of 1 or more, not '{text}'")
    return int(text)
