"""Make N rows for `rarn-edge score` from the Training crops of FER-2013: python benchmarks/make_score_input.py --help

    python benchmarks/make_score_input.py --data fer2013.zip --rows 1000000 -o /tmp/million

The image files are those of the zip, byte for byte, from the first to the last and then from the first again. Each output
file is written once under its final name, so what a killed call left is whole; a second call writes the same bytes.
"""

import argparse
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path

from rarn_edge.boundary.limits import at_least_one
from rarn_edge.boundary.paths import require_file
from rarn_edge.errors import InputError, run_script
from rarn_edge.files import atomic, make_folder

Row = tuple[str, bytes]  # name, image file
ROWS_PER_GROUP = 16_384  # of a Parquet file


def read_crops(data: Path) -> list[Row]:
    """The image files of the Training split, in the order of the zip.

    Raises:
        InputError: no such file, no zip, or one without these images.
    """
    require_file(data)
    try:
        with zipfile.ZipFile(data) as archive:
            names = [name for name in archive.namelist() if Path(name).name.startswith("Training_")]
            crops = [(Path(name).stem, archive.read(name)) for name in names]
    except zipfile.BadZipFile as error:
        raise InputError(f"{data}: not a readable zip ({error})") from error
    if not crops:
        raise InputError(f"{data}: holds no image called Training_*; give the fer2013.zip of image files")
    return crops


def repeated(crops: list[Row], first: int, stop: int) -> Iterator[Row]:
    """Rows `first` to `stop`; a name says its row, so that none comes twice."""
    for number in range(first, stop):
        name, content = crops[number % len(crops)]
        yield f"{number:09d}_{name}.jpg", content


def write_parquet(path: Path, rows: Iterator[Row]) -> None:
    """Columns `name` and `image`, in row groups of `ROWS_PER_GROUP`."""
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema([("name", pa.string()), ("image", pa.binary())])
    with parquet.ParquetWriter(
        path, schema, compression="none", use_dictionary=False
    ) as writer:  # JPEGs stay as they are
        while group := list(islice(rows, ROWS_PER_GROUP)):
            names, contents = zip(*group, strict=True)
            writer.write_table(pa.table([list(names), list(contents)], schema=schema))


def write_zip(path: Path, rows: Iterator[Row]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in rows:
            archive.writestr(zipfile.ZipInfo(name), content)


def write_tar(path: Path, rows: Iterator[Row]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in rows:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
            archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all


WRITERS: dict[str, Callable[[Path, Iterator[Row]], None]] = {
    "parquet": write_parquet,
    "zip": write_zip,
    "tar": write_tar,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--rows", type=at_least_one, required=True)
    parser.add_argument("--kind", choices=[*WRITERS, "folder"], default="parquet")
    parser.add_argument("--files", type=at_least_one, default=1, help="shards to spread the rows over; not for folder")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()
    crops = read_crops(arguments.data)
    folder = make_folder(arguments.output)
    if arguments.kind == "folder":
        for name, content in repeated(crops, 0, arguments.rows):
            with atomic(folder / name) as temporary:
                temporary.write_bytes(content)
        return
    ends = [arguments.rows * number // arguments.files for number in range(arguments.files + 1)]
    for number, (first, stop) in enumerate(pairwise(ends)):
        with atomic(folder / f"{number:04d}.{arguments.kind}") as temporary:
            WRITERS[arguments.kind](temporary, repeated(crops, first, stop))


if __name__ == "__main__":
    run_script(main)
