"""Put a finished training run into the package: weights, activation ranges, measured quality, and the evidence.

    python export/build_release.py runs/rarn-s --data fer2013.zip

Thin on purpose: every figure comes from the package's own stages, judged on the held-out split and never selected on it.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from rarn_edge.artifact import Artifact
from rarn_edge.cli.inputs import describe
from rarn_edge.data import Faces, Split, load_faces
from rarn_edge.files import file_sha256, write_text
from rarn_edge.metrics import Evaluation, evaluate_logits
from rarn_edge.parity.chain import file_form
from rarn_edge.pipeline.calibrate import calibrate
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.pipeline.run import export_and_simplify
from rarn_edge.targets import detect_host
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.run import WEIGHTS_FILE

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "rarn_edge" / "assets"
CALIBRATION_IMAGES = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished `rarn-edge train`")
    parser.add_argument("--data", type=Path, required=True, help="the data set it was trained on")
    arguments = parser.parse_args()
    weights = load_weights(arguments.run / WEIGHTS_FILE)
    name = weights.spec.name
    faces = load_faces(arguments.data)
    sample = faces.split(Split.TRAINING).balanced_sample(CALIBRATION_IMAGES, seed=0)
    held_out = faces.held_out()
    target = detect_host().target
    with tempfile.TemporaryDirectory() as folder:
        float32, _ = export_and_simplify(weights, Path(folder) / f"{name}.onnx")
        ranges = calibrate(float32, sample)
        int8 = quantize(float32, target, ranges, Path(folder) / f"{name}.int8.onnx").artifact
        scores = {"float32": score(float32, held_out), f"int8 {target.value}": score(int8, held_out)}
    shutil.copyfile(arguments.run / WEIGHTS_FILE, ASSETS / f"{name}.safetensors")
    ranges.save(ASSETS / f"{name}.ranges.json")
    shutil.copyfile(arguments.run / "log.csv", ROOT / "export" / "logs" / f"{name}.csv")
    summary = ", ".join(f"{form} {evaluation.accuracy:.2%}" for form, evaluation in scores.items())
    summary += f" ({', '.join(split.value for split in held_out.available_splits)})"
    update(ASSETS / "quality.json", name, {"summary": summary})
    evidence = {
        "weights_sha256": file_sha256(ASSETS / f"{name}.safetensors"),
        "ranges_sha256": file_sha256(ASSETS / f"{name}.ranges.json"),
        "provenance": weights.provenance,
        "measured_on": describe(held_out),
        "measured": {form: evaluation.to_dict() for form, evaluation in scores.items()},
    }
    update(ROOT / "export" / "manifest.json", name, evidence)
    print(f"{name}: {summary}")


def score(artifact: Artifact, faces: Faces) -> Evaluation:
    """Accuracy of one file, single view."""
    logits = file_form(artifact, faces).logits
    return evaluate_logits(logits, faces.labels_in(artifact.spec.classes), artifact.spec.classes)


def update(path: Path, name: str, entry: dict[str, object]) -> None:
    """Replace one model's entry in a JSON file of all models."""
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content[name] = entry
    write_text(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
