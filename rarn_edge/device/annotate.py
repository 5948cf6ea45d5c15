"""Drawing what was found: boxes, the label with its confidence as a bar, and the attention mask; written as image or video."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.paths import shown
from rarn_edge.data.images import SUFFIXES
from rarn_edge.device.faces import crop_to_picture
from rarn_edge.device.predict import Answered, FaceAnswer
from rarn_edge.device.sources import STDIN, is_camera, is_video
from rarn_edge.errors import InputError, first_line
from rarn_edge.files import atomic, check_apart, check_outputs, make_folder

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".avi": "MJPG"}
OTHER_FILE = re.compile(r"\.[A-Za-z][A-Za-z0-9]{1,4}")  # the suffix of a file, where "run.2" or "faces.d" are folders
DRAW_SIDE_PX = 240  # smaller pictures are drawn larger, or the label would not fit
_INK = (40, 200, 40)  # blue, green, red
_UNSURE = (150, 150, 150)


def draw(pixels: NDArray[np.uint8], faces: Sequence[FaceAnswer], explain: bool = False) -> NDArray[np.uint8]:
    """A drawn copy [H, W, 3] uint8 of a picture [H, W] or [H, W, 3], doubled in size until a label fits."""
    colour = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else pixels.copy()
    canvas = np.asarray(colour, dtype=np.uint8)
    if explain:
        for answer in faces:
            canvas = _with_mask(canvas, answer)
    zoom = 1
    while min(canvas.shape[:2]) * zoom < DRAW_SIDE_PX and zoom < 16:
        zoom *= 2
    if zoom > 1:
        canvas = np.repeat(np.repeat(canvas, zoom, axis=0), zoom, axis=1)
    text_height_px = max(12, min(canvas.shape[:2]) // 30)
    scale = text_height_px / 22
    thick = max(1, round(scale * 2))
    for answer in faces:
        box, prediction = answer.face.box, answer.prediction
        ink = _UNSURE if prediction.abstained else _INK
        left, top = round(box.x_px * zoom), round(box.y_px * zoom)
        right, bottom = round((box.x_px + box.width_px) * zoom) - 1, round((box.y_px + box.height_px) * zoom) - 1
        cv2.rectangle(canvas, (left, top), (right, bottom), ink, thick)
        number = f"#{answer.track} " if answer.track is not None else ""
        label = f"{number}{'unsure' if prediction.abstained else prediction.label} {prediction.confidence:.0%}"
        (width_px, _), _ = cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, scale, thick)
        height_px = round(text_height_px * 1.6)
        x = min(max(left, 0), max(canvas.shape[1] - width_px - 6, 0))
        y = top - height_px if top >= height_px else max(0, min(bottom, canvas.shape[0]) - height_px)
        cv2.rectangle(canvas, (x, y), (x + width_px + 6, y + height_px), (0, 0, 0), -1)
        bar_px = round((width_px + 6) * prediction.confidence)
        cv2.rectangle(canvas, (x, y + height_px - max(2, thick)), (x + bar_px, y + height_px), ink, -1)
        baseline = (x + 3, y + round(text_height_px * 1.15))
        cv2.putText(canvas, label, baseline, cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), thick, cv2.LINE_AA)
    return np.asarray(canvas, dtype=np.uint8)


def _with_mask(canvas: NDArray[np.uint8], answer: FaceAnswer) -> NDArray[np.uint8]:
    """The attention mask laid over its face: red where the network looks, blue where it does not."""
    if answer.attention is None:
        return canvas
    side_px = answer.attention.shape[0]
    height_px, width_px = canvas.shape[:2]
    warp = crop_to_picture(answer.face, side_px)
    warp[:, 2] += warp[:, :2] @ np.array([0.5, 0.5]) - 0.5  # OpenCV counts from pixel centres
    low, high = float(answer.attention.min()), float(answer.attention.max())
    spread = (answer.attention - low) / max(high - low, 1e-6)
    mask = np.rint(spread * 255).astype(np.uint8)
    spread_out = cv2.warpAffine(
        mask, warp, (width_px, height_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    heat = cv2.applyColorMap(spread_out, cv2.COLORMAP_JET)
    inside = np.zeros((height_px, width_px), dtype=np.uint8)
    corners = crop_to_picture(answer.face, side_px) @ np.array(
        [[0, side_px, side_px, 0], [0, 0, side_px, side_px], [1, 1, 1, 1]]
    )
    cv2.fillPoly(inside, [np.rint(corners.T).astype(np.int32)], 1)
    blended = cv2.addWeighted(canvas, 0.6, heat, 0.4, 0)
    return np.where(inside[..., None] == 1, blended, canvas)


def write_image(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an image atomically.

    Raises:
        InputError: an unknown suffix, or it cannot be written (a full disk).
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(f"{path}: images are written as {', '.join(SUFFIXES)}")
    try:
        done, content = cv2.imencode(suffix, pixels)
    except cv2.error as error:
        raise InputError(f"{path}: cannot be encoded ({first_line(error)})") from error
    if not done:
        raise InputError(f"{path}: cannot be encoded as {suffix}")
    with atomic(path) as temporary:
        temporary.write_bytes(content.tobytes())


class VideoFile:
    """A video being written; `video_file` makes and finishes it."""

    def __init__(self, path: Path, shown: Path, fps: float) -> None:
        self._path, self._shown, self._fps = path, shown, fps
        self._writer: cv2.VideoWriter | None = None
        self.frames = 0

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Add one frame [H, W, 3]; the first one fixes the size."""
        if self._writer is None:
            code = cv2.VideoWriter.fourcc(*CODECS[self._shown.suffix.lower()])
            size = (pixels.shape[1], pixels.shape[0])
            self._writer = cv2.VideoWriter(str(self._path), code, self._fps, size)
            if not self._writer.isOpened():
                raise InputError(f"{self._shown}: OpenCV cannot write this video here")
        self._writer.write(pixels)
        self.frames += 1

    def finish(self) -> None:
        """Close the file and count its frames: OpenCV says nothing when the disk is full."""
        if self._writer is None:
            raise InputError(f"{self._shown}: there was no frame to write")
        self._writer.release()
        capture = cv2.VideoCapture(str(self._path))
        written = 0
        while capture.grab():  # the header tells what was planned, and keeps to it when the disk is full
            written += 1
        capture.release()
        if written != self.frames:
            raise InputError(
                f"{self._shown}: {written:,} of {self.frames:,} frames could be written; is the disk full?"
            )

    def release(self) -> None:
        if self._writer is not None:
            self._writer.release()


