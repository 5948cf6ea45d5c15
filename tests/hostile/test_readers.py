"""Readers have limits: pixels, bytes, depth, digits, rows, threads; what is beyond them is refused before memory is taken."""

import contextlib
import io
import json
import re
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from rarn_edge.bench.sane import load_sane_report
from rarn_edge.boundary.documents import MAX_DEPTH, parse_json, parse_npy, parse_toml
from rarn_edge.boundary.image_header import claimed_size_px, doubts
from rarn_edge.contract.preprocess import decode_gray
from rarn_edge.data import load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.score.run import score
from rarn_edge.score.units import plan

from .conftest import TINY
from .walk import giant_png, jpeg, negative_tar, png, safetensors, zip_of

Cli = Callable[..., subprocess.CompletedProcess[str]]
ROOT = Path(__file__).parents[2]


# --- images -----------------------------------------------------------------------------------------------------------


def test_one_limit_for_every_path_into_a_decoder(cli: Cli, tmp_path: Path) -> None:
    giant = giant_png()
    with pytest.raises(InputError, match="30,000 x 30,000 pixels, more than the limit"):
        decode_gray(giant, "x")
    (tmp_path / "x.png").write_bytes(giant)
    (tmp_path / "x.zip").write_bytes(zip_of({"happy/x.png": giant}))
    for command in (
        ("evaluate", TINY, "--data", tmp_path / "x.zip"),
        ("predict", tmp_path / "x.png", "--model", TINY, "--crop"),
        ("score", tmp_path / "x.png", "-o", tmp_path / "x.csv", "--model", TINY, "--workers", "1"),
    ):
        done = cli(*command)
        assert done.returncode == 2
        said = done.stderr + ((tmp_path / "x.csv").read_text() if command[0] == "score" else "")
        assert "30,000 x 30,000 pixels" in said


@pytest.mark.parametrize("suffix", [".jp2", ".pgm", ".ppm", ".pam", ".pfm", ".hdr", ".ras", ".exr"])
def test_formats_whose_size_is_not_read_are_not_decoded(suffix: str) -> None:
    image = synthetic_faces(1, seed=1).images[0]
    pixels = (image.astype(np.float32) / 255) if suffix in (".pfm", ".hdr", ".exr") else image
    try:
        if suffix in (".hdr", ".ppm"):
            pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
        done, content = cv2.imencode(suffix, pixels)
    except cv2.error:
        pytest.skip("this OpenCV does not write it")
    assert done
    with pytest.raises(InputError, match="no readable header of PNG, JPEG, GIF, BMP, WebP or TIFF"):
        decode_gray(content.tobytes(), "x")


def test_a_jpeg_with_garbage_between_its_segments() -> None:
    whole = jpeg()
    for garbage in (b"garbage" * 20, b"\0" * 7, b"\xff\xff\xff", b"\xff\0\xff\0"):
        content = whole[:2] + garbage + whole[2:]
        assert claimed_size_px(content) == (48, 48)
        if cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_GRAYSCALE) is not None:
            assert decode_gray(content, "x").shape == (48, 48)
    large = cv2.imencode(".jpg", np.zeros((300, 200), dtype=np.uint8))[1].tobytes()
    with pytest.raises(InputError, match="200 x 300 pixels"):
        decode_gray(large[:2] + b"garbage" + large[2:], "x", max_pixels=10_000)


def test_an_os2_bitmap_has_its_real_size() -> None:
    """Its header has 12 bytes and sides of 16 bits."""
    pixels = np.arange(12, dtype=np.uint8).reshape(4, 3)
    rows = b"".join(bytes(np.repeat(row, 3)).ljust(12, b"\0") for row in pixels[::-1])
    content = b"BM" + struct.pack("<IHHIIHHHH", 26 + len(rows), 0, 0, 26, 12, 3, 4, 1, 24) + rows
    assert claimed_size_px(content) == (3, 4)
    np.testing.assert_allclose(decode_gray(content, "x"), pixels, atol=1)


def animated_webp() -> bytes:
    frames = [synthetic_faces(1, seed=seed).images[0] for seed in range(2)]
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in frames]
    animation.durations = [100, 100]
    done, content = cv2.imencodeanimation(".webp", animation)
    assert done
    return bytes(content.tobytes())


def animated_png() -> bytes:
    frames = [synthetic_faces(1, seed=seed).images[0] for seed in range(2)]
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR) for frame in frames]
    animation.durations = [100, 100]
    done, content = cv2.imencodeanimation(".png", animation)
    assert done
    return bytes(content.tobytes())


