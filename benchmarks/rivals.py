"""Our INT8 file beside other tools' files of one network: python benchmarks/rivals.py --data fer2013.zip --out RECORD.json

Each tool of benchmarks/rivals.toml gets an environment of its own (--envs) and makes its forms from the same rarn-s. Then every
form is opened in a process of its own, and all are timed in turns, in a shuffled order, one picture at a time and one thread;
each ratio is to ONNX Runtime with the float32 file in the same rounds. A tool that cannot be installed, or a form that cannot
be made or run, is recorded with its reason. --render writes the table of a record into docs/results/rivals.md, --check compares.
"""

import argparse
import json
import random
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rarn_edge.boundary.documents import to_json
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.targets import detect_host
from rarn_edge.data import Split, load_faces
from rarn_edge.errors import InputError, first_line, run_script
from rarn_edge.files import check_outputs, make_folder, write_text
from rarn_edge.host.environment import detect_environment
from rarn_edge.report.table import Table, table, text_column
from rarn_edge.stats.ratio import latency_ratio, median_s

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results" / "rivals.md"
TOOLS = Path(__file__).with_name("rivals.toml")
WORKER = Path(__file__).with_name("rivals_worker.py")
MODEL, SEED = "rarn-s", 0
CALIBRATION, CALLS = 512, 5  # faces; calls of a turn, of which the median counts
REFERENCE, OURS = "ONNX Runtime float32", "rarn-edge INT8"
START, END = "<!-- rivals -->\n", "<!-- end rivals -->"


@dataclass
class Form:
    """One file and the runtime that answers with it."""

    label: str
    runtime: str
    python: str
    file: str = ""
    failed: str = ""  # why there are no figures
    versions: dict[str, str] = field(default_factory=dict)
    memory_bytes: int | None = None
    size_bytes: int | None = None
    wall_s: list[float] = field(default_factory=list)  # a round: the median of its calls
    cpu_s: list[float] = field(default_factory=list)
    accuracy: float | None = None
    agreement: float | None = None


class Worker:
    """A process that has one form open."""

    def __init__(self, form: Form) -> None:
        command = [form.python, str(WORKER), "serve", form.runtime, form.file]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=one_thread()
        )
        form.memory_bytes = int(self._read()["memory_bytes"])

    def ask(self, **request: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            raise RuntimeError(last_line(self.process.stderr.read()))
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def one_thread() -> dict[str, str]:
    """The environment of a worker: one thread in every library that asks it, and none of ours on the path."""
    import os

    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "KMP_BLOCKTIME": "0"}


def last_line(text: str) -> str:
    """What a process said last, in 200 characters."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines or ["it ended without a word"])[-1][:200]


def environment(name: str, packages: list[str], folder: Path) -> tuple[str, dict[str, str]]:
    """The Python of a tool's own environment, made on first use, and the versions of what was asked for.

    Raises:
        InputError: pip cannot install it.
    """
    place = folder / name
    python = place / "bin" / "python"
    if not python.exists():
        venv.create(place, with_pip=True)
    if not (place / "installed").exists():
        done = subprocess.run(
            [python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise InputError(f"pip cannot install it: {last_line(done.stderr)}")
        (place / "installed").touch()
    frozen = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True, check=True).stdout
    wanted = {package.partition("==")[0].replace("-", "_").lower() for package in packages}
    pairs = [line.split("==") for line in frozen.splitlines() if "==" in line]
    return str(python), {pair[0]: pair[1] for pair in pairs if pair[0].replace("-", "_").lower() in wanted}


def made(form: Form, what: str, folder: Path) -> None:
    """Make the file of a form in its tool's environment."""
    command = [form.python, str(WORKER), "make", what, str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=one_thread(), timeout=600, check=False)
    except subprocess.TimeoutExpired:
        form.failed = "making it took more than ten minutes"
        return
    if done.returncode or not done.stdout.strip():
        form.failed = f"cannot be made: {last_line(done.stderr)}"
        return
    form.file = json.loads(done.stdout.splitlines()[-1])["file"]
    parts = [Path(form.file), Path(form.file).with_suffix(".bin")]
    form.size_bytes = sum(part.stat().st_size for part in parts if part.is_file())