@contextmanager
def video_file(path: Path, fps: float) -> Iterator[VideoFile]:
    """A video that gets its name when it is whole.

    Raises:
        InputError: an unknown suffix, or not every frame could be written.
    """
    if path.suffix.lower() not in CODECS:
        raise InputError(f"{path}: videos are written as {', '.join(CODECS)}")
    with atomic(path) as temporary:
        video = VideoFile(temporary, path, fps)
        try:
            yield video
            video.finish()
        finally:
            video.release()


class Drawing:
    """The drawn copies of a run's pictures, each beside its like: a file where there is one source, else a folder of them."""

    def __init__(self, paths: Mapping[str, Path], explain: bool) -> None:
        self._paths, self._explain = paths, explain
        self._video: tuple[str, VideoFile] | None = None
        self._open = ExitStack()
        self._last: tuple[FaceAnswer, ...] = ()

    def add(self, answered: Answered) -> None:
        """Write one picture, or one frame; a frame that was not looked at is drawn with the faces of the one before.

        Raises:
            InputError: it cannot be written.
        """
        picture = answered.picture
        if picture.pixels is None:
            return
        if picture.frame is None:
            write_image(self._paths[picture.source], draw(picture.pixels, answered.faces, self._explain))
            return
        if self._video is None or self._video[0] != picture.source or picture.frame == 0:  # named twice: written anew
            self.finish()
            path = self._paths[picture.source]
            self._video = picture.source, self._open.enter_context(video_file(path, picture.fps or 25.0))
        if picture.analysed:
            self._last = answered.faces
        self._video[1].write(draw(picture.pixels, self._last, self._explain))

    def finish(self) -> None:
        """Close the current video, if any."""
        self._video, self._last = None, ()
        self._open.close()

    def abandon(self) -> None:
        """Drop the current video: half of it is not what was asked for."""
        self._open.__exit__(InputError, InputError("abandoned"), None)


def drawn_paths(out: Path, sources: Sequence[str]) -> dict[str, Path]:
    """Where the drawn copy of each source goes, by the name that its pictures carry: `out`, or files of their own in that folder.

    A source that is named twice has one copy.

    Raises:
        InputError: a file is named for several sources, or one that is neither a picture nor a video.
    """
    written, sources = (*SUFFIXES, *CODECS), tuple(dict.fromkeys(sources))  # one named twice is drawn alike
    is_file = out.suffix.lower() in written and not out.is_dir()
    if not is_file and OTHER_FILE.fullmatch(out.suffix) and not out.exists():
        raise InputError(
            f"--annotate {shown(out)}: drawn copies are {', '.join(written)}; for a folder of that name, make it first"
        )
    if is_file and len(sources) > 1:
        raise InputError(f"--annotate {out} is one file, for {len(sources):,} sources; name a folder")
    paths: dict[str, Path] = {}
    taken: set[Path] = set()
    for source in sources:
        name = f"camera {source}" if is_camera(source) else source
        if is_file:
            paths[name] = out
            continue
        own = "stdin" if source == STDIN else f"camera-{source}" if is_camera(source) else Path(source).name
        suffix = Path(own).suffix
        if suffix.lower() not in written:
            suffix = ".mp4" if is_video(source) else ".png"
        path, number = out / f"{Path(own).stem}{suffix}", 2
        while path in taken:
            path, number = out / f"{Path(own).stem}-{number}{suffix}", number + 1
        taken.add(path)
        paths[name] = path
    return paths


@contextmanager
def drawing(out: Path, sources: Sequence[str], explain: bool = False, walked: Sequence[str] = ()) -> Iterator[Drawing]:
    """Where drawn copies go; a video is there only once it is whole. `walked` are the folders named, in which sources were found.

    Raises:
        InputError: a file named for several sources, a copy that would replace a source or be one of the next call, or a place
            that cannot be written.
    """
    paths = drawn_paths(out, sources)
    copies = list(dict.fromkeys(paths.values()))
    check_apart(copies, sources, walked)  # a refusal leaves no folder behind
    if out not in copies:
        make_folder(out)
    check_outputs(copies)
    drawn = Drawing(paths, explain)
    try:
        yield drawn
    except BaseException:
        drawn.abandon()
        raise
    drawn.finish()
