"""Fuzz every reader of files from outside: python tests/hostile/fuzz.py [--seconds 60] [TARGET...]

Each target is a function of bytes and of the seeds that are mutated. It may raise `RarnEdgeError` and nothing else. Hypothesis
chooses the mutations and shrinks what it finds; `test_fuzz.py` runs each target for a moment, always with the same choices.
"""

import argparse
import io
import json
import sys
import tarfile
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from rarn_edge.bench.compare import compare_reports
from rarn_edge.bench.sane import load_sane_report
from rarn_edge.boundary.documents import parse_json, parse_npy, parse_toml, to_json
from rarn_edge.boundary.image_header import claimed_size_px, doubts
from rarn_edge.boundary.names import csv_cell, file_name, markdown, printable
from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.preprocess import decode_gray
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.load import load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.data.votes import read_votes
from rarn_edge.device.faces import read_boxes
from rarn_edge.errors import RarnEdgeError
from rarn_edge.parity.bundle import load_bundle, make_bundle, save_bundle
from rarn_edge.parity.inputs import show
from rarn_edge.parity.outputs import file_form
from rarn_edge.parity.report import rejudge
from rarn_edge.parity.tolerances import TOLERANCES
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.score.read import read_unit
from rarn_edge.score.units import plan

TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"
ROOT = Path(__file__).parents[2]
MAX_PIXELS = 300_000
ROWS = 2_000  # rows of a unit that are looked at


@dataclass(frozen=True)
class Target:
    """What is called with mutated content (or with a file of it), and the content to start from."""

    call: Callable[[Path], object]
    suffix: str
    seeds: Callable[[], list[bytes]]


# --- what is called ---------------------------------------------------------------------------------------------------


