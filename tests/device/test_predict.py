"""`rarn-edge predict` on everything it takes, and on what users get wrong."""

import csv
import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.device import faces as faces_module
from rarn_edge.device.boxes import Box, Face
from rarn_edge.device.predict import Finding, answer_pictures
from rarn_edge.device.sources import Picture, Reading, ahead, find_sources, read_pictures
from rarn_edge.errors import InputError

Cli = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).with_name("tiny.onnx")
MODEL = ("--model", TINY, "--threads", 1)


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    for index, image in enumerate(synthetic_faces(5, seed=1).images):
        assert cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 12 frames a second of 160 x 120 pixels, a face that moves."""
    path = tmp_path_factory.mktemp("video") / "v.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (160, 120))
    face = synthetic_faces(1, seed=2).images[0]
    for index in range(24):
        frame = np.full((120, 160, 3), 80, dtype=np.uint8)
        frame[30:78, 40 + index : 88 + index] = face[..., None]
        writer.write(frame)
    writer.release()
    return path


def test_folder_of_crops(cli: Cli, crops: Path) -> None:
    done = cli("predict", crops, *MODEL, "--json")
    assert done.returncode == 0
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    expected = Classifier(TINY, threads=1).predict(sorted(crops.glob("*.png")))
    assert [Path(row["source"]).name for row in rows] == [f"{i}.png" for i in range(5)]
    assert [row["label"] for row in rows] == [answer.label for answer in expected]
    np.testing.assert_allclose([list(row["logits"].values()) for row in rows], [a.logits for a in expected], atol=1e-6)
    assert all(row["box_from"] == "crop" for row in rows)


def test_pattern_csv_and_table(cli: Cli, crops: Path) -> None:
    done = cli("predict", crops / "[0-2].png", *MODEL, "--csv", "--min-confidence", 1)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["abstained"] for row in rows] == ["1"] * 3
    assert all(abs(sum(float(row[f"p_{name}"]) for name in CLASSES) - 1) < 1e-4 for row in rows)
    table = cli("predict", crops / "0.png", *MODEL, "--min-confidence", 1).stdout
    assert f"{rows[0]['label']}?" in table


@pytest.mark.parametrize("frames", [1, 3])
def test_an_animated_gif_says_that_one_picture_is_read(cli: Cli, tmp_path: Path, frames: int) -> None:
    animation = cv2.Animation()
    animation.frames = [cv2.cvtColor(face, cv2.COLOR_GRAY2BGRA) for face in synthetic_faces(frames, seed=1).images]
    animation.durations = np.full(frames, 100, dtype=np.int32)
    assert cv2.imwriteanimation(str(tmp_path / "a.gif"), animation)
    done = cli("predict", tmp_path / "a.gif", "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert ("an animated GIF; only its first picture is read" in " ".join(done.stderr.split())) == (frames > 1)


def test_standard_input(crops: Path) -> None:
    command = [sys.executable, "-m", "rarn_edge", "predict", "-", "--model", str(TINY), "--json"]
    content = (crops / "3.png").read_bytes()
    done = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    (expected,) = Classifier(TINY, threads=1).predict(content)
    assert json.loads(done.stdout)["label"] == expected.label


def test_a_broken_file_is_reported_and_the_rest_goes_on(cli: Cli, crops: Path, tmp_path: Path) -> None:
    for path in crops.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "2.png").write_text("not a picture")
    (tmp_path / "3.png").write_bytes(b"")
    done = cli("predict", tmp_path, *MODEL, "--json")
    assert done.returncode == 2
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["error"] is None for row in rows] == [True, True, False, False, True]
    assert [row["label"] is None for row in rows] == [False, False, True, True, False]
    assert "2.png: cannot be decoded as an image" in done.stderr
    assert "3.png: cannot be decoded as an image: it is empty" in done.stderr
    assert "2 of 5 sources could not be read" in done.stderr


def test_a_photograph_without_a_detector_is_never_guessed_at() -> None:
    photograph = Picture("photo.png", np.full((300, 400, 3), 90, dtype=np.uint8))
    (answered,) = answer_pictures(Classifier(TINY, threads=1), [photograph], Finding())
    assert answered.faces == ()
    assert answered.picture.error is not None
    assert "photo.png: 400 x 300 pixels: no face detector was given" in answered.picture.error
    assert "--boxes" in answered.picture.error


def test_boxes_and_drawing(cli: Cli, tmp_path: Path) -> None:
    photo, out = tmp_path / "photo.png", tmp_path / "out.png"
    face = synthetic_faces(1, seed=3).images[0]
    picture = np.full((300, 400, 3), 90, dtype=np.uint8)
    picture[100:148, 200:248] = face[..., None]
    assert cv2.imwrite(str(photo), picture)
    done = cli("predict", photo, *MODEL, "--boxes", "200,100,48,48", "--annotate", out, "--json")
    assert done.returncode == 0
    row = json.loads(done.stdout)
    assert row["label"] == Classifier(TINY, threads=1).predict(face)[0].label
    assert row["box"] == {"x_px": 200, "y_px": 100, "width_px": 48, "height_px": 48}
    drawn = cv2.imread(str(out))
    assert drawn.shape == picture.shape
    assert (drawn[100, 200:248] == (40, 200, 40)).all()  # the box's upper edge
    assert (drawn[110:140, 210:240] == picture[110:140, 210:240]).all()  # the face stays to be seen


def test_video_keeps_rate_and_frames(cli: Cli, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.avi"
    options = ("--boxes", "40,30,60,48", "--every", 4, "--annotate", out, "--json")
    done = cli("predict", video, *MODEL, *options)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["frame"] for row in rows] == [0, 4, 8, 12, 16, 20]
    assert {row["track"] for row in rows} == {1}
    assert rows[3]["time_s"] == pytest.approx(1.0)
    capture = cv2.VideoCapture(str(out))
    assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(12)
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 24


@pytest.mark.parametrize(("options", "frames"), [(("--max-fps", 4), range(0, 24, 3)), (("--every", 9), (0, 9, 18))])
def test_fewer_frames(cli: Cli, video: Path, options: tuple[object, ...], frames: Iterator[int]) -> None:
    done = cli("predict", video, *MODEL, "--boxes", "40,30,60,48", *options, "--json")
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == list(frames)


def test_a_video_cut_short_says_so_and_keeps_what_there_was(cli: Cli, video: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.avi"
    cut.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    done = cli("predict", cut, *MODEL, "--boxes", "40,30,60,48", "--csv", "--annotate", tmp_path / "out.avi")
    assert done.returncode == 2
    assert "cut.avi: " in done.stderr
    assert len(done.stdout.splitlines()) > 3


@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_a_trimmed_video_holds_frames_that_are_not_played(tmp_path: Path, suffix: str) -> None:
    """As editors trim without encoding anew: of 30 frames the edit list plays 20, from the tenth on. Cut short, it says so."""
    path = tmp_path / f"v{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25.0, (64, 64))
    if not writer.isOpened():
        pytest.skip(f"OpenCV writes no {suffix} here")
    for index in range(30):
        writer.write(np.full((64, 64, 3), 8 * index, dtype=np.uint8))
    writer.release()
    whole = path.read_bytes()
    start, tables = struct.unpack_from(">I", whole)[0], whole.rfind(b"moov") - 4
    content = bytearray(whole[:start] + whole[tables:] + whole[start:tables])  # as for streaming: the frames come last
    chunks = content.find(b"stco") + 8
    places = f">{struct.unpack_from('>I', content, chunks)[0]}I"
    moved = (place + len(whole) - tables for place in struct.unpack_from(places, content, chunks + 4))
    struct.pack_into(places, content, chunks + 4, *moved)
    movie_hz, media_hz = (struct.unpack_from(">I", content, content.find(kind) + 16)[0] for kind in (b"mvhd", b"mdhd"))
    edit = content.find(b"elst") + 12

    def played(start_s: float, length_s: float) -> list[Picture]:
        struct.pack_into(">Ii", content, edit, round(length_s * movie_hz), round(start_s * media_hz))
        path.write_bytes(content)
        return list(read_pictures([str(path)], Reading()))

    pictures = played(0.4, 0.8)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert [picture.error for picture in pictures] == [None] * 20
    assert pictures[0].pixels is not None
    assert abs(int(pictures[0].pixels.mean()) - 80) < 8
    del content[-(len(content) - content.find(b"mdat")) // 2 :]
    for length_s, planned in ((0.8, 20), (1.2, 30)):
        *pictures, last = played(0, length_s)
        assert len(pictures) < planned
        assert f"ends after {len(pictures)} of {planned} frames: it is damaged or cut short" in str(last.error)


@pytest.mark.parametrize(("suffix", "codec"), [(".ts", "MPG1"), (".mkv", "MJPG")])
def test_a_count_that_is_guessed_is_no_sign_of_damage(tmp_path: Path, suffix: str, codec: str) -> None:
    """30 frames at 25 a second, of which the container says 50; the frames' own times are right."""
    path = tmp_path / f"v{suffix}"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), 25.0, (64, 64))
    if not writer.isOpened():
        pytest.skip(f"OpenCV writes no {suffix} here")
    for index in range(30):
        writer.write(np.full((64, 64, 3), 5 * index, dtype=np.uint8))
    writer.release()
    if suffix == ".mkv":
        spacing_ns = ((40_000_000).to_bytes(4, "big"), (20_000_000).to_bytes(4, "big"))
        path.write_bytes(path.read_bytes().replace(*spacing_ns, 1))
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT) > 30
    pictures = list(read_pictures([str(path)], Reading()))
    assert [picture.error for picture in pictures] == [None] * 30
    assert [picture.time_s for picture in pictures] == pytest.approx([index / 25 for index in range(30)])


