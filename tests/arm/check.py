"""Answers of aarch64 beside those of this machine; run.sh calls it.

check.py prepare WORK             here: make the files, and answer the faces of the shipped bundles
check.py answer WORK KERNELS      inside the aarch64 root: the same faces and files, and the commands of a board
check.py judge WORK RESULT        here: compare, write the result, exit with 1 where something is out of tolerance
"""

import json
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

from rarn_edge.assets import shipped_bundle, shipped_labels, shipped_onnx, shipped_onnx_models
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import CLASSES
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.files import make_folder, write_text
from rarn_edge.parity.bundle import load_bundle
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

KERNELS = ("dotprod", "plain")
SAFE = Target.X86_AVX2  # the shipped file, right on every CPU
FLOAT_LIMIT = 1e-5  # of logits; INT8 must decide alike on every face
PREDICT, LABEL, PARITY, AGAIN = "predict", "predict says", "parity", "parity --from"
SMALL = "rarn-n"  # whose other commands are run: an emulated core needs 0.1 s an INT8 face of rarn-s, unfused a second
PARITY_FACES = 14


@dataclass(frozen=True)
class Case:
    """A shipped model with one label set."""

    model: str
    labels: str

    def file(self, work: Path, kind: str = "") -> Path:
        return work / f"{self.model}.{self.labels}{kind}.onnx"

    @property
    def bundle(self) -> Path:
        return shipped_bundle(self.model, self.labels)

    def files(self, work: Path) -> list[Path]:
        """Float32, INT8 for arm with float32 and, of one model, with uint8 input, and the shipped file."""
        kinds = ["", ".arm", *([".arm.uint8"] if self == small() else [])]
        return [*(self.file(work, kind) for kind in kinds), shipped_onnx(self.model, SAFE, self.labels)]


def cases() -> list[Case]:
    return [Case(model, labels) for model in shipped_onnx_models() for labels in shipped_labels(model)]


def small() -> Case:
    return next(case for case in cases() if case.model == SMALL)


