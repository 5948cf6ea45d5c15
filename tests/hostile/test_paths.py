"""What is no regular file is said to be what it is, at once; whatever the system refuses is one line and exit code 2."""

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime as ort
import pytest

from rarn_edge.boundary.edge import expected_error, run_command
from rarn_edge.boundary.paths import exists, read_bytes, read_text, require_file
from rarn_edge.boundary.terminal import SafeConsole
from rarn_edge.errors import InputError, first_line

from .conftest import TINY
from .walk import listening

Cli = Callable[..., subprocess.CompletedProcess[str]]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="pipes, links and devices of POSIX")


@POSIX
@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda _: None, "no such file; hint"),
        (lambda path: path.symlink_to("nowhere"), "is a link to nowhere, which does not exist"),
        (lambda path: path.symlink_to(path), "is a link that leads back to itself"),
        (os.mkfifo, "is a named pipe, where a regular file is needed"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, where a regular file is needed"),
        (listening, "is a socket, where a regular file is needed"),
        (lambda path: path.mkdir(), "is a folder, where a file is needed"),
    ],
)
def test_what_is_there_instead(make: Callable[[Path], object], text: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    make(path)
    started = time.monotonic()
    for call in (lambda: require_file(path, "hint"), lambda: read_text(path, hint="hint")):
        with pytest.raises(InputError, match=text):
            call()
    assert time.monotonic() - started < 1


def test_names_that_no_file_system_takes(tmp_path: Path) -> None:
    for name, text in (("n" * 300, "longer than a file system takes"), ("a\0b", "zero byte")):
        for call in (require_file, exists):
            with pytest.raises(InputError, match=text) as raised:
                call(tmp_path / name)
            assert len(str(raised.value)) < 500
    assert not exists(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert not exists(tmp_path / "file" / "below")
    with pytest.raises(InputError, match="no such file"):
        require_file(tmp_path / "file" / "below")


def test_a_folder_that_may_not_be_searched(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    """As root every folder may be, so the system's answer is played."""

    whole = Path.stat

    def refuse(self: Path, **_: object) -> os.stat_result:
        if "locked" in str(self):
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return whole(self)

    monkeypatch.setattr(Path, "stat", refuse)
    for command in (
        ("evaluate", "locked/x.onnx", "--data", "locked/x.zip"),
        ("predict", "locked/a.png", "--model", TINY),
        ("score", "locked/a", "-o", "x.csv", "--model", TINY),
        ("parity", "locked/x.onnx"),
        ("compare", "locked/a.json", "locked/b.json"),
        ("bench", "locked/x.onnx"),
        ("bundle", "locked/x.onnx", "-o", "out"),
        ("verify", "locked/x.rarn-parity", TINY),
    ):
        done = cli(*command)
        assert done.returncode == 2
        assert "a folder above it may not be searched" in done.stderr


def test_limits_of_size_and_encoding(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * 100)
    assert read_bytes(path, 100) == b"a" * 100
    with pytest.raises(InputError, match="100 bytes; 99 is the limit"):
        read_bytes(path, 99)
    path.write_bytes(b"ab\xff")
    with pytest.raises(InputError, match=r"is not UTF-8 text \(byte 2\)"):
        read_text(path)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (MemoryError(), "not enough memory"),
        (RecursionError("deep"), "nests too deeply"),
        (OSError(errno.ENOSPC, "No space left on device"), r"the output cannot be written \(No space left"),
        (OSError(errno.ENOSPC, "No space left on device", "x.json"), r"x\.json: No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", b"a\xff"), r"a\\xff: Permission denied"),
        (UnicodeEncodeError("utf-8", "a\udcff", 1, 2, "surrogates not allowed"), "not UTF-8"),
    ],
)
def test_errors_of_the_system_are_expected(error: Exception, text: str) -> None:
    found = expected_error(error)
    assert isinstance(found, InputError)
    with pytest.raises(InputError, match=text):
        raise found


def test_errors_of_onnx_runtime_are_expected_and_bugs_are_not() -> None:
    session = ort.InferenceSession(TINY)
    with pytest.raises(Exception, match="Got invalid dimensions") as raised:
        session.run(None, {"input": __import__("numpy").zeros((1, 1, 3, 3), dtype="float32")})
    found = expected_error(raised.value)
    assert isinstance(found, InputError)
    assert not str(found).startswith("[ONNXRuntimeError]")
    assert expected_error(KeyError("a bug")) is None
    assert expected_error(ZeroDivisionError()) is None


def test_a_reason_ends_at_a_word_and_knows_no_source_files() -> None:
    error = RuntimeError(
        "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Non-zero status code while running Reshape node. Status Message: "
        "/onnxruntime_src/core/reshape_helper.h:45 onnxruntime::ReshapeHelper::ReshapeHelper(const onnxruntime::TensorShape&, "
        "onnxruntime::TensorShapeVector&, bool) size == 0 was false. " + "words " * 60
    )
    line = first_line(error)
    assert line.startswith(
        "Non-zero status code while running Reshape node. Status Message: size == 0 was false. words"
    )
    assert line.endswith("words ...")
    assert len(line) < 210


# --- the streams of a real process ------------------------------------------------------------------------------------


def shell(command: str, limit_s: float = 60) -> subprocess.CompletedProcess[str]:
    line = command.replace("RARN", f"{sys.executable} -m rarn_edge")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=limit_s, check=False, env=environment
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /dev/full and bash")
@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("RARN models > /dev/full", 2, "error: the output cannot be written (No space left on device)"),
        ("RARN models --json > /dev/full", 2, "error: the output cannot be written (No space left on device)"),
        ("RARN models >&-", 2, "error: standard output: is closed"),
        ("RARN predict - <&-", 2, "standard input: is closed"),
        ("RARN predict - < /dev/zero", 2, "standard input: more than 67,108,864 bytes"),
        ("(RARN doctor --json; echo $? >&2) | true", 0, "141"),
    ],
)
def test_streams_that_are_closed_full_or_endless(command: str, code: int, text: str) -> None:
    done = shell(command)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert text in done.stderr
    assert done.returncode == code


@POSIX
def test_debug_shows_the_rest() -> None:
    done = shell("RARN --debug evaluate nowhere.onnx --data x")
    assert done.returncode == 2
    assert "FileNotFoundError" in done.stderr
    assert "error: nowhere.onnx: no such file" in done.stderr


def test_a_bug_has_a_code_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(**_options: object) -> None:
        raise KeyError("a bug")

    with pytest.raises(SystemExit) as stop:
        run_command(broken, SafeConsole(stderr=True), lambda: False)
    assert stop.value.code == 70
    assert "KeyError: 'a bug'" in capsys.readouterr().err
