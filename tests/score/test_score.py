"""Scoring: every kind of input, broken images, a run that is killed, and the engines against each other."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.decode import decode, encode
from rarn_edge.errors import InputError
from rarn_edge.score.parts import parts_folder
from rarn_edge.score.read import read_unit
from rarn_edge.score.run import score
from rarn_edge.score.units import Unit, plan
from rarn_edge.score.work import Job

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"
COUNT = 150


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    faces = synthetic_faces(20, seed=1).images
    return [cv2.imencode(".png", faces[i % 20])[1].tobytes() for i in range(COUNT)]


@pytest.fixture(scope="module")
def folder(images: list[bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    for index, content in enumerate(images):
        path = root / f"{index % 3}" / f"{index:04d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def run(inputs: list[Path], out: Path, rows_per_part: int = 40, workers: int = 1) -> list[dict[str, str]]:
    score([str(path) for path in inputs], out, TINY, workers=workers, rows_per_part=rows_per_part)
    return rows_of(out)


def test_rows_are_the_classifiers_answers(folder: Path, tmp_path: Path) -> None:
    rows = run([folder], tmp_path / "out.csv")
    assert [row["image"] for row in rows] == sorted(str(path) for path in folder.rglob("*.png"))
    answers = Classifier(TINY, threads=1).predict([row["image"] for row in rows])
    assert [row["label"] for row in rows] == [answer.label for answer in answers]
    found = [[float(row[f"p_{name}"]) for name in answers[0].classes] for row in rows]
    np.testing.assert_allclose(found, [answer.probabilities for answer in answers], atol=1e-6)
    assert not (tmp_path / "out.csv.parts").exists()


def test_zip_tar_and_folder_agree(images: list[bytes], folder: Path, tmp_path: Path) -> None:
    names = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.png"))]
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            archive.write(folder / name, name)
            tar.add(folder / name, name)
        archive.writestr("readme.txt", "no image")
    answers = [
        [(row["label"], row["confidence"]) for row in run([source], tmp_path / f"{index}.csv")]
        for index, source in enumerate([folder, tmp_path / "a.zip", tmp_path / "a.tar"])
    ]
    assert answers[0] == answers[1] == answers[2]
    assert len(answers[0]) == len(images)


def test_the_size_of_parts_changes_nothing(folder: Path, tmp_path: Path) -> None:
    assert run([folder], tmp_path / "a.csv", 7) == run([folder], tmp_path / "b.csv", 1000)


def test_processes_change_nothing(folder: Path, tmp_path: Path) -> None:
    assert run([folder], tmp_path / "a.csv", workers=2) == run([folder], tmp_path / "b.csv")


def test_broken_images_are_rows_with_a_reason(cli: Cli, images: list[bytes], tmp_path: Path) -> None:
    root = tmp_path / "mixed"
    root.mkdir()
    contents = {"a.png": images[0], "b.png": b"", "c.jpg": b"text", "d.png": images[1][:60], "e.png": images[2]}
    for name, content in contents.items():
        (root / name).write_bytes(content)
    done = cli("score", root, "-o", tmp_path / "out.csv", "--model", TINY, "--workers", 1, "--json")
    assert done.returncode == 2
    assert "3 of 5 images could not be read; their rows say why" in done.stderr
    assert json.loads(done.stdout)["failed"] == 3
    rows = rows_of(tmp_path / "out.csv")
    assert [bool(row["label"]) for row in rows] == [True, False, False, False, True]
    assert rows[1]["error"] == "the file is empty"
    assert "cannot be decoded" in rows[2]["error"]
    assert rows[4]["label"] == Classifier(TINY, threads=1).predict(images[2])[0].label
    assert rows[2]["confidence"] == rows[2]["p_happy"] == ""


def test_a_zip_that_wants_out_writes_nothing_outside(images: list[bytes], tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    with zipfile.ZipFile(inner / "evil.zip", "w") as archive:
        archive.writestr("../../evil.png", images[0])
        archive.writestr("/abs.png", images[0])
    rows = run([inner / "evil.zip"], inner / "out.csv")
    assert [row["error"] for row in rows] == ["", ""]
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["evil.zip", "out.csv"]


def test_a_killed_run_goes_on(folder: Path, tmp_path: Path) -> None:
    """Killed outright, workers and all, at three points; what comes out is what an undisturbed run gives."""
    expected = run([folder], tmp_path / "whole.csv", 5)
    out = tmp_path / "out.csv"
    code = (
        "import sys, time; from pathlib import Path; import rarn_edge.score.run as r\n"
        "real = r.score_unit\n"
        "def slow(unit, job):\n    time.sleep(0.05); return real(unit, job)\n"
        "r.score_unit = slow\n"
        "r.score([sys.argv[1]], Path(sys.argv[2]), Path(sys.argv[3]), workers=1, rows_per_part=5)\n"
    )
    parts = tmp_path / "out.csv.parts"
    seen = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", code, folder, out, TINY])
        deadline_s = time.monotonic() + 60
        while len(list(parts.glob("0*.csv"))) < seen + 3 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
        seen = len(list(parts.glob("0*.csv")))
        assert not out.exists()
    assert 9 <= seen < 30
    counted: list[int] = []
    scored = score([str(folder)], out, TINY, workers=1, rows_per_part=5, on_images=counted.append)
    assert scored.resumed.rows == 5 * seen
    assert counted == list(range(5 * seen + 5, COUNT + 1, 5))
    assert rows_of(out) == expected
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert not parts.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills by POSIX signals")
def test_workers_end_with_their_parent(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rarn_edge", "score", folder, "-o", tmp_path / "o.csv", "--model", TINY]
    child = subprocess.Popen([*command, "--workers", "2", "--rows-per-part", "1"], start_new_session=True)
    deadline_s = time.monotonic() + 60
    while len(list((tmp_path / "o.csv.parts").glob("0*.csv"))) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    while time.monotonic() < deadline_s:
        try:
            os.killpg(child.pid, 0)  # raises once the whole group is gone
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.killpg(child.pid, signal.SIGKILL)
    pytest.fail("workers outlived their parent")


def test_files_that_came_between_two_runs_are_not_lost(images: list[bytes], tmp_path: Path) -> None:
    root, out = tmp_path / "in", tmp_path / "out.csv"
    root.mkdir()
    for index in range(6):
        (root / f"{index}.png").write_bytes(images[index])
    stopped = [0]

    def stop(rows: int) -> None:
        stopped[0] = rows
        if rows >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score([str(root)], out, TINY, workers=1, rows_per_part=2, on_images=stop)
    (root / "00.png").write_bytes(images[7])  # sorted into the first part
    assert score([str(root)], out, TINY, workers=1, rows_per_part=2).resumed.rows == 0
    assert [Path(row["image"]).name for row in rows_of(out)] == ["0.png", "00.png", *(f"{i}.png" for i in range(1, 6))]


def test_parts_of_another_run_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def stop(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score([str(folder)], out, TINY, workers=1, rows_per_part=40, on_images=stop)
    with pytest.raises(InputError, match=r"parts of another run \(rows_per_part differs\)"):
        score([str(folder)], out, TINY, workers=1, rows_per_part=41)
    note = parts_folder(out) / "run.json"
    note.write_text(json.dumps({**json.loads(note.read_text()), "provider": "cuda"}))
    with pytest.raises(InputError, match=r"parts of another run \(provider differs\)"):
        score([str(folder)], out, TINY, workers=1, rows_per_part=40)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none", None, "no such file or folder"),
        ("x.zip", b"not a zip", "cannot be read as zip"),
        ("x.tar", b"not a tar", "cannot be read as tar"),
        ("x.tar.gz", b"", r"a compressed tar .* give a plain \.tar or a \.zip"),
        ("x.docx", b"", "unknown kind"),
        ("empty", "folder", "no images in it"),
    ],
)
def test_inputs_that_cannot_be_used(name: str, content: bytes | str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        run([path], tmp_path / "out.csv")
    assert not (tmp_path / "out.csv.parts").exists()


def test_outputs_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"results are written as \.parquet or \.csv"):
        run([folder], tmp_path / "out.xlsx")
    with pytest.raises(InputError, match="does not exist"):
        run([folder], tmp_path / "no" / "out.csv")
    (tmp_path / "out.csv.parts").mkdir()
    (tmp_path / "out.csv.parts" / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="is in the way"):
        run([folder], tmp_path / "out.csv")
    assert (tmp_path / "out.csv.parts" / "mine.txt").read_text() == "precious"


def test_units_travel_as_text(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder / "0", "0")
    for unit in plan([str(folder), str(tmp_path / "a.tar")], 40, "image"):
        assert decode(Unit, json.loads(json.dumps(encode(unit)))) == unit


def test_a_tar_is_read_where_the_system_has_no_pread(
    images: list[bytes], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Windows."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(folder / "0", "0")
    monkeypatch.delattr(os, "pread", raising=False)
    (unit,) = plan([str(tmp_path / "a.tar")], COUNT, "image")
    assert [content for _, content in read_unit(unit, "image", Path())] == images[::3]
    cut = replace(unit, offsets=(*unit.offsets[:-1], (unit.offsets[-1][0], 10**6)))
    *whole, (_, last) = read_unit(cut, "image", Path())
    assert [content for _, content in whole] == images[::3][:-1]
    assert "the tar ends before this entry does" in str(last)


@pytest.mark.parametrize("loose", [False, True])
def test_a_replaced_image_makes_another_unit(images: list[bytes], tmp_path: Path, loose: bool) -> None:
    image = tmp_path / "a.png"
    digests = []
    for content, changed_ns in ((images[0], 0), (images[1], 0), (images[1], 10**9)):
        image.write_bytes(content)
        os.utime(image, ns=(changed_ns, changed_ns))
        (unit,) = plan([str(image if loose else tmp_path)], 40, "image")
        digests.append(unit.digest)
    assert len(images[0]) != len(images[1])
    assert len(set(digests)) == 3


def test_parquet_in_and_out(images: list[bytes], folder: Path, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    contents = [path.read_bytes() for path in sorted(folder.rglob("*.png"))]
    contents[3] = None  # type: ignore[call-overload]  # a row without an image
    plain = pyarrow.table({"image": pyarrow.array(contents, pyarrow.binary()), "other": list(range(COUNT))})
    nested = pyarrow.table({"image": [{"bytes": content, "path": None} for content in contents]})
    parquet.write_table(plain, tmp_path / "plain.parquet", row_group_size=64)
    parquet.write_table(nested, tmp_path / "nested.parquet")
    expected = [row["label"] or None for row in run([folder], tmp_path / "x.csv")]
    expected[3] = None
    for name in ("plain", "nested"):
        out = tmp_path / f"{name}.out.parquet"
        scored = score([str(tmp_path / f"{name}.parquet")], out, TINY, workers=1, rows_per_part=10)
        assert (scored.counts.rows, scored.counts.failed) == (len(images), 1)
        table = parquet.read_table(out)
        assert table.column("label").to_pylist() == expected
        assert table.column("error").to_pylist()[3] == "no bytes in this row"
        assert table.column("confidence").to_pylist()[3] is None
    with pytest.raises(InputError, match="no column 'picture'; it has image, other"):
        score([str(tmp_path / "plain.parquet")], tmp_path / "o.csv", TINY, workers=1, column="picture")
    with pytest.raises(InputError, match="column 'other' holds int64"):
        score([str(tmp_path / "plain.parquet")], tmp_path / "o.csv", TINY, workers=1, column="other")


def test_small_parts_share_a_row_group(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("rarn_edge.score.parts.ROWS_PER_GROUP", 64)
    out = tmp_path / "out.parquet"
    score([str(folder)], out, TINY, workers=1, rows_per_part=20)
    file = parquet.ParquetFile(out)
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [80, 70]
    assert file.read(["image"])["image"].to_pylist() == sorted(str(path) for path in folder.rglob("*.png"))


def test_ray_gives_the_same_file(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="the extra ray is not installed")
    run([folder], tmp_path / "local.csv", workers=2)
    score([str(folder)], tmp_path / "ray.csv", TINY, workers=2, engine="ray", rows_per_part=40)
    assert (tmp_path / "ray.csv").read_bytes() == (tmp_path / "local.csv").read_bytes()


def test_a_lost_worker_is_said_and_nothing_is_lost(folder: Path, tmp_path: Path) -> None:
    from rarn_edge.score import run as module

    job = Job(str(TINY), str(tmp_path / "gone"), ".csv", "image", "cpu", 10**6, str(tmp_path))
    with pytest.raises(InputError, match="gone"):  # its folder is not there: the worker's error arrives here whole
        list(module._run_pool(plan([str(folder)], 200, "image"), job, 1))


@pytest.mark.parametrize("photos", [False, True])
def test_what_is_left_out_of_an_animation_is_said(cli: Cli, photos: bool, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(face, cv2.COLOR_GRAY2BGRA) for face in synthetic_faces(3, seed=1).images]
    animation.durations = np.full(3, 100, dtype=np.int32)
    assert cv2.imwriteanimation(str(folder / "a.webp"), animation)
    assert cv2.imwrite(str(folder / "b.png"), synthetic_faces(1, seed=1).images[0])
    options = ["--photos"] if photos else []
    done = cli("score", folder, "-o", tmp_path / "out.csv", "--model", TINY, "--workers", 1, *options)
    assert done.returncode == 0, done.stderr
    assert "1 images with a notice: animated" in " ".join(done.stderr.split())
    notices = [row["notice"] for row in rows_of(tmp_path / "out.csv")]
    assert notices == ["an animated WebP; only its first picture is read", ""]


def test_a_photograph_taken_as_one_face_is_said(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert cv2.imwrite(str(folder / "a.png"), np.zeros((300, 400), np.uint8))
    (folder / "b.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(100))
    done = cli("score", folder, "-o", tmp_path / "out.csv", "--model", TINY, "--workers", 1)
    assert done.returncode == 2
    assert "1 of 2 images could not be read" in done.stderr
    photo, heic = rows_of(tmp_path / "out.csv")
    assert photo["notice"] == "400 x 300 pixels, taken as one face; --photos finds the faces in photographs"
    assert heic["error"].startswith("cannot be decoded as an image; convert, repair or remove it")


def test_a_damaged_archive_says_where(images: list[bytes], tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        for index in range(4):
            (tmp_path / f"{index}.png").write_bytes(images[index])
            archive.write(tmp_path / f"{index}.png", f"{index}.png")
            tar.add(tmp_path / f"{index}.png", f"{index}.png")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    third = [at for at in range(len(content)) if content[at : at + 4] == b"PK\x01\x02"][2]
    content[third : third + 2] = b"??"
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: cannot be read as zip .*damaged after 1\.png"):
        run([tmp_path / "a.zip"], tmp_path / "out.csv")
    content = bytearray((tmp_path / "a.tar").read_bytes())
    with tarfile.open(tmp_path / "a.tar") as tar:
        header = tar.getmembers()[2].offset
    content[header : header + 512] = bytes(b"?" * 512)
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tar: cannot be read as tar .*after entry 1\.png"):
        run([tmp_path / "a.tar"], tmp_path / "out.csv")
