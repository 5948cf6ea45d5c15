"""Files in sorted order, however many there are."""

import os
import tracemalloc
from pathlib import Path

import pytest

from rarn_edge.boundary import walk as module
from rarn_edge.boundary.walk import in_order, walk


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 100, 105])
def test_names_come_as_sorted_gives_them(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_IN_MEMORY", 10)
    odd = ["line\nend", os.fsdecode(b"no text \xff"), "ä", "\u2028", '"', ""]
    names = [f"{number * 37 % 101}{odd[number % len(odd)]}" for number in range(count)]
    assert list(in_order(names)) == sorted(names)


def test_memory_does_not_grow_with_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "NAMES_IN_MEMORY", 1000)

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in in_order(f"{number * 7919 % count:09d}.png" for number in range(count))) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak_bytes(20_000) < peak_bytes(2_000) + 500_000  # a list of 20,000 names takes 1.4 MB


def test_folders_come_after_files_and_hidden_ones_never(tmp_path: Path) -> None:
    for name in (
        "b/1.png",
        "a/c/2.png",
        "a/1.png",
        "z.png",
        ".hidden.png",
        ".git/x.png",
        "a/__MACOSX/y.png",
        "@eaDir/x.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    assert list(walk(str(tmp_path))) == ["z.png", "a/1.png", "a/c/2.png", "b/1.png", "link/1.png"]


def test_links_that_lead_nowhere_are_files(tmp_path: Path) -> None:
    (tmp_path / "dead.png").symlink_to("nowhere")
    (tmp_path / "loop.png").symlink_to("loop.png")
    assert list(walk(str(tmp_path))) == ["dead.png", "loop.png"]


def test_a_link_to_a_folder_above_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("1.png", "a/2.png", "a/b/3.png"):
        (tmp_path / name).touch()
    (tmp_path / "a" / "b" / "up").symlink_to(tmp_path / "a")
    (tmp_path / "here").symlink_to(tmp_path)
    assert list(walk(str(tmp_path))) == ["1.png", "a/2.png", "a/b/3.png"]