def pages_tiff() -> bytes:
    done, content = cv2.imencodemulti(".tiff", [synthetic_faces(1, seed=seed).images[0] for seed in range(2)])
    assert done
    return bytes(content.tobytes())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (animated_webp, "an animated WebP; only its first picture is read"),
        (animated_png, "an animated PNG; only its first picture is read"),
        (pages_tiff, "a TIFF of several pages; only its first picture is read"),
        (lambda: jpeg()[:700] + bytes(900) + jpeg()[-20:], "a JPEG with a stretch of zeros"),
    ],
)
def test_what_is_left_out_is_told(make: Callable[[], bytes], text: str, cli: Cli, tmp_path: Path) -> None:
    content = make()
    assert text in str(doubts(content, "x"))
    (tmp_path / "x.png").write_bytes(content)
    done = cli("predict", tmp_path / "x.png", "--model", TINY, "--crop")
    assert f"notice: {tmp_path / 'x.png'}: {text}" in done.stderr
    for plain in (png(), jpeg(), cv2.imencode(".webp", synthetic_faces(1, seed=1).images[0])[1].tobytes()):
        assert doubts(plain, "x") is None


# --- documents --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 100_000, "nested more than 64 deep"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "nested more than 64 deep"),
        ('{"a":' * 200 + "1" + "}" * 200, "nested more than 64 deep"),
        ("NaN", "NaN is no JSON value"),
        ("[1, -Infinity]", "-Infinity is no JSON value"),
        ("1e400", "beyond the range of float64"),
        ("9" * 401, "an integer of more than 18 digits"),
        (str(10**30), "an integer of more than 18 digits"),
        ("9" * 5000, "an integer of more than 18 digits"),
        ("{", "not a readable JSON file"),
        (b"\xff\xfe\xfa", "not a readable JSON file"),
    ],
)
def test_json_beyond_its_limits(text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"x: .*{re.escape(message)}"):
        parse_json(text, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = " + "[" * 5000 + "]" * 5000, "nested more than 64 deep"),
        ("a = nan", "no number"),
        ("a = inf", "no number"),
        ("a = 1e400", "beyond the range of float64"),
        ("a = " + "9" * 401, "an integer of more than 18 digits"),
        ("a = [", "not a readable TOML file"),
    ],
)
def test_toml_beyond_its_limits(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"x: .*{message}"):
        parse_toml(text, "x")


def npy(shape: str, dtype: str = "<f4", data: bytes = b"") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + data


