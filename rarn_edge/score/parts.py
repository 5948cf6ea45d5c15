"""The parts of a result on disk: each written once under a name that tells what it holds, joined in order at the end."""

import contextlib
import csv
import io
import os
import re
import secrets
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.names import csv_row
from rarn_edge.errors import InputError, require_extra
from rarn_edge.files import atomic
from rarn_edge.score.units import Unit

FORMATS = (".parquet", ".csv")
ROWS_PER_GROUP = 32_768  # at least, of a finished Parquet file


@dataclass(frozen=True)
class Part:
    """The rows of one unit; where an image failed, probabilities are NaN and `errors` has the reason."""

    names: list[str]
    probabilities: NDArray[np.float32]  # [rows, classes]
    errors: list[str | None]


@dataclass(frozen=True)
class Done:
    """A part that is on disk."""

    number: int
    digest: str
    rows: int
    failed: int
    checksum: str  # CRC-32 of its file: a part that was damaged since is known as such

    def path(self, folder: Path, suffix: str) -> Path:
        return folder / f"{self.number:08d}.{self.digest}.{self.rows}.{self.failed}.{self.checksum}{suffix}"


_PART = re.compile(r"(\d{8,15})\.([0-9a-f]{10})\.(\d{1,15})\.(\d{1,15})\.([0-9a-f]{8})")
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
        number, digest, rows, failed, checksum = named.groups()
        if file_crc32(path) == checksum:
            found[int(number), digest] = Done(int(number), digest, int(rows), int(failed), checksum)
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


def write_part(folder: Path, suffix: str, unit: Unit, part: Part, classes: tuple[str, ...]) -> Done:
    """Write a part atomically."""
    failed = sum(error is not None for error in part.errors)
    if not folder.is_dir():
        raise InputError(f"{folder}: was removed while its run was going on; run the same command again")
    temporary = folder / f".{unit.number:08d}.{os.getpid()}-{secrets.token_hex(4)}.part{suffix}"
    try:
        (_write_parquet if suffix == ".parquet" else _write_csv)(temporary, part, classes)
        done = Done(unit.number, unit.digest, len(part.names), failed, file_crc32(temporary))
        temporary.replace(done.path(folder, suffix))
    except OSError as error:
        raise InputError(f"{folder}: a part cannot be written ({error.strerror or error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return done


def join_parts(parts: list[Path], out: Path, classes: tuple[str, ...]) -> None:
    """One file of all parts, in their order, in the memory of one row group of it."""
    with atomic(out) as temporary:
        if out.suffix.lower() == ".parquet":
            _join_parquet(parts, temporary, classes)
        else:
            with temporary.open("wb") as whole:
                whole.write(_csv_line(_columns(classes)).encode())
                for part in parts:
                    if not part.is_file():
                        raise InputError(f"{part}: is gone; run the same command again to score it anew")
                    with part.open("rb") as rows:
                        shutil.copyfileobj(rows, whole)


def _join_parquet(parts: list[Path], whole: Path, classes: tuple[str, ...]) -> None:
    """Small parts share a row group: hundreds of small groups would be slow to write and to read."""
    pyarrow = require_extra("pyarrow", "score")
    parquet = require_extra("pyarrow.parquet", "score")
    with parquet.ParquetWriter(whole, _schema(classes), compression="zstd") as writer:
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


def _columns(classes: tuple[str, ...]) -> list[str]:
    return ["image", "label", "confidence", *(f"p_{name}" for name in classes), "error"]


def _schema(classes: tuple[str, ...]):  # type: ignore[no-untyped-def]  # pyarrow ships no types and may be absent
    pyarrow = require_extra("pyarrow", "score")
    text, number = pyarrow.string(), pyarrow.float32()
    kinds: dict[str, object] = {"image": text, "label": text, "error": text}
    return pyarrow.schema([(name, kinds.get(name, number)) for name in _columns(classes)])


def _answers(part: Part, classes: tuple[str, ...]) -> tuple[list[str | None], NDArray[np.float32]]:
    """The label and the confidence of each row."""
    best = np.nan_to_num(part.probabilities, nan=-1.0).argmax(axis=1)
    labels = [None if error is not None else classes[top] for top, error in zip(best, part.errors, strict=True)]
    return labels, part.probabilities[np.arange(len(best)), best]


def _write_parquet(path: Path, part: Part, classes: tuple[str, ...]) -> None:
    pyarrow = require_extra("pyarrow", "score")
    parquet = require_extra("pyarrow.parquet", "score")
    labels, confidences = _answers(part, classes)

    def numbers(values: NDArray[np.float32]) -> object:
        return pyarrow.array(values, type=pyarrow.float32(), from_pandas=True)  # NaN -> null

    columns = [part.names, labels, numbers(confidences), *map(numbers, part.probabilities.T), part.errors]
    parquet.write_table(pyarrow.table(columns, schema=_schema(classes)), path, compression="zstd")


def _write_csv(path: Path, part: Part, classes: tuple[str, ...]) -> None:
    labels, confidences = _answers(part, classes)
    text: Callable[[float], str] = lambda value: "" if np.isnan(value) else f"{value:.6f}"  # noqa: E731  # one use each
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        rows = zip(part.names, labels, confidences.tolist(), part.probabilities.tolist(), part.errors, strict=True)
        for name, label, confidence, chances, error in rows:
            table.writerow(csv_row([name, label, text(confidence), *map(text, chances), error]))


def _csv_line(cells: list[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(csv_row(cells))
    return line.getvalue()