def rarn(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line, with an hour for a batch: an emulated core shared with others is slow, and no graph here has a loop."""
    call = "from rarn_edge.cli import main; from rarn_edge.runtime import logits; logits.LIMIT_S = 3600.0; main()"
    command = [sys.executable, "-c", call, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def must(*arguments: object) -> None:
    done = rarn(*arguments)
    if done.returncode:
        sys.exit(f"rarn-edge {' '.join(map(str, arguments))}: exit code {done.returncode}\n{done.stderr}")


def prepare(work: Path) -> None:
    """Everything is made anew: the weights may be others than those of the last time."""
    shutil.rmtree(work, ignore_errors=True)
    make_folder(work)
    for case in cases():
        must("export", "--model", case.model, "--labels", case.labels, "-o", case.file(work))
        quantize = ("quantize", case.file(work), "--target", "arm", "--no-verdict", "-o")
        must(*quantize, case.file(work, ".arm"))
        if case == small():
            must(*quantize, case.file(work, ".arm.uint8"), "--input", "uint8")
    drawn = synthetic_faces(PARITY_FACES, seed=3)
    pictures = {work / "face.png": load_bundle(small().bundle).images[0]}
    for index, (image, label) in enumerate(zip(drawn.images, drawn.labels.tolist(), strict=True)):
        folder = work / "faces" / CLASSES[label]
        make_folder(folder)
        pictures[folder / f"{index}.png"] = image
    for path, image in pictures.items():
        if not cv2.imwrite(str(path), image):
            sys.exit(f"{path}: could not be written")
    must("bundle", SMALL, "-o", work / "board", "--format", "board")
    _answer_faces(work, "here")
    write_text(work / "here.json", json.dumps({"commands": _run_commands(work, "here", everything=True)}))


def answer(work: Path, kernels: str) -> None:
    host = detect_host()
    if (kernels == "dotprod") != ("asimddp" in host.features) or host.target != "arm":
        sys.exit(f"this is no aarch64 with {kernels} kernels: {host.explain()}")
    _answer_faces(work, kernels, kernels == "dotprod")
    codes = _run_commands(work, kernels, everything=kernels == "dotprod")
    board = subprocess.run(["sh", str(work / "board" / "verify.sh")], capture_output=True, text=True, check=False)
    codes["verify.sh of the board bundle"] = board.returncode
    if board.returncode:
        print(board.stdout[-2000:], board.stderr[-2000:], file=sys.stderr)
    system = f"{platform.machine()}, Python {platform.python_version()}, ONNX Runtime {ort.__version__}"
    facts = {"system": system, "host": host.explain(), "commands": codes}
    write_text(work / f"{kernels}.json", json.dumps(facts))


def _run_commands(work: Path, name: str, everything: bool) -> dict[str, Any]:
    """Exit codes, and what `predict` says."""
    first, saved = small(), work / f"{name}-parity.json"
    commands: dict[str, tuple[object, ...]] = {
        PREDICT: ("predict", work / "face.png", "--model", SMALL, "--json"),
        _verify_arm(first): ("verify", first.bundle, first.file(work, ".arm"), "--rebuilt"),
    }
    if everything:
        others = [case for case in cases() if case != first]
        commands |= {
            _verify_arm(case): ("verify", case.bundle, case.file(work, ".arm"), "--rebuilt") for case in others
        }
        forms = first.file(work), first.file(work, ".arm")
        commands["verify, all shipped files"] = ("verify",)
        commands[PARITY] = ("parity", *forms, "--data", work / "faces", "--json")
        commands[AGAIN] = ("parity", "--from", saved)
        made = work / f"{name}-made.onnx"
        commands["quantize for this machine"] = ("quantize", first.file(work), "--no-verdict", "-o", made)
    codes: dict[str, Any] = {}
    for command, arguments in commands.items():
        print(f"arm: {command}", file=sys.stderr, flush=True)
        done = rarn(*arguments)
        codes[command] = done.returncode
        if command == PARITY and done.stdout:
            write_text(saved, done.stdout)
        if command == PREDICT:
            codes[LABEL] = json.loads(done.stdout)["label"] if done.returncode == 0 else None
        elif done.returncode:
            print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
    return codes


def _verify_arm(case: Case) -> str:
    return f"verify, {case.model} for arm, {case.labels}"


def _answer_faces(work: Path, name: str, with_float: bool = True) -> None:
    """Logits [N, classes] of the bundle's faces by every file, as its session fuses it."""
    logits = {}
    for case in cases():
        bundle = load_bundle(case.bundle)
        for path in case.files(work):
            artifact = Artifact.load(path)
            if artifact.contract.precision == "float32" and not with_float:
                continue  # no kernel of it depends on dot products
            print(f"arm: {path.name}", file=sys.stderr, flush=True)
            faces = bundle.images[: bundle.shown.faces]
            logits[path.name] = run_logits(open_session(path, threads=1), artifact.spec, faces)
    np.savez(work / f"{name}.npz", **logits)


def judge(work: Path, result: Path) -> int:
    here = np.load(work / "here.npz")
    expected_codes = json.loads((work / "here.json").read_text(encoding="utf-8"))["commands"]
    runs, failed = [], []
    for kernels in KERNELS:
        facts = json.loads((work / f"{kernels}.json").read_text(encoding="utf-8"))
        there = np.load(work / f"{kernels}.npz")
        rows = []
        for path in (path for case in cases() for path in case.files(work)):
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
        if AGAIN in facts["commands"] and (
            code := rarn("parity", "--from", work / f"{kernels}-parity.json").returncode
        ):
            failed.append(f"parity --from the answers with {kernels} kernels: {code} here")
        runs.append({"kernels": kernels, **facts, "answers": rows})
    print(f"{'file':34} {'kernels':8} faces flipped max logit difference")
    for run in runs:
        for row in run["answers"]:
            print(
                f"{row['file']:34} {run['kernels']:8} {row['faces']:5} {row['decisions_flipped']:7} {row['max_abs_logit']:g}"
            )
    make_folder(result.parent)
    document = {
        "schema_version": 1,
        "kind": "arm-answers",
        "emulator": "QEMU user mode",
        "compared_with": "x86-64",
        "runs": runs,
    }
    write_text(result, json.dumps(document, indent=1) + "\n")
    for text in failed:
        print(f"error: {text}", file=sys.stderr)
    return 1 if failed else 0


def main() -> int:
    match sys.argv[1:]:
        case ["prepare", work]:
            prepare(Path(work))
        case ["answer", work, kernels]:
            answer(Path(work), kernels)
        case ["judge", work, result]:
            return judge(Path(work), Path(result))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
