"""The files below a folder, for every command alike; memory does not grow with their number: long lists go through files."""

import errno
import heapq
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import islice

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "lost+found")  # of macOS's zips, Synology's thumbnails, and a disk's check
NAMES_IN_MEMORY = 20_000
_SELF_LINK = 1921  # what Windows says of a link to itself; elsewhere it is ELOOP


def is_hidden_name(name: str) -> bool:
    """Of one file or folder."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def walk(root: str, inside: str = "", above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """Files below `root`, as paths in it: those of a folder by name, then those of its folders, also of links; none hidden.

    `above` are the folders on the way, by device and inode: a link to one of them is passed over. A link that leads nowhere is a
    file: whoever reads it says so.

    Raises:
        OSError: a folder that cannot be read.
    """
    below: list[str] = []
    status = os.stat(os.path.join(root, inside))  # noqa: PTH116, PTH118  # as below
    here = (status.st_dev, status.st_ino)
    if here in above:
        return

    def files() -> Iterator[str]:
        with os.scandir(os.path.join(root, inside)) as entries:  # noqa: PTH118  # a million Paths take seconds
            for entry in entries:
                if is_hidden_name(entry.name):
                    continue
                if _is_folder(entry):
                    below.append(entry.name)
                else:
                    yield entry.name

    for name in in_order(files()):
        yield os.path.join(inside, name)  # noqa: PTH118
    for name in sorted(below):
        yield from walk(root, os.path.join(inside, name), above | {here})  # noqa: PTH118


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP or getattr(error, "winerror", None) == _SELF_LINK:
            return False
        raise


def in_order(names: Iterable[str]) -> Iterator[str]:
    """What `sorted` gives, with `NAMES_IN_MEMORY` in memory: more go to temporary files, each sorted, and are merged."""
    names = iter(names)
    with ExitStack() as held:
        runs: list[Iterator[str]] = []
        while run := sorted(islice(names, NAMES_IN_MEMORY)):
            if not runs and len(run) < NAMES_IN_MEMORY:
                yield from run
                return
            file = held.enter_context(tempfile.TemporaryFile("w+", encoding="ascii"))
            file.writelines(
                f"{json.dumps(name)}\n" for name in run
            )  # a name may hold line ends and bytes that are no text
            file.seek(0)
            runs.append(map(json.loads, file))
        yield from heapq.merge(*runs)
