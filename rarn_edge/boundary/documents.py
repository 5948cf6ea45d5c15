"""JSON, TOML and npy from outside, within limits; and the one writer of JSON, which never writes a bare NaN."""

import io
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from rarn_edge.boundary.paths import MAX_TEXT_BYTES, read_text, shown
from rarn_edge.errors import InputError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_DEPTH = 64
MAX_DIGITS = 18  # an integer that every program and float64 range takes
MAX_TOML_BYTES = 2**20


def read_json(path: Path, hint: str = "") -> Any:
    """A JSON file.

    Raises:
        InputError: no regular file, not JSON, or beyond the limits of `parse_json`.
    """
    return parse_json(read_text(path, MAX_TEXT_BYTES, hint), shown(path))


def parse_json(text: str | bytes, source: str) -> Any:
    """JSON without NaN and infinity, integers of at most `MAX_DIGITS`, nested at most `MAX_DEPTH` deep.

    Raises:
        InputError: anything else; `source` names it in the message.
    """
    try:
        data = json.loads(text, parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except RecursionError as error:
        raise InputError(f"{source}: nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:  # also a byte that is no text
        raise InputError(f"{source}: not a readable JSON file ({first_line(error)})") from error
    check_depth(data, source)
    return data


def read_toml(path: Path, hint: str = "") -> dict[str, Any]:
    """A TOML file, within the same limits.

    Raises:
        InputError: no regular file, not TOML, or beyond the limits.
    """
    return parse_toml(read_text(path, MAX_TOML_BYTES, hint), shown(path))


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """As `parse_json`, of TOML.

    Raises:
        InputError: as `parse_json`.
    """
    import tomllib  # here: `--help` reads no TOML

    try:
        data = tomllib.loads(text, parse_float=_float)
    except RecursionError as error:
        raise InputError(f"{source}: nested more than {MAX_DEPTH} deep") from error
    except ValueError as error:
        raise InputError(f"{source}: not a readable TOML file ({first_line(error)})") from error
    check_depth(data, source)
    return data


def check_depth(data: Any, source: str) -> None:
    """Refuse what nests more than `MAX_DEPTH` deep or holds integers of more than `MAX_DIGITS` digits.

    Raises:
        InputError: it does.
    """
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inner += value.values()
            elif isinstance(value, list | tuple):
                inner += value
            elif isinstance(value, int) and abs(value) >= 10**MAX_DIGITS:
                raise InputError(f"{source}: an integer of more than {MAX_DIGITS} digits")
        if not inner:
            return
        level = inner
    raise InputError(f"{source}: nested more than {MAX_DEPTH} deep")


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON value")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is beyond the range of float64, or no number")
    return value


def _int(text: str) -> int:
    if len(text.lstrip("-")) > MAX_DIGITS:
        raise ValueError(f"an integer of more than {MAX_DIGITS} digits")
    return int(text)


def to_json(data: Any, indent: int | None = None) -> str:
    """Valid JSON text, in ASCII; a figure that is no number becomes null."""
    try:
        return json.dumps(data, indent=indent, allow_nan=False)
    except ValueError:  # a NaN somewhere
        return json.dumps(_finite(data), indent=indent, allow_nan=False)


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data


def parse_npy(content: bytes, source: str) -> "NDArray[Any]":
    """A numpy array from an npy file's bytes; what its header claims is held against what is there before memory is taken.

    Raises:
        InputError: not an npy file, pickled objects, or another length than its header says.
    """
    import numpy as np  # here: `--help` writes no arrays

    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
        claimed = math.prod(shape) * dtype.itemsize
        if dtype.hasobject or claimed != len(content) - stream.tell():
            raise ValueError(f"its header claims {claimed:,} bytes, {len(content) - stream.tell():,} are there")
        stream.seek(0)
        return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))
    except (
        Exception
    ) as error:  # numpy parses the header as Python, with whatever that raises; the cause is kept and named
        raise InputError(f"{source}: is not a readable npy file ({first_line(error)})") from error