def test_a_video_named_twice_begins_anew(cli: Cli, video: Path) -> None:
    done = cli("predict", video, video, *MODEL, "--boxes", "40,30,60,48", "--json")
    found = [list(json.loads(line)["probabilities"].values()) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(found[:24], found[24:], atol=1e-6)


def test_what_is_named_twice_is_drawn_once(cli: Cli, crops: Path, video: Path, tmp_path: Path) -> None:
    out, face = tmp_path / "drawn", crops / "0.png"
    done = cli("predict", video, video, face, video, face, *MODEL, "--boxes", "0,0,48,48", "--annotate", out, "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3 * 24 + 2
    assert sorted(path.name for path in out.iterdir()) == ["0.png", "v.avi"]
    assert cv2.VideoCapture(str(out / "v.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == 24
    done = cli("predict", video, video, *MODEL, "--boxes", "0,0,48,48", "--annotate", tmp_path / "one.avi")
    assert done.returncode == 0, done.stderr
    assert cv2.VideoCapture(str(tmp_path / "one.avi")).get(cv2.CAP_PROP_FRAME_COUNT) == 24


def test_linked_folders_are_searched(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "crops").symlink_to(crops)
    (tmp_path / "all" / "up").symlink_to(tmp_path)  # a circle
    expected = [str(tmp_path / "all" / "crops" / f"{index}.png") for index in range(5)]
    assert find_sources([str(tmp_path / "all")]) == expected


def test_folders_that_a_pattern_matches_are_searched(
    crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "faces").mkdir()
    expected = [str(tmp_path / "faces" / f"{index}.png") for index in range(5)]
    for path in expected:
        Path(path).write_bytes((crops / Path(path).name).read_bytes())
    assert find_sources([str(tmp_path / "fac*")]) == expected
    assert find_sources([str(tmp_path / "**")]) == expected  # each once
    assert find_sources([str(tmp_path / "faces" / "[01].png")]) == expected[:2]
    monkeypatch.chdir(tmp_path)
    assert find_sources(["./**"]) == [f"./faces/{index}.png" for index in range(5)]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images or videos in the folders of this pattern"):
        find_sources([str(tmp_path / "empt*")])


def test_hidden_folders_are_passed_over(crops: Path, tmp_path: Path) -> None:
    for name in ("0.png", ".ipynb_checkpoints/0-checkpoint.png", "@eaDir/0.png/SYNOPHOTO_THUMB_M.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((crops / "0.png").read_bytes())
    assert find_sources([str(tmp_path)]) == [str(tmp_path / "0.png")]
    assert find_sources([str(tmp_path / "*")]) == [str(tmp_path / "0.png")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("absent.png",), "absent.png: no such file; give a file, a folder, a pattern, or a camera's number"),
        (("TMP",), "no images or videos in this folder"),
        (("99", "--crop"), "camera 99: there is none"),
        (("CROPS", "--annotate", "one.png"), "is one file, for 5 sources"),
        (("CROPS/0.png", "--annotate", "TMP/faces.txt"), "for a folder of that name, make it first"),
        (("CROPS", "--json", "--csv"), "exclude each other"),
        (("CROPS", "--explain"), "needs --annotate"),
        (("CROPS/0.png", "--explain", "--annotate", "TMP/x.png"), "has no output 'attention'"),
        (("CROPS/0.png", "--boxes", "90,90,5,5"), "lies outside"),
        (("CROPS/0.png", "--max-megapixels", "0.001"), "48 x 48 pixels, more than the limit"),
    ],
    ids=str,
)
def test_what_users_get_wrong(
    cli: Cli, arguments: tuple[str, ...], message: str, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = [word.replace("CROPS", str(crops)).replace("TMP", str(tmp_path)) for word in arguments]
    done = cli("predict", *words, *MODEL)
    assert (done.returncode, message in done.stderr) == (2, True), done.stderr


def test_faces_are_found_with_whatever_detector_there_is() -> None:
    """A detector is a function: the picture is searched small, the boxes come in its own pixels, left to right."""
    seen: list[tuple[int, ...]] = []

    def detect(picture: np.ndarray) -> list[Face]:
        seen.append(picture.shape)
        return [Face(Box(200, 10, 20, 20), 0.9), Face(Box(50, 30, 20, 20), 0.8, ((55, 35), (65, 35)))]

    found = faces_module._reduced(detect, 640)(np.zeros((960, 1280, 3), dtype=np.uint8))
    assert seen == [(480, 640, 3)]
    assert found == (
        Face(Box(100, 60, 40, 40), 0.8, ((110, 70), (130, 70))),
        Face(Box(400, 20, 40, 40), 0.9),
    )


def test_decoding_runs_ahead_no_further_than_its_places() -> None:
    made: list[int] = []

    def pictures() -> Iterator[Picture]:
        for index in range(100):
            made.append(index)
            yield Picture(str(index), None)

    taken = 0
    for picture in ahead(pictures, places=4):
        assert int(picture.source) == taken
        taken += 1
        assert len(made) <= taken + 6  # the queue, one in the thread's hand, one being made
    assert taken == 100


def test_an_error_while_decoding_reaches_whoever_takes() -> None:
    def pictures() -> Iterator[Picture]:
        yield Picture("a", None)
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        list(ahead(pictures))


def test_leaving_early_ends_the_thread(crops: Path) -> None:
    stream = ahead(lambda: read_pictures([str(crops / "0.png")] * 1000, Reading()), places=2)
    assert next(stream).error is None
    stream.close()  # type: ignore[attr-defined]  # a generator, whatever its declared type


def test_two_runtimes_are_said(cli: Cli, crops: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rarn_edge.runtime.providers.installed_runtimes", lambda: ("onnxruntime", "onnxruntime-gpu"))
    done = cli("predict", crops / "0.png", *MODEL)
    assert done.returncode == 0
    assert "onnxruntime and onnxruntime-gpu are installed together and overwrite each other" in done.stderr
