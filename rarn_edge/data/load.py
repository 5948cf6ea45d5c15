"""Where `--data` arrives: a zip, a folder or a CSV becomes one set of images."""

import csv
from collections.abc import Callable
from pathlib import Path

from rarn_edge.boundary.paths import require_source
from rarn_edge.contract.spec import Preprocess
from rarn_edge.data.csv_file import columns_of, read_csv
from rarn_edge.data.faces import Choose, Faces
from rarn_edge.data.images import read_folder, read_listing, read_zip
from rarn_edge.data.votes import Pairing, read_votes, with_votes
from rarn_edge.errors import InputError


def load_faces(
    source: Path,
    choose: Choose | None = None,
    votes: Path | None = None,
    on_pairing: Callable[[Pairing], None] | None = None,
    preprocess: Preprocess | None = None,
) -> Faces:
    """Read a data set of any supported form; images are [N, H, W] or, for a network in colour, [N, H, W, 3] uint8.

    Args:
        source: A zip or a folder of class folders, or a CSV (FER-2013's pixels, or `file,label[,split]`).
        choose: Which images are wanted; of image files, only those are decoded.
        votes: People's votes for these images (`data/votes.py`), which then are their labels.
        on_pairing: Called with how votes and images fit together.
        preprocess: Of the network that will see them (default: 48x48 gray).

    Raises:
        InputError: nothing there, an unknown form, content that cannot be used, or votes of other images.
    """
    found = _read(source)
    if votes is not None:
        found, pairing = with_votes(found, read_votes(votes))
        if on_pairing is not None:
            on_pairing(pairing)
    chosen = found if choose is None else choose(found)
    return chosen.shown_to(preprocess or Preprocess())


def _read(source: Path) -> Faces:
    """Image files are not decoded yet."""
    require_source(source, "pictures are a zip, a folder of class folders, or a CSV")
    try:
        if source.is_dir():
            return read_folder(source)
        if source.stat().st_size == 0:
            raise InputError(f"{source}: the file is empty")
        if source.suffix.lower() == ".csv":
            try:
                return read_listing(source) if "file" in columns_of(source) else read_csv(source)
            except (UnicodeDecodeError, csv.Error) as error:
                raise InputError(f"{source}: not a CSV text file ({error})") from error
        if source.suffix.lower() == ".zip":
            return read_zip(source)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    raise InputError(f"{source}: unknown form '{source.suffix}'; --data takes .zip, .csv, or a folder of class folders")
