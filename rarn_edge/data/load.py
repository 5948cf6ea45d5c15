"""Where `--data` arrives: a zip, a folder or a CSV becomes one set of faces."""

from pathlib import Path

from rarn_edge.data.csv_file import SIDE_PX, read_csv
from rarn_edge.data.faces import Faces
from rarn_edge.data.images import read_folder, read_zip
from rarn_edge.errors import InputError


def load_faces(source: Path) -> Faces:
    """Read a data set of any supported form; images are [N, 48, 48] uint8, larger ones reduced.

    Raises:
        InputError: nothing there, an unknown form, or content that cannot be used.
    """
    if not source.exists():
        raise InputError(f"{source}: no such file or folder; --data takes a zip, a folder of class folders, or a CSV")
    try:
        if source.is_dir():
            return read_folder(source, SIDE_PX)
        if source.stat().st_size == 0:
            raise InputError(f"{source}: the file is empty")
        if source.suffix.lower() == ".csv":
            return read_csv(source)
        if source.suffix.lower() == ".zip":
            return read_zip(source, SIDE_PX)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    raise InputError(f"{source}: unknown form '{source.suffix}'; --data takes .zip, .csv, or a folder of class folders")