def prepare(data: Path, faces: int, folder: Path) -> tuple[list[Form], Path, Any]:
    """The exported file in each form that tools read, our INT8 file, and faces of PublicTest with their labels [N]."""
    import torch

    import rarn_edge
    from rarn_edge.assets import shipped_weights
    from rarn_edge.models.count import bake
    from rarn_edge.train.checkpoint import load_weights

    make_folder(folder)
    options = {"labels": "fer2013"}
    plain = rarn_edge.export(folder / "model.onnx", MODEL, simplify=False, **options).artifact
    simple = rarn_edge.export(folder / "simplified.onnx", MODEL, **options).artifact
    weights = load_weights(shipped_weights(MODEL, "fer2013"))
    module = bake(weights.model()).eval()
    torch.export.save(torch.export.export(module, (torch.zeros(1, 1, 48, 48),)), folder / "model.pt2")
    target = detect_host().target
    int8 = folder / "ours.int8.onnx"
    quantized = rarn_edge.quantize(simple.path, int8, target=target.value, calib=data, verdict=False).artifact
    preprocess = plain.spec.preprocess
    calibration = load_faces(data, lambda found: found.split(Split.TRAINING).balanced_sample(CALIBRATION, SEED))
    shown = load_faces(data, lambda found: found.split(Split.PUBLIC_TEST))
    chosen = np.sort(np.random.default_rng(SEED).permutation(len(shown))[:faces])
    shown = shown.where(chosen)
    np.save(folder / "calibration.npy", to_input(calibration.images, preprocess))
    np.save(folder / "faces.npy", to_input(shown.images, preprocess))
    np.save(folder / "one.npy", to_input(shown.images[:1], preprocess))
    ours = [
        Form(REFERENCE, "onnxruntime", "", str(plain.path), size_bytes=plain.size_bytes),
        Form(OURS, "onnxruntime", "", str(quantized.path), size_bytes=quantized.size_bytes),
    ]
    return ours, folder / "faces.npy", shown.labels_in(plain.spec.classes)


def measure(forms: list[Form], faces: Path, labels: Any, rounds: int, on_stage: Any) -> None:
    """Answers of each form, then interleaved rounds: a turn of each form that answers, in a shuffled order."""
    workers: dict[str, Worker] = {}
    answers: dict[str, Any] = {}
    for form in (each for each in forms if not each.failed):
        on_stage(f"{form.label} answers")
        out = faces.with_name("answers.npy")
        try:
            workers[form.label] = Worker(form)
            workers[form.label].ask(do="answer", faces=str(faces), out=str(out))
            answers[form.label] = np.load(out)
        except (RuntimeError, OSError) as error:  # the process ended: what it said last is the reason
            form.failed = f"does not run: {first_line(error)}"
            worker = workers.pop(form.label, None)
            if worker is not None:
                worker.close()
    order = random.Random(SEED)
    alive = [form for form in forms if form.label in workers]
    on_stage(f"{rounds} rounds of {len(alive)} forms")
    for _ in range(rounds):
        for form in order.sample(alive, len(alive)):
            found = workers[form.label].ask(do="time", calls=CALLS)
            form.wall_s.append(median_s(found["wall_s"]))
            form.cpu_s.append(median_s(found["cpu_s"]))
    for worker in workers.values():
        worker.close()
    expected = answers[REFERENCE].argmax(1)
    for form in alive:
        decided = answers[form.label].argmax(1)
        form.accuracy, form.agreement = float((decided == labels).mean()), float((decided == expected).mean())


def run(data: Path, out: Path, envs: Path, work: Path, faces: int, rounds: int) -> None:
    check_outputs([out], [data, TOOLS])
    tools = tomllib.loads(TOOLS.read_text())["tool"]
    ours, shown, labels = prepare(data, faces, work)
    forms = list(ours)
    for tool in tools:
        stage(f"{tool['name']}: environment")
        try:
            python, versions = environment(tool["name"], tool["packages"], make_folder(envs))
        except InputError as error:
            forms += [Form(each["label"], each["runtime"], "", failed=str(error)) for each in tool["forms"]]
            continue
        for each in tool["forms"]:
            form = Form(each["label"], each["runtime"], python, versions=versions)
            stage(f"{form.label}: making it")
            made(form, each["make"], work)
            forms.append(form)
            if tool["name"] == "onnxruntime":
                for own in ours:
                    own.python, own.versions = python, versions
    measure(forms, shown, labels, rounds, stage)
    write_record(forms, len(labels), rounds, out)


