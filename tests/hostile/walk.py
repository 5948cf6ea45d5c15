"""Walk every command with every kind of bad path: python tests/hostile/walk.py [--every N]

Each input of each command is replaced by each bad file in turn, in this process. What is held against each run: no traceback, no
more than five seconds, a documented exit code, an error of one or two lines, nothing written outside the folder for results,
and every input as it was.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import struct
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rarn_edge.cli import main as command_line
from rarn_edge.data.synthetic import synthetic_faces

TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"
LIMIT_S = 5.0
CODES = (0, 1, 2, 3)


class TookTooLong(BaseException):
    """A run was ended by the alarm."""


# --- kinds of bad files -----------------------------------------------------------------------------------------------

NEVER = "never"  # no command can use it: exit code 2
Make = Callable[[Path], object]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def giant_png(side_px: int = 30_000) -> bytes:
    """A PNG whose header claims 900 megapixels and whose data is cut off."""
    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(bytes(1000)))


def jpeg(**options: int) -> bytes:
    face = synthetic_faces(1, seed=9).images[0]
    return bytes(cv2.imencode(".jpg", face, [value for pair in options.items() for value in pair])[1].tobytes())


def png() -> bytes:
    return bytes(cv2.imencode(".png", synthetic_faces(1, seed=9).images[0])[1].tobytes())


def zip_of(entries: dict[str, bytes] | list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items() if isinstance(entries, dict) else entries:
            archive.writestr(zipfile.ZipInfo(name), content)
    return stream.getvalue()


def encrypted_zip() -> bytes:
    whole = bytearray(zip_of({"happy/a.png": png()}))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        whole[whole.find(signature) + offset] |= 1
    return bytes(whole)


def negative_tar() -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as archive:
        info = tarfile.TarInfo("happy/a.png")
        info.size = 0
        archive.addfile(info)
    whole = bytearray(stream.getvalue())
    whole[124:136] = b"\xff" * 8 + (-1024 & 0xFFFFFFFF).to_bytes(4, "big")
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:512])
    return bytes(whole)


def parquet_of(path: Path, damaged: bool) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({"image": [png()] * 8}), path, compression="none")
    if damaged:
        content = bytearray(path.read_bytes())
        content[4:60] = b"\xff" * 56
        path.write_bytes(content)


def onnx_of(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    import onnx

    model = onnx.load(TINY)
    data = json.loads(model.metadata_props[0].value)
    change(data)
    model.metadata_props[0].value = json.dumps(data)
    onnx.save(model, path)


def nan_onnx(path: Path) -> None:
    import onnx

    model = onnx.load(TINY)
    model.graph.initializer[1].raw_data = np.full(7, np.nan, dtype=np.float32).tobytes()
    onnx.save(model, path)


def foreign_onnx(path: Path) -> None:
    import onnx

    model = onnx.load(TINY)
    del model.metadata_props[:]
    onnx.save(model, path)


def two_file_onnx(path: Path) -> None:
    import onnx

    onnx.save(onnx.load(TINY), path, save_as_external_data=True, location="absent.bin", size_threshold=0)
    path.with_name("absent.bin").unlink()


def safetensors(header: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header


def text(content: str | bytes) -> Make:
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


def listening(path: Path) -> None:
    place = Path.cwd()
    os.chdir(path.parent)  # the path of a socket is at most 108 bytes long
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(place)


KINDS: dict[str, tuple[Make, bool]] = {
    # what is there is no regular file: (how it is made, whether every command must refuse it)
    "missing": (lambda _: None, True),
    "dead link": (lambda path: path.symlink_to("nowhere"), True),
    "link loop": (lambda path: path.symlink_to(path.name), True),
    "fifo": (os.mkfifo, True),
    "socket": (listening, True),
    "device": (lambda path: path.symlink_to("/dev/zero"), True),
    "empty device": (lambda path: path.symlink_to("/dev/null"), True),
    "empty folder": (lambda path: path.mkdir(), False),
    "folder with a fifo": (lambda path: (path.mkdir(), os.mkfifo(path / "x.png")), False),
    "below a file": (lambda path: path.write_bytes(b"x"), False),
    # any content
    "empty": (text(b""), False),
    "text": (text("this is a text\n" * 50), False),
    "zeros": (text(bytes(4096)), False),
    "random": (text(np.random.default_rng(1).bytes(4096)), False),
    "not utf-8": (text(b"\xff\xfe\xfa" * 100), False),
    # images
    "cut png": (text(png()[:200]), False),
    "giant png": (text(giant_png()), False),
    "cut jpeg": (text(jpeg()[:-300]), False),
    "jpeg with garbage": (text(b"\xff\xd8" + b"garbage" * 9 + jpeg()[2:]), False),
    "jpeg with a hole": (text(jpeg()[:700] + bytes(900) + jpeg()[-20:]), False),
    "pgm": (text(b"P5\n9000 9000\n255\n" + bytes(1000)), False),
    "jpeg 2000": (text(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(200)), False),
    "os/2 bmp": (text(b"BM" + struct.pack("<IHHI IHHHH", 90, 0, 0, 26, 12, 4, 4, 1, 24) + bytes(48)), False),
    # archives and tables
    "zip": (text(zip_of({"happy/a.png": png()})), False),
    "cut zip": (text(zip_of({"happy/a.png": png()})[:-30]), False),
    "zip of a giant": (text(zip_of({"happy/a.png": giant_png()})), False),
    "zip with a name twice": (text(zip_of([("happy/a.png", png()), ("happy/a.png", jpeg())])), False),
    "zip that climbs": (text(zip_of({"../../happy/a.png": png()})), False),
    "encrypted zip": (text(encrypted_zip()), False),
    "tar of a negative size": (text(negative_tar()), False),
    "parquet": (lambda path: parquet_of(path, damaged=False), False),
    "damaged parquet": (lambda path: parquet_of(path, damaged=True), False),
    "csv of no faces": (text("emotion,pixels\n0,1 2 3\n"), False),
    "csv with a zero byte": (text(b"file,x,y,width,height\na\0,1,2,3,4\n"), False),
    "csv of a huge number": (text("file,x,y,width,height\na,1e400,2,3," + "9" * 401 + "\n"), False),
    # documents
    "deep json": (text('{"a":' * 5000 + "1" + "}" * 5000), False),
    "json of NaN": (text('{"schema_version": 4, "kind": "bench", "rows": [NaN]}'), False),
    "json of a huge number": (text('{"schema_version": ' + "9" * 401 + "}"), False),
    "json list": (text("[[], {}, null]"), False),
    "deep toml": (text("a = " + "[" * 5000 + "]" * 5000), False),
    "toml of a huge number": (text("title = 'x'\nrounds = " + "9" * 401 + "\n"), False),
    # models
    "cut onnx": (text(TINY.read_bytes()[:600]), False),
    "onnx of nobody": (foreign_onnx, False),
    "onnx of NaN": (nan_onnx, False),
    "onnx called ../../x": (lambda path: onnx_of(path, lambda data: data["spec"].update(name="../../x")), False),  # type: ignore[attr-defined]  # a dictionary
    "onnx with a list as contract": (lambda path: onnx_of(path, lambda data: data.update(spec=[1])), False),
    "onnx whose weights are gone": (two_file_onnx, False),
    "deep safetensors": (text(safetensors(b'{"a":' * 3000 + b"1" + b"}" * 3000)), False),
    "safetensors that claims much": (text(struct.pack("<Q", 2**62) + b"{}"), False),
}
NAMES = {
    "long name": "n" * 300,
    "long folder": "/".join(["d" * 200] * 30),
    "zero byte": "a\0b",
    "escape": "\x1b]0;x\x07",
    "not utf-8 name": "a\udcff",
}


# --- places for them --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Slot:
    """One input of one command; BAD in `words` is replaced, OUT is a folder for results, GOOD a folder of what is right."""

    words: tuple[str, ...]
    suffix: str


def slot(line: str, suffix: str) -> Slot:
    return Slot(tuple(line.split()), suffix)


QUICK = "--rounds 1 --starts 1 --no-memory --threads 1"
SLOTS = [
    slot("predict BAD --model GOOD/tiny.onnx --crop", ".png"),
    slot("predict BAD --model GOOD/tiny.onnx --crop --json", ".avi"),
    slot("predict BAD --model GOOD/tiny.onnx --annotate OUT/drawn", ".jpg"),
    slot("predict GOOD/a.png --model BAD", ".onnx"),
    slot("predict GOOD/a.png --model GOOD/tiny.onnx --boxes BAD", ".csv"),
    slot("predict GOOD/a.png --model GOOD/tiny.onnx --detector BAD", ".onnx"),
    slot("score BAD -o OUT/x.csv --model GOOD/tiny.onnx --workers 1", ".png"),
    slot("score BAD -o OUT/x.parquet --model GOOD/tiny.onnx --workers 1", ".zip"),
    slot("score BAD -o OUT/x.csv --model GOOD/tiny.onnx --workers 1", ".tar"),
    slot("score BAD -o OUT/x.csv --model GOOD/tiny.onnx --workers 1", ".parquet"),
    slot("score GOOD/a.png -o OUT/x.csv --model BAD --workers 1", ".onnx"),
    slot("score BAD -o OUT/x.csv --model GOOD/tiny.onnx --workers 1 --photos", ".jpg"),
    slot("score GOOD/a.png -o OUT/x.csv --model GOOD/tiny.onnx --workers 1 --photos --detector BAD", ".onnx"),
    slot("evaluate BAD --data GOOD/faces", ".onnx"),
    slot("evaluate BAD --data GOOD/faces", ".safetensors"),
    slot("evaluate GOOD/tiny.onnx --data BAD", ".zip"),
    slot("evaluate GOOD/tiny.onnx --data BAD --report OUT/report", ".csv"),
    slot("evaluate GOOD/tiny.onnx --data GOOD/faces --against BAD", ".onnx"),
    slot("evaluate GOOD/tiny.onnx --data GOOD/faces --votes BAD", ".csv"),
    slot("parity BAD GOOD/tiny.onnx --data GOOD/faces", ".onnx"),
    slot("parity --from BAD", ".json"),
    slot("parity GOOD/tiny.onnx GOOD/copy.onnx --data GOOD/faces --tolerances BAD", ".toml"),
    slot("parity GOOD/tiny.onnx --weights BAD", ".safetensors"),
    slot("verify BAD GOOD/tiny.onnx", ".rarn-parity"),
    slot("verify GOOD/t.rarn-parity BAD", ".onnx"),
    slot("bundle BAD -o OUT/board.zip --format triton", ".onnx"),
    slot("bundle GOOD/tiny.onnx -o OUT/board.zip --parity BAD", ".rarn-parity"),
    slot("bundle GOOD/tiny.onnx -o OUT/page.html --format web --ort-web BAD", ""),
    slot("stamp BAD --spec GOOD/spec.toml -o OUT/x.onnx", ".onnx"),
    slot("stamp GOOD/foreign.onnx --spec BAD -o OUT/x.onnx", ".toml"),
    slot("stamp BAD --init OUT/spec.toml", ".onnx"),
    slot("inspect BAD", ".onnx"),
    slot("export --model rarn-n --weights BAD -o OUT/x.onnx", ".safetensors"),
    slot("quantize BAD -o OUT/x.onnx --target arm --no-verdict --calib GOOD/faces", ".onnx"),
    slot("quantize GOOD/tiny.onnx -o OUT/x.onnx --target arm --no-verdict --ranges BAD", ".json"),
    slot("quantize GOOD/tiny.onnx -o OUT/x.onnx --target arm --no-verdict --calib BAD", ".zip"),
    slot("verdict GOOD/tiny.onnx BAD --data GOOD/faces --rounds 20", ".onnx"),
    slot("audit BAD --data GOOD/faces", ".onnx"),
    slot("compare BAD BAD", ".json"),
    slot(f"bench BAD {QUICK}", ".onnx"),
    slot("bench --suite BAD", ".toml"),
    slot(f"bench GOOD/tiny.onnx {QUICK} --data BAD", ".csv"),
    slot(f"bench GOOD/tiny.onnx {QUICK} --data GOOD/faces --votes BAD", ".csv"),
    slot("train --data BAD --out OUT/run --model rarn-n --epochs 1", ".zip"),
    slot("train --data GOOD/faces --out OUT/run --model rarn-n --epochs 1 --init BAD", ".safetensors"),
    slot("run --out OUT/run --weights BAD", ".safetensors"),
]
MEASURES = ("bench", "verdict")  # these start processes when their input is good: not what is looked for here


def good_files(folder: Path) -> None:
    """What is right, for the other inputs."""
    folder.mkdir()
    for name in ("tiny.onnx", "copy.onnx"):
        shutil.copyfile(TINY, folder / name)
    foreign_onnx(folder / "foreign.onnx")
    (folder / "a.png").write_bytes(png())
    (folder / "spec.toml").write_text(
        'name = "x"\nclasses = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]\n'
        'output = "logits"\npreprocess = { height_px = 48, width_px = 48, mean = [128.0], std = [64.0] }\n'
    )
    for index, face in enumerate(synthetic_faces(7, seed=2).images):
        place = folder / "faces" / ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")[index]
        place.mkdir(parents=True)
        cv2.imwrite(str(place / "a.png"), face)
    code, _, error = run(
        "parity", str(folder / "tiny.onnx"), "--data", str(folder / "faces"), "--bundle", str(folder / "t.rarn-parity")
    )
    assert code == 0, error


def run(*words: str) -> tuple[object, str, str]:
    """The command line in this process: exit code (or the name of what it raised), stdout, stderr."""
    out, err = io.StringIO(), io.StringIO()
    before = sys.argv
    sys.argv = ["rarn-edge", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                command_line()
            except SystemExit as stop:
                code: object = stop.code
            except TookTooLong:
                code = f"more than {LIMIT_S:g} s"
            except BaseException:  # whatever it is, it is a finding
                code = traceback.format_exc()
    finally:
        sys.argv = before
    return code, out.getvalue(), err.getvalue()


def digest_of(folder: Path) -> dict[str, str]:
    """What lies below a folder: each name with its kind, and of files their content."""
    found = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            regular = path.is_file() and not path.is_symlink()
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest() if regular else str(path.lstat().st_mode)
    return found


def bad_paths(folder: Path, suffix: str) -> Iterator[tuple[str, Path, bool]]:
    """Every bad path with that suffix: (kind, path, whether every command must refuse it)."""
    for kind, (make, never) in KINDS.items():
        place = folder / kind.replace("/", "-") / suffix.removeprefix(".")
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"x{suffix}"
        if not os.path.lexists(path):
            make(path)
        yield kind, path / f"x{suffix}" if kind == "below a file" else path, never or kind == "below a file"
    for kind, name in NAMES.items():
        yield kind, Path(str(folder), f"{name}{suffix}"), True


@dataclass(frozen=True)
class Finding:
    """What was wrong with a run."""

    command: str
    what: str


def walk(root: Path, every: int = 1, offset: int = 0, measures: bool = True) -> tuple[int, list[Finding]]:
    """Run every `every`th pair of a slot and a bad path; how many runs, and what was found."""
    import onnx  # noqa: F401  # now: the first import takes seconds, and an alarm in it would harm what comes after
    import torch  # noqa: F401
    from onnxruntime.tools import ort_format_model  # noqa: F401

    good, bad, out = root / "good", root / "bad", root / "out"
    good_files(good)
    bad.mkdir()
    findings: list[Finding] = []
    runs = number = 0

    def alarm(*_: object) -> None:
        raise TookTooLong

    earlier = signal.signal(signal.SIGALRM, alarm)
    try:
        for each in SLOTS:
            for kind, path, never in bad_paths(bad, each.suffix):
                number += 1
                if (number + offset) % every or (not measures and each.words[0] in MEASURES and not never):
                    continue
                runs += 1
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                place = path.parent if os.path.isdir(path.parent) else bad  # noqa: PTH112  # a Path raises for a name too long
                before = {
                    **digest_of(good),
                    **digest_of(place),
                }
                words = [
                    w.replace("BAD", str(path)).replace("OUT", str(out)).replace("GOOD", str(good)) for w in each.words
                ]
                shown = f"{' '.join(each.words)} with {kind} ({each.suffix})"
                signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
                started = time.monotonic()
                code, said, error = run(*words)
                signal.setitimer(signal.ITIMER_REAL, 0)
                elapsed = time.monotonic() - started
                findings += [Finding(shown, what) for what in _wrong(code, said, error, never)]
                if elapsed > LIMIT_S:
                    findings.append(Finding(shown, f"took {elapsed:.1f} s"))
                after = {
                    **digest_of(good),
                    **digest_of(place),
                }
                if after != before:
                    findings.append(Finding(shown, f"changed {sorted(set(before.items()) ^ set(after.items()))}"))
                if outside := {path.name for path in root.iterdir()} - {"good", "bad", "out"}:
                    findings.append(Finding(shown, f"wrote {outside}"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, earlier)
    return runs, findings


def _wrong(code: object, said: str, error: str, never: bool) -> Iterator[str]:
    if code not in CODES:
        yield f"exit: {code}"
        return
    if never and code != 2:
        yield f"exit code {code} for a path that nothing can use: {error}"
    if "Traceback" in error:
        yield f"traceback: {error}"
    if code == 2:
        last = error.partition("error: ")[2].strip().splitlines()
        if not last and "Error" not in error:
            yield f"exit code 2 without a reason: {error!r}"
        if len(last) > 3:
            yield f"an error of {len(last)} lines: {error}"
    if any(letter in said + error for letter in "\x1b\x07\x9b"):
        yield f"control characters: {said!r} {error!r}"


def main() -> None:
    """Walk, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--every", type=int, default=1, help="run every Nth pair only")
    options = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rarn-edge-walk-") as folder:
        runs, findings = walk(Path(folder), options.every)
    for finding in findings:
        print(f"{finding.command}\n    {finding.what[-1500:]}")
    kinds = len(KINDS) + len(NAMES)
    took = f"{time.monotonic() - started:.0f} s"
    print(f"{runs} runs of {len(SLOTS)} inputs with {kinds} kinds of bad paths in {took}: {len(findings)} findings")
    print(Counter(finding.what.splitlines()[0][:60] for finding in findings).most_common(20))
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
