"""Work in progress belongs to one run: others are told, damage is found and made good, and nobody's files are removed."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rarn_edge.bench.record import Journal
from rarn_edge.board.make import make_bundle
from rarn_edge.boundary.lock import locked
from rarn_edge.device.annotate import VideoFile, video_file
from rarn_edge.errors import InputError
from rarn_edge.score.run import Scored, score

from .conftest import TINY, contents

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def stopped(crops: Path, out: Path, after: int) -> None:
    """A run that was ended after so many rows."""

    def stop(rows: int) -> None:
        if rows >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score([str(crops)], out, TINY, workers=1, rows_per_part=1, on_images=stop)


def again(crops: Path, out: Path) -> Scored:
    return score([str(crops)], out, TINY, workers=1, rows_per_part=1)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize(
    "damage", [lambda content: content[: len(content) // 2], lambda content: content[:-1] + b"!", lambda _: b""]
)
def test_a_damaged_part_is_named_and_scored_again(
    crops: Path, suffix: str, damage: Callable[[bytes], bytes], tmp_path: Path, cli: Cli
) -> None:
    expected, out = tmp_path / f"whole.{suffix}", tmp_path / f"out.{suffix}"
    again(crops, expected)
    stopped(crops, out, 3)
    part = sorted((tmp_path / f"out.{suffix}.parts").glob("0*"))[1]
    part.write_bytes(damage(part.read_bytes()))
    words = ("--model", TINY, "--workers", "1", "--rows-per-part", "1")
    done = cli("score", crops, "-o", out, *words)
    assert done.returncode == 0, done.stderr
    assert f"{part.name} was damaged and is scored again" in done.stderr
    assert out.read_bytes() == expected.read_bytes()


def test_files_of_others_stay(crops: Path, tmp_path: Path, cli: Cli) -> None:
    out = tmp_path / "out.csv"
    stopped(crops, out, 2)
    parts = tmp_path / "out.csv.parts"
    mine = {"notes.txt": b"precious", "00000001.csv": b"mine", "0000000x.aaaaaaaaaa.1.0.00000000.csv": b"mine too"}
    for name, content in mine.items():
        (parts / name).write_bytes(content)
    (parts / "00000007.0123456789.1.0.00000000.csv").mkdir()
    done = cli("score", crops, "-o", out, "--model", TINY, "--workers", "1", "--rows-per-part", "1")
    assert done.returncode == 0, done.stderr
    assert "stays: it holds" in done.stderr
    assert contents(parts) == mine
    assert len(out.read_text().splitlines()) == 5


def test_two_runs_to_one_table(crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    (tmp_path / "out.csv.parts").mkdir()
    with (
        locked(tmp_path / "out.csv.parts" / "lock", out),
        pytest.raises(InputError, match="another run is writing this"),
    ):
        again(crops, out)
    assert again(crops, out).counts.rows == 4
    assert not (tmp_path / "out.csv.parts").exists()


@POSIX
def test_a_lock_ends_with_its_holder(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from rarn_edge.boundary.lock import locked\n"
        "with locked(Path(sys.argv[1]), Path('out')):\n    print('held', flush=True); time.sleep(60)\n"
    )
    path = tmp_path / "lock"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="out: another run is writing this"), locked(path, Path("out")):
            pytest.fail("held twice")
        child.send_signal(signal.SIGKILL)
        child.wait()
        with locked(path, Path("out")):
            assert path.exists()


def test_parts_removed_under_way(crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def remove(_: int) -> None:
        for path in (tmp_path / "out.csv.parts").glob("0*"):
            path.unlink()

    with pytest.raises(InputError, match="is gone; run the same command again"):
        score([str(crops)], out, TINY, workers=1, rows_per_part=1, on_images=remove)
    assert not out.exists()
    assert again(crops, out).counts.rows == 4


@pytest.mark.parametrize("note", ["[]", "{", '{"model_sha256": NaN}', "[" * 5000, ""])
def test_a_note_that_nobody_wrote(crops: Path, note: str, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    stopped(crops, out, 2)
    (tmp_path / "out.csv.parts" / "run.json").write_text(note)
    with pytest.raises(InputError, match=r"run\.json is damaged; remove the folder to start again"):
        again(crops, out)


def test_two_benchmarks_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json.partial"
    journal = Journal(path)
    journal.write(a=1)
    with pytest.raises(InputError, match="another run is writing this"):
        Journal(path)
    assert json.loads(path.read_text()) == {"a": 1}
    journal.close()
    Journal(path).close()
    assert path.read_text() == ""


def test_a_video_is_whole_or_not_there(tmp_path: Path) -> None:
    import numpy as np

    def cut() -> None:
        with video_file(tmp_path / "o.avi", 5) as video:
            for index in range(20):
                video.write(np.full((64, 64, 3), 10 * index, dtype=np.uint8))
            assert video._writer is not None
            video._writer.release()
            content = video._path.read_bytes()
            video._path.write_bytes(
                content[: len(content) // 2]
            )  # as a full disk leaves it: the header tells of all frames

    with pytest.raises(InputError, match=r"of 20 frames could be written; is the disk full\?"):
        cut()
    assert list(tmp_path.iterdir()) == []
    with video_file(tmp_path / "o.avi", 5) as video:
        assert isinstance(video, VideoFile)
        for _ in range(3):
            video.write(np.zeros((64, 64, 3), dtype=np.uint8))
    assert (tmp_path / "o.avi").is_file()


@POSIX
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_bundle_that_was_killed_leaves_no_folder(how: signal.Signals, tmp_path: Path) -> None:
    """SIGTERM unwinds; what SIGKILL leaves is removed by the next run for the same output."""
    code = (
        "import sys, time; sys.argv = ['rarn-edge', 'bundle', sys.argv[1], '-o', sys.argv[2]]\n"
        "import rarn_edge.board.make as make; from rarn_edge.cli import main\n"
        "make._write_check = lambda *_: (print('there', flush=True), time.sleep(60))[0]\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(TINY), str(tmp_path / "board")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"there\n"
        assert [path.name for path in tmp_path.iterdir()] != []
        child.send_signal(how)
        assert child.wait() in (143, -9)
    if how is signal.SIGKILL:
        make_bundle(TINY, tmp_path / "board")
    assert [path.name for path in tmp_path.iterdir()] == ([] if how is signal.SIGTERM else ["board"])


@POSIX
def test_ctrl_c_while_workers_start(crops: Path, tmp_path: Path) -> None:
    """The whole group gets it, as from a terminal; workers that are still importing say nothing."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rarn_edge", "score", crops, "-o", tmp_path / "o.csv", "--model", TINY]
    child = subprocess.Popen(
        [*map(str, command), "--workers", "2"],
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
        start_new_session=True,
    )
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "o.csv.parts" / "run.json").exists() and time.monotonic() < deadline_s:
        time.sleep(0.01)
    time.sleep(0.15)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert "Traceback" not in error
    assert child.returncode in (0, 130)


