"""`predict --show` with a window that only pretends, and without a display."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace

import cv2
import numpy as np
import pytest

from rarn_edge.data.synthetic import synthetic_faces

Cli = Callable[..., subprocess.CompletedProcess[str]]


class Screen:
    """What a person would see, and does: `press` is asked at each update whether a key is pressed, and which."""

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.titles: list[str] = []
        self.size = (1920, 1080)
        self.press: Callable[[], str | None] = lambda: "<Key>"
        self.gone = False
        self.bound: dict[str, Callable[..., None]] = {}

    def module(self) -> ModuleType:
        module = ModuleType("tkinter")
        screen = self

        class Tk:
            def protocol(self, _name: str, call: Callable[[], None]) -> None:
                screen.bound["close"] = lambda _event=None: call()

            def bind(self, name: str, call: Callable[..., None]) -> None:
                screen.bound[name] = call

            def title(self, text: str) -> None:
                screen.titles.append(text)

            def winfo_screenwidth(self) -> int:
                return screen.size[0]

            def winfo_screenheight(self) -> int:
                return screen.size[1]

            def update(self) -> None:
                if (key := screen.press()) is not None:
                    screen.bound[key](None)

            def destroy(self) -> None:
                screen.gone = True

        def photo(master: object, data: bytes, format: str) -> np.ndarray:  # noqa: A002  # tkinter's own name
            assert isinstance(master, Tk)
            assert format == "ppm"
            return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)

        label = SimpleNamespace(pack=lambda: None, configure=lambda image: screen.shown.append(image))
        module.__dict__.update(Tk=Tk, TclError=RuntimeError, PhotoImage=photo, Label=lambda _root: label)
        return module


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    made = Screen()
    monkeypatch.setitem(sys.modules, "tkinter", made.module())
    return made


@pytest.fixture
def crops(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in "abc"]
    for path, pixels in zip(paths, synthetic_faces(3, seed=0).pixels, strict=True):
        cv2.imwrite(str(path), pixels)
    return paths


def test_each_picture_waits_for_a_key(cli: Cli, screen: Screen, crops: list[Path]) -> None:
    # the first key of a picture comes while it is put up, and is not yet an answer to it
    asked = iter([None, "<Key>"] * 3)
    screen.press = lambda: next(asked)
    done = cli("predict", *crops, "--model", "rarn-n", "--show")
    assert done.returncode == 0, done.stderr
    assert [image.shape for image in screen.shown] == [(384, 384, 3)] * 3
    assert [Path(title.split(":")[0]).name for title in screen.titles] == ["a.png", "b.png", "c.png"]
    assert len(done.stdout.splitlines()) == 4
    assert screen.gone


@pytest.mark.parametrize("key", ["<Escape>", "close"])
def test_closing_the_window_ends_the_run(cli: Cli, screen: Screen, crops: list[Path], key: str) -> None:
    screen.press = lambda: key
    done = cli("predict", *crops, "--model", "rarn-n", "--show")
    assert done.returncode == 0, done.stderr
    assert len(screen.shown) == 1
    assert screen.gone


def test_frames_of_a_video_do_not_wait(cli: Cli, screen: Screen, tmp_path: Path) -> None:
    video = cv2.VideoWriter(str(tmp_path / "v.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(5):
        video.write(np.full((64, 64, 3), 90, np.uint8))
    video.release()
    screen.press = lambda: None
    done = cli("predict", tmp_path / "v.avi", "--model", "rarn-n", "--show", "--crop", "--every", "2")
    assert done.returncode == 0, done.stderr
    assert len(screen.shown) == 5  # those between are shown with the faces of the one before


def test_a_picture_is_made_to_fit_the_screen(cli: Cli, screen: Screen, crops: list[Path]) -> None:
    screen.size = (200, 1000)
    asked = iter([None, "<Key>"])
    screen.press = lambda: next(asked)
    assert cli("predict", crops[0], "--model", "rarn-n", "--show", "--annotate", crops[0].parent / "o").returncode == 0
    assert screen.shown[0].shape == (180, 180, 3)
    assert (crops[0].parent / "o" / "a.png").is_file()


@pytest.mark.parametrize(
    ("module", "said"),
    [(None, "no tkinter"), ("no display", "no display for --show")],
    ids=["no tkinter", "no display"],
)
def test_without_a_window_it_is_said(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, screen: Screen, crops: list[Path], module: str | None, said: str
) -> None:
    def refuse() -> None:
        raise RuntimeError("no display name and no $DISPLAY environment variable")

    fake = None if module is None else screen.module()
    if fake is not None:
        fake.Tk = refuse
    monkeypatch.setitem(sys.modules, "tkinter", fake)  # None: the import fails
    done = cli("predict", crops[0], "--model", "rarn-n", "--show")
    assert done.returncode == 2
    assert said in done.stderr
    assert "--annotate OUT" in done.stderr