def write_record(forms: list[Form], faces: int, rounds: int, out: Path) -> None:
    found = {
        "environment": asdict(detect_environment()),
        "target": detect_host().target.value,
        "model": MODEL,
        "faces": f"{faces} faces of PublicTest (FER-2013)",
        "rounds": rounds,
        "load_average": Path("/proc/loadavg").read_text().split()[:3],
        "forms": [{**asdict(each), "python": "", "file": Path(each.file).name} for each in forms],
    }
    write_text(out, to_json(found, indent=1) + "\n")


def stage(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def rivals_table(record: Mapping[str, Any]) -> Table:
    """The forms, the fastest first, then those that have no figures."""
    forms = record["forms"]
    reference = next(each for each in forms if each["label"] == REFERENCE)
    rows = []
    ran = [each for each in forms if not each["failed"]]
    for each in sorted(ran, key=lambda one: median_s(one["wall_s"])):
        wall = latency_ratio(each["wall_s"], reference["wall_s"])
        cpu = latency_ratio(each["cpu_s"], reference["cpu_s"])
        rows.append(
            (
                each["label"], f"{wall.value:.2f} [{wall.low:.2f}, {wall.high:.2f}]", f"{cpu.value:.2f}",
                f"{1e3 * median_s(each['wall_s']):.2f}", f"{each['accuracy']:.2%}", f"{each['agreement']:.2%}",
                f"{each['memory_bytes'] / 2**20:.0f}", f"{each['size_bytes'] / 2**20:.2f}", versions_of(each),
            )
        )  # fmt: skip
    columns = (
        "form", f"time, ratio to {REFERENCE}", "processor time, ratio", "ms a picture", "accuracy", "decides as float32",
        "memory, MiB", "file, MiB", text_column("versions"),
    )  # fmt: skip
    failed = "; ".join(f"{each['label']}: {each['failed']}" for each in forms if each["failed"])
    return table("", columns, rows, f"Without figures: {failed}." if failed else "")


def versions_of(form: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in form["versions"].items())


def rendered(page: str) -> str:
    """The page with the table of every recorded run between its marks."""
    parts = []
    for path in sorted((ROOT / "benchmarks" / "results").glob("*/rivals.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        where = record["environment"]
        title = (
            f"`{record['model']}` on {where['cpu']} ({record['target']}, {where['cores_available']} cores), one thread, batch 1,"
            f" {record['faces']}, {record['rounds']} interleaved rounds, {where['time_utc'][:10]}; load of the machine"
            f" {record['load_average'][0]} ([raw samples](../../benchmarks/results/{path.parent.name}/{path.name})):"
        )
        parts.append(f"{title}\n\n{rivals_table(record).to_markdown()}\n")
    before, _, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{PAGE}: has no block {START.strip()} ... {END}")
    return before + START + "\n".join(parts) + END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FER-2013")
    parser.add_argument("--out", type=Path, help="the record to write")
    parser.add_argument("--envs", type=Path, default=ROOT / "build" / "rivals", help="where environments are made")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "rivals-files", help="where the files are made")
    parser.add_argument("--faces", type=int, default=1000, help="how many of PublicTest")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--render", action="store_true", help="write docs/results/rivals.md from the records")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when the page is out of date")
    options = parser.parse_args()
    if options.data is not None and options.out is not None:
        run(
            options.data,
            options.out.resolve(),
            options.envs.resolve(),
            options.work.resolve(),
            options.faces,
            options.rounds,
        )
    old = PAGE.read_text(encoding="utf-8")
    if options.check and rendered(old) != old:
        raise InputError(f"{PAGE} is out of date; run: python benchmarks/rivals.py --render")
    if options.render:
        write_text(PAGE, rendered(old))


if __name__ == "__main__":
    run_script(main)
