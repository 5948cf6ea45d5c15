"""Input paths: a regular file, or one line that says what is there instead, before anything is opened that could block."""

import errno
import os
import stat
import sys
from pathlib import Path

from rarn_edge.boundary.names import printable
from rarn_edge.errors import InputError

MAX_TEXT_BYTES = 256 * 2**20
"""Of a document: a benchmark result with a million samples has 40 MB."""

_KINDS = (
    (stat.S_ISDIR, "is a folder, where a file is needed"),
    (stat.S_ISFIFO, "is a named pipe, where a regular file is needed"),
    (stat.S_ISCHR, "is a device, where a regular file is needed"),
    (stat.S_ISBLK, "is a device, where a regular file is needed"),
    (stat.S_ISSOCK, "is a socket, where a regular file is needed"),
)


MODEL_HINT = "an ONNX file of a model is made by: rarn-edge export --model NAME -o FILE.onnx"


def require_file(path: Path, hint: str = "") -> os.stat_result:
    """The status of a regular file, links followed; `hint` is the next step for one that is absent.

    Raises:
        InputError: what is there instead, or why it cannot be reached.
    """
    status = _status(path, hint)
    if stat.S_ISREG(status.st_mode):
        return status
    what = next((what for is_kind, what in _KINDS if is_kind(status.st_mode)), "is no regular file")
    raise InputError(f"{shown(path)}: {what}")


def exists(path: Path) -> bool:
    """Whether something is there; a path that cannot be reached is an error and not a no.

    Raises:
        InputError: a link in a circle, a name too long, or a folder above that may not be searched.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except NotADirectoryError:
        return False
    except (OSError, ValueError) as error:
        raise _unreachable(path, error) from error
    return True


def require_source(path: Path, hint: str = "") -> os.stat_result:
    """The status of a regular file or a folder.

    Raises:
        InputError: as `require_file`.
    """
    status = _status(path, hint, "file or folder")
    return status if stat.S_ISDIR(status.st_mode) else require_file(path, hint)


def _status(path: Path, hint: str, what: str = "file") -> os.stat_result:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_symlink():
            raise InputError(f"{shown(path)}: is a link to {shown(path.readlink())}, which does not exist") from error
        raise InputError(f"{shown(path)}: no such {what}{f'; {hint}' if hint else ''}") from error
    except (OSError, ValueError) as error:
        raise _unreachable(path, error) from error


def _unreachable(path: Path, error: Exception) -> InputError:
    number = error.errno if isinstance(error, OSError) else None
    what = {
        errno.ELOOP: "is a link that leads back to itself",
        errno.ENAMETOOLONG: "the name is longer than a file system takes",
        errno.EACCES: "cannot be reached: a folder above it may not be searched",
    }.get(number or 0)
    if what is None:
        what = "a path holds no zero byte" if isinstance(error, ValueError) else f"cannot be reached ({why(error)})"
    return InputError(f"{shown(path)}: {what}")


def shown(path: Path | str) -> str:
    """A path for a message: one printable line of at most 300 characters."""
    text = printable(path)
    return text if len(text) <= 300 else f"{text[:200]}...{text[-60:]}"


def why(error: Exception) -> str:
    """What the system says, without the path that the message names already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def reason(error: InputError, path: Path) -> str:
    """What a function of this module said, without the path at its begin: for a message that says more."""
    return str(error).removeprefix(f"{shown(path)}: ")


def read_bytes(path: Path, limit_bytes: int, hint: str = "") -> bytes:
    """The content of a regular file.

    Raises:
        InputError: as `require_file`; larger than `limit_bytes`; or it may not be read.
    """
    size_bytes = require_file(path, hint).st_size
    if size_bytes > limit_bytes:
        raise InputError(f"{shown(path)}: {size_bytes:,} bytes; {limit_bytes:,} is the limit")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({why(error)})") from error


def read_text(path: Path, limit_bytes: int = MAX_TEXT_BYTES, hint: str = "") -> str:
    """The UTF-8 text of a regular file.

    Raises:
        InputError: as `read_bytes`, or it is not UTF-8.
    """
    try:
        return read_bytes(path, limit_bytes, hint).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(path)}: is not UTF-8 text (byte {error.start:,})") from error


def read_standard_input(limit_bytes: int) -> bytes:
    """All of standard input, at most `limit_bytes`: a stream without end is refused instead of kept.

    Raises:
        InputError: it is closed, cannot be read, or is longer.
    """
    if sys.stdin is None:
        raise InputError("standard input: is closed")
    try:
        content = sys.stdin.buffer.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"standard input: cannot be read ({why(error)})") from error
    if len(content) > limit_bytes:
        raise InputError(f"standard input: more than {limit_bytes:,} bytes, which is the limit")
    return content