def contract(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    found = Contract.from_json(text, "x")
    assert Contract.from_json(found.to_json(), "x") == found
    assert not set("/\\") & set(found.spec.name)


def spec(path: Path) -> None:
    found = ModelSpec.from_dict(parse_toml(path.read_bytes().decode("utf-8", "replace"), "x"))
    assert printable(found.name) == found.name


def json_and_names(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    for escape in (printable, markdown, file_name, csv_cell):
        found = str(escape(text))
        assert printable(found) == found
    assert "/" not in file_name(text)
    assert ".." not in file_name(text)
    json.loads(to_json(parse_json(text, "x")), parse_constant=lambda _: 1 / 0)


def image(path: Path) -> None:
    """No decoder gives more pixels than the header claimed."""
    content = path.read_bytes()
    size = claimed_size_px(content)
    doubts(content, "x")
    pixels = decode_gray(content, "x", MAX_PIXELS)
    assert size is not None
    assert pixels.size <= size[0] * size[1]


def report(path: Path) -> None:
    found = load_sane_report(path)
    compare_reports(found, found)


def zip_or_tar(path: Path) -> None:
    for unit in plan([str(path)], 2, "image"):
        for index, (name, _) in enumerate(read_unit(unit, "image", Path())):
            printable(name)
            if index > ROWS:
                break


def parquet(path: Path) -> None:
    for count, unit in enumerate(plan([str(path)], 100, "image")):
        for index, _ in enumerate(read_unit(unit, "image", Path())):
            if index > ROWS:
                break
        if count > 20:
            break


# --- what it starts from ----------------------------------------------------------------------------------------------


def pictures() -> list[bytes]:
    face = synthetic_faces(1, seed=1).images[0]
    colour = cv2.cvtColor(face, cv2.COLOR_GRAY2BGR)
    made = [cv2.imencode(suffix, colour)[1].tobytes() for suffix in (".png", ".jpg", ".bmp", ".webp", ".tif", ".gif")]
    made.append(cv2.imencode(".jpg", face, (cv2.IMWRITE_JPEG_PROGRESSIVE, 1))[1].tobytes())
    made.append(cv2.imencode(".webp", colour, (cv2.IMWRITE_WEBP_QUALITY, 101))[1].tobytes())
    made.append(cv2.imencode(".tif", face, (cv2.IMWRITE_TIFF_COMPRESSION, 1))[1].tobytes())
    return made


def reports() -> list[bytes]:
    for path in sorted((ROOT / "benchmarks" / "results").rglob("*.json")):
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.get("kind") == "bench":
            data["rows"] = data["rows"][:2]
            for row in data["rows"]:
                for key in ("samples_s", "sample_rounds", "sample_starts"):
                    row[key] = row[key][:6]
            return [json.dumps({**data, "profiles": [], "servers": [], "multi_streams": [], "audits": []}).encode()]
    return [b"{}"]


def bundles() -> list[bytes]:
    artifact = Artifact.load(TINY)
    shown = show(synthetic_faces(3, seed=1), None, "drawn", artifact.spec.preprocess)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.rarn-parity")
        save_bundle(make_bundle(artifact.spec, shown, file_form(artifact, shown, threads=1), None), path)
        return [path.read_bytes()]


def _png() -> bytes:
    return bytes(cv2.imencode(".png", synthetic_faces(1, seed=9).images[0])[1].tobytes())


def archives() -> list[bytes]:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(3):
            archive.writestr(zipfile.ZipInfo(f"happy/{index}.png"), _png())
    return [stream.getvalue()]


def tars() -> list[bytes]:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for index in range(2):
            info = tarfile.TarInfo(f"{index}.png")
            info.size = len(_png())
            archive.addfile(info, io.BytesIO(_png()))
    return [stream.getvalue()[:8000], stream.getvalue()]


def tables() -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet

    made = []
    with tempfile.TemporaryDirectory() as folder:
        for compression in ("none", "zstd"):
            path = Path(folder, "x.parquet")
            table = pa.table({"image": [b"x" * 40] * 30})
            pa.parquet.write_table(table, path, compression=compression, use_dictionary=False, row_group_size=10)
            made.append(path.read_bytes())
    return made


def ranges() -> list[bytes]:
    data = {
        "schema_version": 2, "tensors": {"a": [-1.0, 2.0], "b": [0.0, 1.0]}, "method": "mse", "images": 8,
        "weights_sha256": None, "model_sha256": "00", "sample": "x", "sample_sha256": "00",
    }  # fmt: skip
    return [json.dumps(data).encode()]


def faces_csv() -> list[bytes]:
    pixels = " ".join(map(str, synthetic_faces(1, seed=1).images[0].ravel().tolist()))
    return [f"emotion,pixels,Usage\n0,{pixels},Training\n3,{pixels},PublicTest\n".encode()]


SPEC = (
    b'schema_version = 1\nname = "x"\nclasses = ["a", "b"]\noutput = "logits"\ninput_name = "i"\noutput_name = "o"\n'
    b"preprocess = { height_px = 48, width_px = 48, mean = [128.0], std = [64.0] }\n"
)
NPY = (
    b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }".ljust(127) + b"\n" + bytes(8)
)
VOTES = (
    b"Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF\n"
    b"Training,a.png,4,0,0,1,3,2,0,0,0,0\n"
)

TARGETS: dict[str, Target] = {
    "contract": Target(contract, ".json", lambda: [Artifact.load(TINY).contract.to_json().encode()]),
    "spec": Target(spec, ".toml", lambda: [SPEC]),
    "json": Target(json_and_names, ".json", lambda: [b'{"a": [1, 2.5, null, "x"]}', b"[[[1]]]", b"=x/../y"]),
    "image": Target(image, ".png", pictures),
    "ranges": Target(Ranges.load, ".json", ranges),
    "bundle": Target(load_bundle, ".rarn-parity", bundles),
    "report": Target(report, ".json", reports),
    "ledger": Target(
        lambda path: rejudge(path, TOLERANCES),
        ".json",
        lambda: [b'{"schema_version": 1, "faces": "x", "classes": ["a"], "hops": [{}]}'],
    ),
    "npy": Target(lambda path: parse_npy(path.read_bytes(), "x"), ".npy", lambda: [NPY]),
    "faces": Target(load_faces, ".csv", faces_csv),
    "boxes": Target(lambda path: read_boxes(str(path)), ".csv", lambda: [b"file,x,y,width,height\na.png,1,2,30,40\n"]),
    "votes": Target(read_votes, ".csv", lambda: [VOTES]),
    "data zip": Target(load_faces, ".zip", archives),
    "zip": Target(zip_or_tar, ".zip", archives),
    "tar": Target(zip_or_tar, ".tar", tars),
    "parquet": Target(parquet, ".parquet", tables),
}

# --- mutations --------------------------------------------------------------------------------------------------------

_WORDS = [
    b"NaN", b"1e400", b"-1", b"9" * 40, b"null", b"{}", b"[]", b'"', b"\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"[" * 99, b"../", b"\x1b]0;x\x07",
]  # fmt: skip
_Edit = tuple[int, str, bytes, int]


def _edits() -> st.SearchStrategy[list[_Edit]]:
    place = st.integers(0, 1 << 16)
    how = st.sampled_from(["set", "insert", "cut", "repeat", "end", "flip"])
    content = st.one_of(st.sampled_from(_WORDS), st.binary(min_size=1, max_size=8))
    return st.lists(st.tuples(place, how, content, st.integers(1, 64)), min_size=0, max_size=8)


def mutated(content: bytes, edits: list[_Edit]) -> bytes:
    """`content` with each edit made in turn, at a place modulo its length."""
    made = bytearray(content)
    for place, how, new, count in edits:
        at = place % (len(made) + 1)
        if how == "set":
            made[at : at + len(new)] = new
        elif how == "insert":
            made[at:at] = new
        elif how == "cut":
            del made[at : at + count]
        elif how == "repeat":
            made[at:at] = made[at : at + count]
        elif how == "end":
            del made[at:]
        elif at < len(made):
            made[at] ^= 1 << (count % 8)
    return bytes(made)


def fuzz(name: str, examples: int, number: int | None = None) -> None:
    """Try so many mutations; an error that no user should see is raised, with the smallest content that makes it.

    With `number` None the choices are the same in every run.
    """
    target = TARGETS[name]
    seeds = target.seeds()
    with tempfile.TemporaryDirectory(prefix="rarn-edge-fuzz-") as folder, warnings.catch_warnings(action="ignore"):
        path = Path(folder, f"x{target.suffix}")

        @settings(
            max_examples=examples, deadline=None, database=None, derandomize=number is None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(st.integers(0, len(seeds) - 1), _edits())
        def attempt(which: int, edits: list[_Edit]) -> None:
            path.write_bytes(mutated(seeds[which], edits))
            try:
                target.call(path)
            except RarnEdgeError as error:
                if not 0 < len(str(error)) < 4000:
                    raise ValueError("an error without words, or with too many") from error

        (attempt if number is None else seed(number)(attempt))()


def main() -> None:
    """Fuzz each target for so many seconds, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("targets", nargs="*", help=f"of: {', '.join(TARGETS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for each")
    options = parser.parse_args()
    np.seterr(all="ignore")
    found = []
    for name in options.targets or TARGETS:
        end_s, number, tried = time.monotonic() + options.seconds, 0, 0
        while time.monotonic() < end_s:
            number += 1
            try:
                fuzz(name, 200, number)
            except Exception:
                traceback.print_exc()
                found.append(name)
                break
            tried += 200
        print(f"{name}: {tried:,} tried{', FOUND something' if name in found else ''}", flush=True)
    sys.exit(f"found: {', '.join(found)}" if found else 0)


if __name__ == "__main__":
    main()