@pytest.mark.parametrize(
    "content",
    [
        npy("(10000000000, 7)"),
        npy("(-1, 7)"),
        npy(f"({10**30},)"),
        npy("(1,)", "|O", b"x" * 8),
        npy("(" * 200),
        npy("(2,)", "<f4", b"1234"),
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
)
def test_arrays_that_claim_what_is_not_there(content: bytes) -> None:
    with pytest.raises(InputError, match="x: is not a readable npy file"):
        parse_npy(content, "x")
    np.testing.assert_array_equal(parse_npy(npy("(2,)", "<f4", struct.pack("<2f", 1, 2)), "x"), [1, 2])


@pytest.mark.parametrize("command", ["evaluate", "export"])
def test_a_header_of_weights_that_nests(cli: Cli, command: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    nested = json.dumps({"__metadata__": {"rarn_edge": '{"spec":' * 5000 + "1" + "}" * 5000}}).encode()
    for header in (nested, b'{"a":' * 5000 + b"1" + b"}" * 5000):
        path.write_bytes(safetensors(header))
        words = (path, "--data", tmp_path) if command == "evaluate" else ("--weights", path, "-o", tmp_path / "x.onnx")
        done = cli(command, *words)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr


# --- results of benchmarks --------------------------------------------------------------------------------------------


def recorded() -> dict[str, Any]:
    """The first recorded result of this repository."""
    for path in sorted((ROOT / "benchmarks" / "results").rglob("*.json")):
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if data.get("kind") == "bench":
            return data
    raise FileNotFoundError("no recorded result")


@pytest.mark.parametrize(
    "change",
    [
        {"samples_s": []},
        {"samples_s": ["fast"]},
        {"samples_s": [0.0]},
        {"samples_s": [-1.0]},
        {"samples_s": [True]},
        {"latency_median_s": 0},
        {"latency_median_s": "x"},
        {"file_size_bytes": 0},
        {"batch": "8"},
        {"label": 3},
        {"peak_rss_bytes": "much"},
        {"samples_s": None},
        {"warnings": [1]},
    ],
)
def test_results_that_nobody_measured(change: dict[str, object], cli: Cli, tmp_path: Path) -> None:
    """With exit code 2: a gate reads 1 as `slower`."""
    data = recorded()
    (tmp_path / "before.json").write_text(json.dumps(data))
    load_sane_report(tmp_path / "before.json")
    data["rows"][0] |= change
    (tmp_path / "after.json").write_text(json.dumps(data))
    done = cli("compare", tmp_path / "before.json", tmp_path / "after.json", "--fail-if-slower", "1.1")
    assert done.returncode == 2, done.stdout
    assert "after.json: " in done.stderr
    assert "damaged benchmark result" in done.stderr


def test_a_result_with_NaN(cli: Cli, tmp_path: Path) -> None:  # noqa: N802  # as JSON spells it
    data = recorded()
    data["rows"][0]["samples_s"][0] = float("nan")
    (tmp_path / "x.json").write_text(json.dumps(data))
    done = cli("compare", tmp_path / "x.json", tmp_path / "x.json")
    assert (done.returncode, "NaN is no JSON value" in done.stderr) == (2, True)


# --- archives and tables ----------------------------------------------------------------------------------------------


def test_a_name_twice_in_a_zip(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of([("happy/a.png", png()), ("happy/a.png", png())]))
    with pytest.raises(InputError, match=r"holds happy/a\.png twice"):
        load_faces(tmp_path / "x.zip")


def test_a_tar_of_negative_size(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(negative_tar())
    with pytest.raises(InputError, match=r"x\.tar: "):
        list(plan([str(tmp_path / "x.tar")], 10, "image"))


def test_a_tar_that_ends_early(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for index in range(3):
            info = tarfile.TarInfo(f"{index}.png")
            info.size = len(png())
            archive.addfile(info, io.BytesIO(png()))
    (tmp_path / "x.tar").write_bytes(stream.getvalue()[:-9000][: 2 * 512 + 2 * len(png())])
    scored = None
    with contextlib.suppress(InputError):  # some ends are found when planning
        scored = score([str(tmp_path / "x.tar")], tmp_path / "out.csv", TINY, workers=1)
    assert scored is None or scored.counts.failed >= 1


def test_a_damaged_page_is_rows_with_an_error(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "x.parquet"
    table = pa.table({"image": [png()] * 60})
    parquet.write_table(table, path, row_group_size=20, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = parquet.ParquetFile(path).metadata.row_group(1).column(0)
    start = middle.data_page_offset
    content[start : start + middle.total_compressed_size] = b"\xff" * middle.total_compressed_size
    path.write_bytes(content)
    for rows in (7, 100):
        scored = score([str(path)], tmp_path / f"{rows}.csv", TINY, workers=1, rows_per_part=rows)
        assert (scored.counts.rows, scored.counts.failed) == (60, 20)
        assert (tmp_path / f"{rows}.csv").read_text().count("cannot be read from the Parquet file") == 20


def test_a_zip_that_changes_under_way(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(zip_of({f"{index}.png": png() for index in range(4)}))
    units = plan([str(path)], 2, "image")
    unit = next(units)
    path.write_bytes(b"PK" * 50)
    from rarn_edge.score.read import read_unit

    with pytest.raises(InputError, match=r"x\.zip: cannot be read as zip"):
        list(read_unit(unit, "image", Path.cwd()))


def test_zip_directories_that_lie(tmp_path: Path) -> None:
    whole = zip_of({f"{index}.png": png() for index in range(3)})
    rng = np.random.default_rng(0)
    tail = whole.find(b"PK\1\2")
    path = tmp_path / "x.zip"
    for _ in range(200):
        content = bytearray(whole)
        for position in rng.integers(tail, len(whole), 3):
            content[position] = int(rng.integers(0, 256))
        path.write_bytes(content)
        with contextlib.suppress(InputError):  # nothing else may come of it
            list(plan([str(path)], 2, "image"))


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "FACE", "--model", TINY, "--max-megapixels", "inf"),
        ("predict", "FACE", "--model", TINY, "--max-megapixels", "nan"),
        ("predict", "FACE", "--model", TINY, "--threads", str(10**20)),
        ("predict", "FACE", "--model", TINY, "--threads", "1000000"),
        ("score", "FACE", "--model", TINY, "-o", "OUT", "--max-megapixels", "inf"),
        ("score", "FACE", "--model", TINY, "-o", "OUT", "--rows-per-part", str(10**30)),
        ("score", "FACE", "--model", TINY, "-o", "OUT", "--workers", "1000000"),
        ("bench", TINY, "--threads", str(10**20)),
        ("bench", TINY, "--batch", str(10**9)),
        ("bench", TINY, "--rounds", str(10**12)),
        ("evaluate", TINY, "--data", "FACE", "--threads", str(10**20)),
    ],
    ids=lambda words: " ".join(map(str, words[:1] + words[-2:])),
)
def test_options_out_of_reason(cli: Cli, words: tuple[object, ...], face: Path, tmp_path: Path) -> None:
    done = cli(*({"FACE": face, "OUT": tmp_path / "out.csv"}.get(str(word), word) for word in words))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("boxes", ["1,2,1e300,4", "1e300,2,3,4", "9" * 401 + ",1,1,1", "1,2,1e9,1e9"])
def test_boxes_of_no_picture(cli: Cli, boxes: str, face: Path) -> None:
    done = cli("predict", face, "--model", TINY, "--boxes", boxes)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_an_endless_archive_is_no_archive(tmp_path: Path) -> None:
    """A zip of zeros that would unpack to gigabytes is refused by what its directory claims."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("happy/a.png", "w") as entry:
        for _ in range(80):
            entry.write(bytes(2**20))
    (tmp_path / "x.zip").write_bytes(stream.getvalue())
    with pytest.raises(InputError, match="bytes; 67,108,864 is the limit"):
        load_faces(tmp_path / "x.zip")
