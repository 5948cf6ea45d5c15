"""The parts of a result on disk: each written once under a name that tells what it holds, joined in order at the end."""

import contextlib
import csv
import io
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from rarn_edge.boundary.names import csv_row
from rarn_edge.errors import InputError, require_extra
from rarn_edge.files import atomic
from rarn_edge.score.table import Layout, Part
from rarn_edge.score.units import Unit

FORMATS = (".parquet", ".csv")
ROWS_PER_GROUP = 32_768  # at least, of a finished Parquet file


@dataclass(frozen=True)
class Counts:
    """What is in the rows of a part, or of several."""

    images: int = 0
    rows: int = 0  # one an image; of a photograph one a face, or one without
    failed: int = 0  # rows with an error
    without_face: int = 0  # photographs
    noticed: int = 0  # rows with a notice

    @classmethod
    def of(cls, images: int, part: Part) -> "Counts":
        failed = sum(row.error is not None for row in part.rows)
        noticed = sum(row.notice is not None and row.face in (None, 0) for row in part.rows)
        return cls(images, len(part.rows), failed, sum(row.faces == 0 for row in part.rows), noticed)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(mine + more for mine, more in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class Done:
    """A part that is on disk."""

    number: int
    digest: str
    counts: Counts
    checksum: str  # CRC-32 of its file: a part that was damaged since is known as such

    def path(self, folder: Path, suffix: str) -> Path:
        counts = "-".join(map(str, astuple(self.counts)))
        return folder / f"{self.number:08d}.{self.digest}.{counts}.{self.checksum}{suffix}"


_PART = re.compile(r"(\d{8,15})\.([0-9a-f]{10})\.(\d{1,15}(?:-\d{1,15}){4})\.([0-9a-f]{8})")
_UNFINISHED = re.compile(
    r"\.\d{8,15}\..*\.part(\.\w+)?|\.run\..*\.part(\.\w+)?"
)  # what a kill leaves of `files.atomic`
NOTE, LOCK = "run.json", "lock"


def parts_folder(out: Path) -> Path:
    """Where the parts of `out` are while it is made."""
    return out.with_name(f"{out.name}.parts")


def finished_parts(folder: Path, suffix: str) -> tuple[dict[tuple[int, str], Done], tuple[str, ...]]:
    """The parts of an earlier, killed run, by number and digest; and the names of damaged ones, which are removed.

    What else lies in the folder is not of a run and left alone.
    """
    found: dict[tuple[int, str], Done] = {}
    damaged = []
    for path in sorted(folder.glob(f"*{suffix}")):
        named = _PART.fullmatch(path.name.removesuffix(suffix))
        if named is None or path.is_symlink() or not path.is_file():
            continue
        number, digest, counts, checksum = named.groups()
        if file_crc32(path) == checksum:
            found[int(number), digest] = Done(int(number), digest, Counts(*map(int, counts.split("-"))), checksum)
        else:
            path.unlink()
            damaged.append(path.name)
    return found, tuple(damaged)


def file_crc32(path: Path) -> str:
    """Eight hex digits."""
    checksum = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def remove_parts(folder: Path, suffix: str) -> tuple[str, ...]:
    """Remove what runs wrote into `folder`, and the folder unless something else is in it; what is left, by name."""
    for path in folder.iterdir():
        part = path.name.endswith(suffix) and _PART.fullmatch(path.name.removesuffix(suffix))
        if part or path.name in (NOTE, LOCK) or _UNFINISHED.fullmatch(path.name):
            with contextlib.suppress(OSError):  # a folder of that name, say; then it is left and named
                path.unlink()
    left = tuple(sorted(path.name for path in folder.iterdir()))
    if not left:
        folder.rmdir()
    return left


def write_part(folder: Path, suffix: str, unit: Unit, images: int, part: Part, layout: Layout) -> Done:
    """Write the rows of a unit's `images` atomically."""
    if not folder.is_dir():
        raise InputError(f"{folder}: was removed while its run was going on; run the same command again")
    temporary = folder / f".{unit.number:08d}.{os.getpid()}-{secrets.token_hex(4)}.part{suffix}"
    try:
        (layout.write_parquet if suffix == ".parquet" else layout.write_csv)(temporary, part)
        done = Done(unit.number, unit.digest, Counts.of(images, part), file_crc32(temporary))
        temporary.replace(done.path(folder, suffix))
    except OSError as error:
        raise InputError(f"{folder}: a part cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return done


def join_parts(parts: list[Path], out: Path, layout: Layout) -> None:
    """One file of all parts, in their order, in the memory of one row group of it."""
    with atomic(out) as temporary:
        if out.suffix.lower() == ".parquet":
            _join_parquet(parts, temporary, layout)
        else:
            with temporary.open("wb") as whole:
                whole.write(_csv_line(layout.columns).encode())
                for part in parts:
                    if not part.is_file():
                        raise InputError(f"{part}: is gone; run the same command again to score it anew")
                    with part.open("rb") as rows:
                        shutil.copyfileobj(rows, whole)


def _join_parquet(parts: list[Path], whole: Path, layout: Layout) -> None:
    """Small parts share a row group: hundreds of small groups would be slow to write and to read."""
    pyarrow = require_extra("pyarrow", "score")
    parquet = require_extra("pyarrow.parquet", "score")
    with parquet.ParquetWriter(whole, layout.schema(), compression="zstd") as writer:
        gathered, rows = [], 0
        for part in parts:
            try:
                gathered.append(parquet.ParquetFile(part).read(use_threads=False))
            except (OSError, pyarrow.ArrowException) as error:
                raise InputError(f"{part}: is damaged or gone; run the same command again to score it anew") from error
            rows += len(gathered[-1])
            if rows >= ROWS_PER_GROUP or part == parts[-1]:
                writer.write_table(pyarrow.concat_tables(gathered))
                gathered, rows = [], 0


def check_format(out: Path) -> str:
    """The suffix of a result file.

    Raises:
        InputError: neither Parquet nor CSV, or pyarrow is needed and absent.
    """
    suffix = out.suffix.lower()
    if suffix not in FORMATS:
        raise InputError(f"{out}: results are written as {' or '.join(FORMATS)}")
    if suffix == ".parquet":
        require_extra("pyarrow", "score")
    return suffix


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(csv_row(cells))
    return line.getvalue()
