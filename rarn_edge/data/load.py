"""Where `--data` arrives: a zip, a folder or a CSV becomes one set of faces."""

from collections.abc import Callable
from pathlib import Path

from rarn_edge.boundary.paths import require_source
from rarn_edge.data.csv_file import SIDE_PX, read_csv
from rarn_edge.data.faces import Choose, Faces
from rarn_edge.data.images import read_folder, read_zip
from rarn_edge.data.votes import Pairing, read_votes, with_votes
from rarn_edge.errors import InputError


def load_faces(
    source: Path,
    choose: Choose | None = None,
    votes: Path | None = None,
    on_pairing: Callable[[Pairing], None] | None = None,
) -> Faces:
    """Read a data set of any supported form; images are [N, 48, 48] uint8, larger ones reduced.

    Args:
        source: A zip, a folder or a CSV.
        choose: Which faces are wanted; of image files, only those are decoded.
        votes: People's votes for these images (`data/votes.py`), which then are their labels.
        on_pairing: Called with how votes and images fit together.

    Raises:
        InputError: nothing there, an unknown form, content that cannot be used, or votes of other images.
    """
    if votes is not None:
        table = read_votes(votes)

        def voted(found: Faces) -> Faces:
            faces, pairing = with_votes(found, table)
            if on_pairing is not None:
                on_pairing(pairing)
            return faces if choose is None else choose(faces)

        return load_faces(source, voted)
    require_source(source, "--data takes a zip, a folder of class folders, or a CSV")
    try:
        if source.is_dir():
            return read_folder(source, SIDE_PX, choose)
        if source.stat().st_size == 0:
            raise InputError(f"{source}: the file is empty")
        if source.suffix.lower() == ".csv":
            faces = read_csv(source)
            return faces if choose is None else choose(faces)
        if source.suffix.lower() == ".zip":
            return read_zip(source, SIDE_PX, choose)
    except OSError as error:
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    raise InputError(f"{source}: unknown form '{source.suffix}'; --data takes .zip, .csv, or a folder of class folders")
