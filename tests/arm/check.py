"""Answers of aarch64 beside those of this machine; run.sh calls it.

check.py prepare WORK             here: make the files, and answer the faces of the shipped bundles
check.py answer WORK KERNELS      inside the aarch64 root: the same faces and files, and the commands of a board
check.py judge WORK LEDGER        here: compare, write the ledger, exit with 1 where something is out of tolerance
"""

import json
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from rarn_edge.assets import shipped_bundle, shipped_onnx, shipped_onnx_models
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.files import make_folder, write_text
from rarn_edge.parity.bundle import load_bundle
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

KERNELS = ("dotprod", "plain")
SAFE = Target.X86_AVX2  # the shipped file, right on every CPU
FLOAT_FACES = 24  # an emulated core needs a second for each of rarn-s; INT8 files answer every face of the bundle
FLOAT_LIMIT = 1e-5  # of logits; INT8 must decide alike on every face
PREDICT, LABEL, SAME = "predict", "predict says", "verify, the file for arm"
SMALL = "rarn-n"  # whose commands are run: an emulated core needs 0.1 s an INT8 face of rarn-s, unfused a second


def rarn(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rarn_edge", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def must(*arguments: object) -> None:
    done = rarn(*arguments)
    if done.returncode:
        sys.exit(f"rarn-edge {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")


def files(work: Path) -> list[Path]:
    """Float32, INT8 for arm with float32 and with uint8 input, and the shipped file, of each shipped model."""
    made = [work / f"{model}{kind}.onnx" for model in shipped_onnx_models() for kind in ("", ".arm")]
    return [*made, work / f"{SMALL}.arm.uint8.onnx", *(shipped_onnx(model, SAFE) for model in shipped_onnx_models())]


def prepare(work: Path) -> None:
    from rarn_edge.workflow.model_files import named_models

    make_folder(work)
    models = shipped_onnx_models()
    named_models(list(models), work)
    for model in models:
        quantize = ("quantize", work / f"{model}.onnx", "--target", "arm", "--no-verdict", "-o")
        must(*quantize, work / f"{model}.arm.onnx")
        if model == SMALL:
            must(*quantize, work / f"{model}.arm.uint8.onnx", "--input", "uint8")
    face = load_bundle(shipped_bundle(SMALL)).images[0]
    if not cv2.imwrite(str(work / "face.png"), face):
        sys.exit(f"{work}: could not write face.png")
    if not (work / "board").exists():
        must("bundle", SMALL, "-o", work / "board", "--format", "board")
    _answer_faces(work, "here")
    write_text(work / "here.json", json.dumps({"commands": _run_commands(work, everything=False)}))


def answer(work: Path, kernels: str) -> None:
    host = detect_host()
    if (kernels == "dotprod") != ("asimddp" in host.features) or host.target != "arm":
        sys.exit(f"this is no aarch64 with {kernels} kernels: {host.explain()}")
    _answer_faces(work, kernels, kernels == "dotprod")
    codes = _run_commands(work, everything=kernels == "dotprod")
    board = subprocess.run(["sh", str(work / "board" / "verify.sh")], capture_output=True, text=True, check=False)
    codes["verify.sh of the board bundle"] = board.returncode
    if board.returncode:
        print(board.stdout[-2000:], board.stderr[-2000:], file=sys.stderr)
    system = f"{platform.machine()}, Python {platform.python_version()}, ONNX Runtime {ort.__version__}"
    facts = {"system": system, "host": host.explain(), "commands": codes}
    write_text(work / f"{kernels}.json", json.dumps(facts))


def _run_commands(work: Path, everything: bool) -> dict[str, Any]:
    """Exit codes, and what `predict` says."""
    commands: dict[str, tuple[object, ...]] = {
        PREDICT: ("predict", work / "face.png", "--model", SMALL, "--json"),
        SAME: ("verify", shipped_bundle(SMALL), work / f"{SMALL}.arm.onnx", "--rebuilt"),
    }
    if everything:
        commands["verify, the shipped file"] = ("verify", shipped_bundle(SMALL), shipped_onnx(SMALL, SAFE))
        made = work / "made-there.onnx"
        commands["quantize for this machine"] = ("quantize", work / f"{SMALL}.onnx", "--no-verdict", "-o", made)
    codes: dict[str, Any] = {}
    for name, arguments in commands.items():
        print(f"arm: {name}", file=sys.stderr, flush=True)
        done = rarn(*arguments)
        codes[name] = done.returncode
        if name == PREDICT:
            codes[LABEL] = json.loads(done.stdout)["label"] if done.returncode == 0 else None
        elif done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return codes


def _answer_faces(work: Path, name: str, with_float: bool = True) -> None:
    """Logits [N, 7] of the bundle's faces by every file, as its session fuses it."""
    logits = {}
    for path in files(work):
        artifact = Artifact.load(path)
        if artifact.contract.precision == "float32" and not with_float:
            continue  # no kernel of it depends on dot products
        print(f"arm: {path.name}", file=sys.stderr, flush=True)
        bundle = load_bundle(shipped_bundle(artifact.spec.name))
        faces = bundle.images[: FLOAT_FACES if artifact.contract.precision == "float32" else bundle.shown.faces]
        logits[path.name] = run_logits(open_session(path, threads=1), artifact.spec, faces)
    np.savez(work / f"{name}.npz", **logits)


def judge(work: Path, ledger: Path) -> int:
    here = np.load(work / "here.npz")
    expected_codes = json.loads((work / "here.json").read_text(encoding="utf-8"))["commands"]
    runs, failed = [], []
    for kernels in KERNELS:
        facts = json.loads((work / f"{kernels}.json").read_text(encoding="utf-8"))
        there = np.load(work / f"{kernels}.npz")
        rows = []
        for path in files(work):
            if path.name not in there.files:
                continue
            contract, ours, theirs = Artifact.load(path).contract, here[path.name], there[path.name]
            target = None if contract.target is None else contract.target.value
            flipped = int((ours.argmax(axis=1) != theirs.argmax(axis=1)).sum())
            apart = float(np.abs(ours - theirs).max())
            rows.append(
                {"file": path.name, "precision": contract.precision, "target": target, "input": contract.spec.input_dtype,
                 "faces": len(ours), "decisions_flipped": flipped, "max_abs_logit": float(f"{apart:.2g}")}
            )  # fmt: skip
            if flipped or (contract.precision == "float32" and apart > FLOAT_LIMIT):
                failed.append(
                    f"{path.name} with {kernels} kernels: {flipped} decisions flipped, logits within {apart:.2g}"
                )
        for name, code in facts["commands"].items():
            expected = expected_codes.get(name, 0)  # an INT8 file that a tolerance refuses here is refused there too
            if code != expected:
                failed.append(f"{name} with {kernels} kernels: {code}, here {expected}")
        runs.append({"kernels": kernels, **facts, "answers": rows})
    print(f"{'file':32} {'kernels':8} faces flipped max logit difference")
    for run in runs:
        for row in run["answers"]:
            print(
                f"{row['file']:32} {run['kernels']:8} {row['faces']:5} {row['decisions_flipped']:7} {row['max_abs_logit']:g}"
            )
    make_folder(ledger.parent)
    document = {
        "schema_version": 1,
        "kind": "arm-answers",
        "emulator": "QEMU user mode",
        "compared_with": "x86-64",
        "runs": runs,
    }
    write_text(ledger, json.dumps(document, indent=1) + "\n")
    for text in failed:
        print(f"error: {text}", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    match sys.argv[1:]:
        case ["prepare", work]:
            prepare(Path(work))
        case ["answer", work, kernels]:
            answer(Path(work), kernels)
        case ["judge", work, ledger]:
            return judge(Path(work), Path(ledger))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
