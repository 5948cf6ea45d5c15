"""Work in progress belongs to one run: a lock that the operating system frees, even when its holder is killed."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rarn_edge.boundary.paths import shown, why
from rarn_edge.errors import InputError

_TRIES = 20  # a holder that ends takes the file with it; whoever waited for that one makes a new one


@contextmanager
def locked(path: Path, work: Path) -> Iterator[None]:
    """Hold the file `path`, made if it is absent; `work` is what is being written, for the message.

    Raises:
        InputError: another process holds it.
    """
    handle = _hold(path, work)
    try:
        yield
    finally:
        os.close(handle)


def _hold(path: Path, work: Path) -> int:
    for _ in range(_TRIES):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise InputError(f"{shown(path)}: cannot be written ({why(error)})") from error
        if not lock_handle(handle):
            os.close(handle)
            raise InputError(f"{shown(work)}: another run is writing this; wait for it, or name another output")
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)  # its holder removed it between the two calls
    raise InputError(f"{shown(work)}: its lock {shown(path)} cannot be had")


def lock_handle(handle: int) -> bool:
    """Lock an open file for this process; False where another has it. It is free again when the file is closed."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks: better no lock than no work
        return True
    return True
