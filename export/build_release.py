"""Put a finished training run into the package: weights, activation ranges, measured quality, INT8 file, parity bundle, evidence.

    python export/build_release.py runs/rarn-s --data fer2013.zip
    python export/build_release.py rarn-s    # INT8 file and bundle only, after a change of the export or the quantizer

Thin on purpose: every figure comes from the package's own stages, judged on the held-out split and never selected on it.
"""

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from rarn_edge.artifact import Artifact
from rarn_edge.assets import (
    SAFE_TARGET,
    onnx_name,
    shipped_bundle,
    shipped_models,
    shipped_ranges,
    shipped_weights,
)
from rarn_edge.cli.gate import gate
from rarn_edge.cli.inputs import SYNTHETIC_SEED, describe
from rarn_edge.data import Faces, Split, load_faces, synthetic_faces
from rarn_edge.files import file_sha256, write_text
from rarn_edge.metrics import Evaluation, evaluate_logits
from rarn_edge.parity.bundle import SUFFIX, make_bundle, save_bundle
from rarn_edge.parity.chain import file_form, torch_form
from rarn_edge.parity.inputs import show
from rarn_edge.parity.verify import verify
from rarn_edge.pipeline.calibrate import Ranges, calibrate
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.pipeline.run import export_and_simplify
from rarn_edge.targets import detect_host
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.run import WEIGHTS_FILE

ROOT = Path(__file__).parent.parent
ASSETS = ROOT / "rarn_edge" / "assets"
CALIBRATION_IMAGES = 512
BUNDLE_FACES = 98  # 14 of each class: a bundle under 300 kB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="folder of a finished `rarn-edge train`, or the name of a shipped model")
    parser.add_argument("--data", type=Path, help="the data set it was trained on; needed for a folder")
    arguments = parser.parse_args()
    if arguments.source in shipped_models():
        name = arguments.source
    elif arguments.data is None:
        parser.error("a new model needs --data, to measure its ranges and its accuracy on")
    else:
        name = release(Path(arguments.source), arguments.data)
    build_onnx(name)


def release(run: Path, data: Path) -> str:
    """Weights, ranges, measured accuracy and evidence of a finished run; returns the model's name."""
    weights = load_weights(run / WEIGHTS_FILE)
    name = weights.spec.name
    faces = load_faces(data)
    sample = faces.split(Split.TRAINING).balanced_sample(CALIBRATION_IMAGES, seed=0)
    held_out = faces.held_out()
    target = detect_host().target
    with tempfile.TemporaryDirectory() as folder:
        float32, _ = export_and_simplify(weights, Path(folder) / f"{name}.onnx")
        ranges = calibrate(float32, sample)
        int8 = quantize(float32, target, ranges, Path(folder) / f"{name}.int8.onnx").artifact
        scores = {"float32": score(float32, held_out), f"int8 {target.value}": score(int8, held_out)}
    shutil.copyfile(run / WEIGHTS_FILE, ASSETS / f"{name}.safetensors")
    ranges.save(ASSETS / f"{name}.ranges.json")
    shutil.copyfile(run / "log.csv", ROOT / "export" / "logs" / f"{name}.csv")
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
    return name


def build_onnx(name: str) -> None:
    """The INT8 file and the parity bundle of shipped weights and ranges; both must pass `rarn-edge verify`."""
    weights = load_weights(shipped_weights(name), expected_model=name)
    ranges = Ranges.load(shipped_ranges(name))
    faces = synthetic_faces(BUNDLE_FACES, seed=SYNTHETIC_SEED)
    shown = show(faces, None, f"{BUNDLE_FACES} synthetic faces", weights.spec.preprocess)
    bundle = make_bundle(weights.spec, shown, torch_form(weights, shown), weights.sha256)
    with tempfile.TemporaryDirectory() as folder:
        float32, _ = export_and_simplify(weights, Path(folder) / f"{name}.onnx")
        made = Path(folder) / onnx_name(name, SAFE_TARGET)
        quantize(float32, SAFE_TARGET, ranges, made)
        for file in (float32.path, made):
            gate(verify(bundle, file))
        shutil.copyfile(made, ASSETS / made.name)
    save_bundle(bundle, ASSETS / f"{name}{SUFFIX}")
    for path in (ASSETS / onnx_name(name, SAFE_TARGET), shipped_bundle(name)):
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e3:,.0f} kB, sha256 {file_sha256(path)[:12]}")


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
