"""A window with the drawn pictures, by tkinter: the OpenCV that this package needs has none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from rarn_edge.device.annotate import draw
from rarn_edge.device.predict import Answered, FaceAnswer
from rarn_edge.errors import InputError

if TYPE_CHECKING:
    import tkinter as tk

SHARE = 0.9  # of the screen that a picture takes at most
_POLL_S = 0.02
_INSTEAD = "--annotate OUT writes what it would show"


class Window:
    """Shows one picture at a time: a photograph until a key is pressed, a frame until the next. Closing it ends the run."""

    def __init__(self, root: "tk.Tk", explain: bool) -> None:
        import tkinter as tk

        self._root, self._explain = root, explain
        self._label = tk.Label(root)
        self._label.pack()
        self._photo: tk.PhotoImage | None = None  # tkinter itself keeps no reference
        self._open, self._waiting = True, False
        self._last: tuple[FaceAnswer, ...] = ()
        root.protocol("WM_DELETE_WINDOW", self._close)
        root.bind("<Escape>", lambda _event: self._close())
        root.bind("<Key>", lambda _event: self._go_on())
        root.bind("<Button-1>", lambda _event: self._go_on())

    def _close(self) -> None:
        self._open = False

    def _go_on(self) -> None:
        self._waiting = False

    def show(self, answered: Answered) -> bool:
        """Show one picture; a frame that was not looked at has the faces of the one before. False: the window was closed."""
        picture = answered.picture
        if picture.pixels is None or not self._open:
            return self._open
        if picture.frame is None or picture.analysed:
            self._last = answered.faces
        self._put(draw(picture.pixels, self._last, self._explain))
        self._root.title(
            f"{picture.source}: any key for the next, Escape to end" if picture.frame is None else picture.source
        )
        self._root.update()
        self._waiting = picture.frame is None
        while self._waiting and self._open:
            time.sleep(_POLL_S)
            self._root.update()
        return self._open

    def _put(self, pixels: NDArray[np.uint8]) -> None:
        """[H, W, 3] uint8, made smaller where the screen is."""
        import tkinter as tk

        height_px, width_px = pixels.shape[:2]
        room = (SHARE * self._root.winfo_screenwidth() / width_px, SHARE * self._root.winfo_screenheight() / height_px)
        if (scale := min(room)) < 1:
            size = (max(1, int(width_px * scale)), max(1, int(height_px * scale)))
            pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self._photo = tk.PhotoImage(master=self._root, data=cv2.imencode(".ppm", pixels)[1].tobytes(), format="ppm")
        self._label.configure(image=self._photo)


@contextmanager
def window(explain: bool = False) -> Iterator[Window]:
    """An open window; it is gone at the end.

    Raises:
        InputError: this Python has no tkinter, or there is no display.
    """
    try:
        import tkinter as tk
    except ImportError as error:
        raise InputError(f"this Python has no tkinter, which --show needs; {_INSTEAD}") from error
    try:
        root = tk.Tk()
    except tk.TclError as error:
        raise InputError(f"there is no display for --show; {_INSTEAD}") from error
    try:
        yield Window(root, explain)
    finally:
        root.destroy()
