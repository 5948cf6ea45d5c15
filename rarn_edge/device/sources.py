"""What the command line names - files, folders, patterns, videos, a camera, standard input - as one stream of pictures.

Pictures are decoded ahead in a thread, into a queue of a few places: memory stays flat however long a video is, and the
network does not wait for the disk.
"""

import glob
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.image_header import claimed_size_px, doubts
from rarn_edge.boundary.limits import MAX_FILE_BYTES, MAX_PIXELS
from rarn_edge.boundary.paths import exists, read_bytes, read_standard_input, require_file, shown
from rarn_edge.boundary.walk import is_hidden_name, walk
from rarn_edge.contract.preprocess import decode_colour, decode_gray
from rarn_edge.data.images import IMAGE_SUFFIXES
from rarn_edge.device.edit_list import frames_played
from rarn_edge.errors import InputError, RarnEdgeError, first_line

COUNTED_SUFFIXES = (".mp4", ".mov", ".m4v", ".avi")
"""Of videos that hold the number of their frames. Of others it is guessed from rate and length, and each frame has its time."""
VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".ts")
MEDIA_SUFFIXES = (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
STDIN = "-"
QUEUE_PLACES = 8
CROP_SIDE_PX = 256  # an image up to this side is taken for a face crop where nothing else is said


@dataclass(frozen=True)
class Picture:
    """One picture, or why there is none.

    pixels: [H, W] uint8 of a face crop, or [H, W, 3] uint8 (blue, green, red) of a photograph or a frame; None with `error`.
    frame, time_s: of a video or camera, else None. analysed: False for a frame that is only passed on to be drawn.
    """

    source: str
    pixels: NDArray[np.uint8] | None
    frame: int | None = None
    time_s: float | None = None
    error: str | None = None
    analysed: bool = True
    fps: float | None = None  # of its video
    notice: str | None = None  # what was left out of it


@dataclass(frozen=True)
class Reading:
    """How pictures are read."""

    crop: bool | None = None  # True: each is one face; False: none is; None: by its size
    colour: bool = False  # crops too come in colour (to draw on)
    every: int = 1  # frames
    max_fps: float | None = None
    pass_skipped: bool = False  # give the frames that are not analysed as well
    max_pixels: int = MAX_PIXELS


@dataclass(frozen=True)
class Video:
    """An opened video or camera."""

    name: str
    fps: float
    frames: int | None
    width_px: int
    height_px: int


def find_sources(arguments: Iterable[str]) -> list[str]:
    """Files, video files, cameras and `-`, with folders and patterns replaced by the images and videos they hold, sorted.

    Links to folders are followed. A pipe or a dead link with the name of an image is a source too: reading it says what it is.

    Raises:
        InputError: an argument that names nothing, or a folder without images or one that cannot be read.
    """
    found: list[str] = []
    for text in arguments:
        path = Path(text)
        try:
            if text == STDIN or (text.isdecimal() and not exists(path)):
                found.append(text)
            elif exists(path) and path.is_dir():
                if not (inside := _media_in(str(path))):
                    raise InputError(f"{path}: no images or videos in this folder")
                found += inside
            elif exists(path) or not (matches := sorted(glob.glob(text, recursive=True))):  # noqa: PTH207  # a Path globs no absolute pattern
                require_file(path, "give a file, a folder, a pattern, or a camera's number")
                found.append(text)
            else:
                if not (matched := _matched(matches)):
                    raise InputError(f"{text}: no images or videos in the folders of this pattern")
                found += matched
        except OSError as error:
            raise InputError(f"{shown(error.filename or text)}: cannot be read ({error.strerror})") from error
    return found


def _matched(paths: list[str]) -> list[str]:
    """The files among them and in the folders among them, each once: `photos/**` matches a file and the folders around it."""
    found: set[str] = set()
    for path in paths:
        if not Path(path).is_dir():
            found.add(path)
        elif not is_hidden_name(Path(path).name):
            found.update(_media_in(path))
    return sorted(found)


def _media_in(folder: str) -> list[str]:
    """Named as the folder was: `./photos` gives `./photos/a.png`."""
    names = [name for name in walk(folder) if Path(name).suffix.lower() in MEDIA_SUFFIXES]
    return sorted(os.path.join(folder, name) for name in names)  # noqa: PTH118  # a Path drops the `./`


def is_video(source: str) -> bool:
    return is_camera(source) or Path(source).suffix.lower() in VIDEO_SUFFIXES


def is_camera(source: str) -> bool:
    return source.isdecimal() and not exists(Path(source))


def read_pictures(sources: Iterable[str], reading: Reading) -> Iterator[Picture]:
    """The pictures of all sources in order; one that cannot be read comes with its `error` and the rest goes on."""
    for source in sources:
        try:
            if is_video(source):
                yield from _frames(source, reading)
            else:
                yield _image(source, reading)
        except RarnEdgeError as error:
            yield Picture(source, None, error=str(error))


def _image(source: str, reading: Reading) -> Picture:
    content = read_standard_input(MAX_FILE_BYTES) if source == STDIN else read_bytes(Path(source), MAX_FILE_BYTES)
    name = "standard input" if source == STDIN else source
    size = claimed_size_px(content)
    small = size is not None and max(size) <= CROP_SIDE_PX
    crop = small if reading.crop is None else reading.crop
    decode = decode_gray if crop and not reading.colour else decode_colour
    return Picture(source, decode(content, name, reading.max_pixels), notice=doubts(content, name))


def open_video(source: str) -> tuple[cv2.VideoCapture, Video]:
    """The capture and what it tells of itself; the caller releases it.

    Raises:
        InputError: no such camera, or not a readable video.
    """
    camera = is_camera(source)
    if not camera:
        require_file(Path(source))
    try:
        capture = cv2.VideoCapture(int(source)) if camera else cv2.VideoCapture(source)
        opened = capture.isOpened()
    except (cv2.error, ValueError, OverflowError) as error:  # a name that is not UTF-8; a number of 30 digits
        raise InputError(f"{shown(source)}: cannot be opened ({first_line(error)})") from error
    if not opened:
        if camera:
            raise InputError(f"camera {source}: there is none, or another program holds it; see: ls /dev/video*")
        raise InputError(f"{source}: cannot be read as a video")
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    return capture, Video(
        name=f"camera {source}" if camera else source,
        fps=fps if math.isfinite(fps) and 0 < fps <= 1000 else 25.0,  # a camera may answer 0, a damaged file anything
        frames=frames if 0 < frames < 10**9 else None,
        width_px=int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        height_px=int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


def _frames(source: str, reading: Reading) -> Iterator[Picture]:
    """Every frame that is to be analysed, by count and by rate, and the ones between them if asked for."""
    capture, video = open_video(source)
    live = is_camera(source)
    start_s = time.monotonic()
    number, due_s, before_s = 0, 0.0, 0.0
    counted = Path(source).suffix.lower() in COUNTED_SUFFIXES
    try:
        while capture.grab():
            time_s = time.monotonic() - start_s if live else number / video.fps
            if not live and not counted:
                time_s = max(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000, before_s)
            before_s = time_s
            analysed = number % reading.every == 0 and time_s >= due_s - 1e-9
            if analysed or reading.pass_skipped:
                ok, frame = capture.retrieve()
                if not ok:
                    break
                if analysed and reading.max_fps is not None:
                    due_s = max(due_s + 1 / reading.max_fps, time_s - 1 / reading.max_fps)
                yield Picture(
                    video.name, np.asarray(frame, dtype=np.uint8), number, time_s, analysed=analysed, fps=video.fps
                )
            number += 1
    except cv2.error as error:
        raise InputError(f"{video.name}: frame {number} cannot be decoded ({first_line(error)})") from error
    finally:
        capture.release()
    if number == 0:
        raise InputError(f"{video.name}: no frame can be decoded")
    if not counted or live or video.frames is None or number >= video.frames:
        return
    played = frames_played(Path(source), video.frames)
    if number < (planned := video.frames if played is None else played):
        raise InputError(f"{video.name}: ends after {number:,} of {planned:,} frames: it is damaged or cut short")


def ahead(pictures: Callable[[], Iterator[Picture]], places: int = QUEUE_PLACES) -> Iterator[Picture]:
    """The same pictures, decoded in a thread at most `places` ahead of whoever takes them."""
    line: queue.Queue[Picture | BaseException | None] = queue.Queue(places)
    stop = threading.Event()

    def put(item: Picture | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                line.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for picture in pictures():
                if not put(picture):
                    return
            put(None)
        except BaseException as error:  # it is raised again where the pictures are taken
            put(error)

    thread = threading.Thread(target=work, name="rarn-edge-decode", daemon=True)
    thread.start()
    try:
        while (item := line.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