@pytest.mark.parametrize(
    "change", [{"identity": {}}, {"identity": []}, {"history": [{"epoch": 1}]}, {"model": {}}, "no history"]
)
def test_a_checkpoint_of_other_content(
    cli: Cli, change: object, weights_file: Path, faces_folder: Path, tmp_path: Path
) -> None:
    import torch

    run = tmp_path / "run"
    words = ("train", "--data", faces_folder, "--out", run, "--model", "rarn-n", "--epochs", "1", "--threads", "1")
    done = cli(*words, "--batch", "32", "--init", weights_file)
    assert done.returncode == 0, done.stderr
    state = torch.load(run / "last.pt", weights_only=True)
    if isinstance(change, dict):
        state |= change
    else:
        del state["history"]
    torch.save(state, run / "last.pt")
    done = cli(*words, "--batch", "32", "--init", weights_file, "--resume")
    assert done.returncode == 2, done.stderr
    assert "last.pt" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_before_the_first_checkpoint(
    cli: Cli, faces_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rarn_edge.workflow.train.load_as_seen", interrupt)
    done = cli("train", "--data", faces_folder, "--out", tmp_path / "run", "--model", "rarn-n")
    assert done.returncode == 130
    assert "stopped before the first checkpoint; start again" in done.stderr
    assert "--resume" not in done.stderr


def test_a_disk_that_fills_during_a_benchmark(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def full(data: object, indent: int | None = None) -> str:
        written.append(indent)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return json.dumps(data)

    monkeypatch.setattr("rarn_edge.bench.record.to_json", full)
    options = ("--rounds", "3", "--starts", "1", "--no-memory", "--threads", "1")
    done = cli("bench", TINY, "-o", tmp_path / "x.json", *options)
    assert done.returncode == 2
    assert "error: the output cannot be written (No space left on device)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x.json").exists()
