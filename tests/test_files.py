"""Files appear whole or not at all, and a place that cannot be written is refused before any work."""

import os
import sys
from pathlib import Path

import pytest

from rarn_edge.errors import InputError
from rarn_edge.files import atomic, check_output, make_folder, write_text


def test_success_leaves_one_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with atomic(path) as temporary:
        assert temporary.parent == tmp_path  # the same disk: the rename is one step
        assert temporary.suffix == ".onnx"  # writers that go by the suffix see the right one
        temporary.write_bytes(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), SystemExit(1)])
def test_failure_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def write() -> None:
        with atomic(tmp_path / "model.onnx") as temporary:
            temporary.write_bytes(b"ha")
            raise error

    with pytest.raises(type(error)):
        write()
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def write() -> None:
        with atomic(path) as temporary:
            temporary.write_bytes(b"ne")
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_full_disk_is_one_line(tmp_path: Path) -> None:
    def write() -> None:
        with atomic(tmp_path / "x.onnx"):
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"x\.onnx: cannot be written \(No space left on device\)"):
        write()
    assert list(tmp_path.iterdir()) == []


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"x\.onnx: cannot be written"), atomic(tmp_path / "x.onnx"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_write_text_is_utf8_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    write_text(path, "old")
    write_text(path, "95 % ± 1")
    assert path.read_bytes().decode("utf-8") == "95 % ± 1"
    assert list(tmp_path.iterdir()) == [path]


def test_check_output_leaves_nothing_and_keeps_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    check_output(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    check_output(path)
    assert path.read_text() == "old"


def test_missing_folder_says_how_to_make_it(tmp_path: Path) -> None:
    path = tmp_path / "no" / "x.onnx"
    with pytest.raises(InputError, match="does not exist; make it first: mkdir -p"):
        check_output(path)
    with pytest.raises(InputError, match="does not exist"), atomic(path):
        pytest.fail("the body must not run")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder; name a file in it"):
        check_output(tmp_path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc, where nobody can write")
def test_unwritable_folder() -> None:
    with pytest.raises(InputError, match="cannot write in /proc/self"):
        check_output(Path("/proc/self/x.onnx"))
    with pytest.raises(InputError, match="cannot make this folder"):
        make_folder(Path("/proc/self/x"))


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root and Windows write there all the same")
def test_read_only_folder(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(InputError, match=r"cannot write in .* \(Permission denied\)"):
        check_output(folder / "x.onnx")


def test_make_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert make_folder(folder) == folder
    assert make_folder(folder).is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file: cannot make this folder"):
        make_folder(tmp_path / "file")
