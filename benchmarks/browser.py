"""A web page beside the native CPU: python benchmarks/browser.py rarn-n rarn-n.onnx --data fer2013.zip

Makes the page of each model, opens it in headless Chromium, and asks it and ONNX Runtime about the same faces of PublicTest.
Needs Node, Chromium and the packages of tests/web/package.json (`.ci/run` installs them into build/web). The clock of a page from
a file has steps of 0.1 ms.
"""

import argparse
import base64
import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.assets import shipped_bundle
from rarn_edge.board.make import make_bundle
from rarn_edge.boundary.limits import at_least_one
from rarn_edge.data import Split, load_faces
from rarn_edge.device.classifier import Classifier
from rarn_edge.device.model import find_model_file, is_shipped
from rarn_edge.errors import InputError, run_script

ROOT = Path(__file__).parents[1]
REPEATS = 300


def row(model: str, images: NDArray[np.uint8], modules: Path, chromium: str) -> str:
    """One line of the table for one model."""
    file = find_model_file(model)
    with tempfile.TemporaryDirectory() as name:
        page = Path(name) / "page.html"
        parity = shipped_bundle(model) if is_shipped(model) else None
        make_bundle(file, page, "web", parity, ort_web=modules / "onnxruntime-web")
        pictures = [
            {"data": base64.b64encode(image.tobytes()).decode(), "height": image.shape[0], "width": image.shape[1]}
            for image in images
        ]
        entry = {"page": page, "scenario": "logits", "pictures": pictures, "repeats": REPEATS}
        plan = {"modules": modules, "chromium": chromium, "out": Path(name) / "out.json", "pages": [entry]}
        (Path(name) / "plan.json").write_text(json.dumps(plan, default=str))
        subprocess.run(["node", str(ROOT / "tests/web/browser.mjs"), str(Path(name) / "plan.json")], check=True)
        seen: dict[str, Any]
        (seen,) = json.loads((Path(name) / "out.json").read_text())
        size_mb = page.stat().st_size / 1e6
    if "failed" in seen:
        raise InputError(f"{model}: the page failed: {seen['failed']}")
    found = np.array(seen["logits"], dtype=np.float32)
    expected = np.array([answer.logits for answer in Classifier(file, threads=1).predict(list(images))], np.float32)
    flips = int((found.argmax(axis=1) != expected.argmax(axis=1)).sum())
    apart = float(np.abs(found - expected).max())
    times = np.array(seen["times"])
    return (
        f"| `{Path(model).name}` | {size_mb:.2f} | {seen['readyMs'] / 1000:.1f} | {np.median(times):.1f} | {times.min():.1f}"
        f" | {flips} of {len(images)} | {apart:.2g} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="shipped models' names, or ONNX files")
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--faces", type=at_least_one, default=500, help="so many of PublicTest, drawn with seed 0")
    parser.add_argument("--modules", type=Path, default=ROOT / "build" / "web" / "node_modules")
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser to start")
    arguments = parser.parse_args()
    if arguments.chromium is None:
        raise InputError("Chromium is not installed; --chromium names one")
    faces = load_faces(arguments.data)
    chosen = np.flatnonzero(faces.splits == Split.PUBLIC_TEST.value)
    chosen = np.random.default_rng(0).choice(chosen, min(arguments.faces, len(chosen)), replace=False)
    print("| model | page MB | ready s | median ms | best ms | decisions flipped | logits apart |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for model in arguments.models:
        print(row(model, faces.images[chosen], arguments.modules, arguments.chromium), flush=True)


if __name__ == "__main__":
    run_script(main)
