"""Our INT8 file beside other tools' files of one network: python benchmarks/rivals.py --data fer2013.zip --out RECORD.json

Each tool of benchmarks/rivals.toml gets an environment of its own (--envs) and makes its forms from the same rarn-s. Then every
form is opened in a process of its own, and all are timed in turns, in a shuffled order, one picture at a time and one thread, in
several launches; each ratio is to ONNX Runtime with the float32 file in the same rounds. A tool that cannot be installed, or a
form that cannot be made or run, or not within the limits, is recorded with its reason. What was made is kept in --work: a run
that was stopped goes on from there. --render writes the tables of all records into docs/results/rivals.md, --check compares.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.boundary.documents import to_json
from rarn_edge.boundary.limits import at_least_one
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.targets import detect_host
from rarn_edge.data import Split, load_faces
from rarn_edge.errors import InputError, first_line, run_script
from rarn_edge.files import check_outputs, make_folder, write_text
from rarn_edge.host.environment import detect_environment
from rarn_edge.report.table import Table, table, text_column
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.ratio import median_s, ratio_over_launches

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "results" / "rivals.md"
TOOLS = Path(__file__).with_name("rivals.toml")
WORKER = Path(__file__).with_name("rivals_worker.py")
MODEL, SEED = "rarn-s", 0
CALIBRATION, CALLS = 512, 5  # faces; calls of a turn, of which the median counts
REFERENCE, OURS = "ONNX Runtime float32", "rarn-edge INT8"
START, END = "<!-- rivals -->\n", "<!-- end rivals -->"


@dataclass(frozen=True)
class Limits:
    """Seconds that a step may take; then it is stopped, and that is the reason in the record."""

    install: float = 1800
    make: float = 600
    answer: float = 600  # to open and warm up, to answer all faces, to take a turn


LIMITS = Limits()


@dataclass
class Form:
    """One file and the runtime that answers with it."""

    label: str
    runtime: str
    python: str
    file: str = ""
    failed: str = ""  # why there are no figures
    versions: dict[str, str] = field(default_factory=dict)
    made_s: float | None = None  # converting and quantizing
    memory_bytes: int | None = None
    size_bytes: int | None = None
    wall_s: list[list[float]] = field(default_factory=list)  # [launch][round], each the median of its calls
    cpu_s: list[list[float]] = field(default_factory=list)
    accuracy: float | None = None
    agreement: float | None = None


class Worker:
    """A process that has one form open.

    Raises, as `ask` does:
        InputError: the process ended, with what it said; or it took longer than its limit.
    """

    def __init__(self, form: Form, one: Path, limit_s: float) -> None:
        self.limit_s = limit_s
        # a file, for a pipe that nobody reads would fill up; open as long as the process
        self.said = tempfile.TemporaryFile("w+")  # noqa: SIM115 (`close` closes it)
        command = [form.python, str(WORKER), "serve", form.runtime, form.file, str(one)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True, env=one_thread()
        )
        try:
            form.memory_bytes = max(form.memory_bytes or 0, int(self._read()["memory_bytes"]))
        except BaseException:  # Ctrl-C too: nobody else would end the process
            self.close()
            raise

    def ask(self, **request: object) -> dict[str, Any]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:  # it has ended: reading says why
            pass
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        stop = threading.Timer(self.limit_s, self.process.kill)
        stop.daemon = True
        start = time.monotonic()
        stop.start()
        try:
            line = self.process.stdout.readline()
        finally:
            stop.cancel()
        if line:
            found: dict[str, Any] = json.loads(line)
            return found
        if time.monotonic() - start >= self.limit_s:
            raise InputError(over(self.limit_s))
        code = self.process.wait()
        self.said.seek(0)
        raise InputError(reason(self.said.read(), code))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()
        self.said.close()


def one_thread() -> dict[str, str]:
    """The environment of a worker: one thread in every library that asks it, and none of ours on the path."""
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return {**kept, "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "KMP_BLOCKTIME": "0"}


def reason(said: str, code: int) -> str:
    """Why a process failed, in 200 characters: the last line that names an exception, else its last line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    ended = f"ended by signal {-code}" if code < 0 else f"ended with exit code {code} without a word"
    return re.sub(r"^(\w+\.)+(?=\w+:)", "", (named or lines or [ended])[-1])[:200]  # an exception by its own name


def over(limit_s: float) -> str:
    return f"stopped at the limit of {limit_s / 60:g} minutes"


def bounded(command: Sequence[object], limit_s: float) -> str:
    """What a command prints. At the limit it is stopped, with everything that it started.

    Raises:
        InputError: it failed, with what it said last; or it reached the limit.
    """
    with subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=one_thread(),
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            said, errors = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            raise InputError(over(limit_s)) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise InputError(reason(errors or said, process.returncode))
    return said


def environment(name: str, packages: list[str], folder: Path) -> tuple[str, dict[str, str]]:
    """The Python of a tool's own environment, and the versions of what was asked for.

    It is made on first use, anew where an earlier run was stopped before its end, and pip looks through it again when the list
    of packages has changed.

    Raises:
        InputError: it cannot be made, or pip cannot install them, or not within the limit.
    """
    place = folder / name
    python, installed = place / "bin" / "python", place / "installed"
    if not (installed.exists() and python.exists()):
        try:
            venv.create(place, with_pip=True, clear=(place / "pyvenv.cfg").exists())  # cleared only if it is one
        except subprocess.CalledProcessError as error:
            said = reason((error.output or b"").decode(errors="replace"), error.returncode)
            raise InputError(f"no environment can be made in {place} ({said})") from error
        write_text(installed, "")
    wanted = "".join(f"{package}\n" for package in packages)
    if installed.read_text(encoding="utf-8") != wanted:
        bounded([python, "-m", "pip", "install", "-q", *packages], LIMITS.install)
        write_text(installed, wanted)
    frozen = bounded([python, "-m", "pip", "freeze"], LIMITS.install)
    names = {re.split("[=<>]", package)[0].replace("-", "_").lower() for package in packages}
    pairs = [line.split("==") for line in frozen.splitlines() if "==" in line]
    return str(python), {pair[0]: pair[1] for pair in pairs if pair[0].replace("-", "_").lower() in names}


def make(form: Form, what: str, folder: Path) -> None:
    """Make the file of a form in its tool's environment, unless an earlier run made it of the same model and faces.

    Raises:
        InputError: the tool fails, or takes longer than its limit.
    """
    sources = (folder / "model.onnx", folder / "calibration.npy", WORKER)
    made_of = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources if path.exists()]
    note = {"made_of": made_of, "versions": form.versions}
    kept = folder / f"{what}.made.json"
    found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    if {key: found.get(key) for key in note} != note or not Path(found["file"]).exists():
        start = time.monotonic()
        said = bounded([form.python, WORKER, "make", what, folder], LIMITS.make)
        found = {**note, **json.loads(said.splitlines()[-1]), "made_s": time.monotonic() - start}
        write_text(kept, to_json(found) + "\n")
    form.file, form.made_s = found["file"], found["made_s"]
    parts = {Path(form.file), Path(form.file).with_suffix(".bin")}
    form.size_bytes = sum(part.stat().st_size for part in parts if part.is_file())


@dataclass(frozen=True)
class Shown:
    """What every form answers: files of all faces [N, 1, 48, 48] and of one [1, 1, 48, 48], and the labels [N]."""

    faces: Path
    one: Path
    labels: NDArray[np.int64]


def prepare(data: Path, faces: int, folder: Path) -> tuple[list[Form], Shown]:
    """The exported file in each form that tools read, our INT8 file, and faces of PublicTest with their labels."""
    import torch

    import rarn_edge
    from rarn_edge.assets import shipped_weights
    from rarn_edge.models.count import bake
    from rarn_edge.train.checkpoint import load_weights

    calibration = load_faces(data, lambda found: found.split(Split.TRAINING).balanced_sample(CALIBRATION, SEED))
    shown = load_faces(data, lambda found: found.split(Split.PUBLIC_TEST))
    shown = shown.where(np.sort(np.random.default_rng(SEED).permutation(len(shown))[:faces]))
    make_folder(folder)
    plain = rarn_edge.export(folder / "model.onnx", MODEL, labels="fer2013", simplify=False).artifact
    simple = rarn_edge.export(folder / "simplified.onnx", MODEL, labels="fer2013").artifact
    module = bake(load_weights(shipped_weights(MODEL, "fer2013")).model()).eval()
    image = torch.zeros(1, 1, 48, 48)
    torch.export.save(torch.export.export(module, (image,)), folder / "model.pt2")
    torch.jit.trace(module, image).save(folder / "model.pt")  # type: ignore[no-untyped-call]
    start = time.monotonic()
    quantized = rarn_edge.quantize(
        simple.path, folder / "ours.int8.onnx", target=detect_host().target.value, calib=data, verdict=False
    ).artifact
    made_s = time.monotonic() - start
    preprocess = plain.spec.preprocess
    np.save(folder / "calibration.npy", to_input(calibration.pixels, preprocess))
    np.save(folder / "faces.npy", to_input(shown.pixels, preprocess))
    np.save(folder / "one.npy", to_input(shown.pixels[:1], preprocess))
    ours = [
        Form(REFERENCE, "onnxruntime", "", str(plain.path), size_bytes=plain.size_bytes),
        Form(OURS, "onnxruntime", "", str(quantized.path), size_bytes=quantized.size_bytes, made_s=made_s),
    ]
    return ours, Shown(folder / "faces.npy", folder / "one.npy", shown.labels_in(plain.spec.classes))


def measure(forms: list[Form], shown: Shown, launches: int, rounds: int, on_stage: Callable[[str], None]) -> None:
    """Figures of all forms: in each launch new processes, then rounds with a turn of each form, in a shuffled order.

    The first launch also answers all faces. A form whose process ends or is stopped fails with that reason, and has no figures.

    Raises:
        InputError: the reference does not run.
    """
    order = random.Random(SEED)
    answers: dict[str, NDArray[np.float32]] = {}  # [N, classes] each
    for launch in range(launches):
        workers: dict[str, Worker] = {}
        try:
            for form in working(forms):
                on_stage(f"launch {launch + 1} of {launches}: {form.label}")
                with failing(form, "does not run"):
                    workers[form.label] = Worker(form, shown.one, LIMITS.answer)
                    if not launch:
                        out = shown.faces.with_name("answers.npy")
                        workers[form.label].ask(do="answer", faces=str(shown.faces), out=str(out))
                        answers[form.label] = np.load(out)
                    form.wall_s.append([])
                    form.cpu_s.append([])
            require_reference(forms)
            on_stage(f"launch {launch + 1} of {launches}: {rounds} rounds of {len(working(forms))} forms")
            for _ in range(rounds):
                for form in order.sample(working(forms), len(working(forms))):
                    with failing(form, "stops while it is timed"):
                        found = workers[form.label].ask(do="time", calls=CALLS)
                        form.wall_s[-1].append(median_s(found["wall_s"]))
                        form.cpu_s[-1].append(median_s(found["cpu_s"]))
        finally:
            for worker in workers.values():
                worker.close()
    require_reference(forms)
    expected = answers[REFERENCE].argmax(1)
    for form in working(forms):
        decided = answers[form.label].argmax(1)
        form.accuracy, form.agreement = float((decided == shown.labels).mean()), float((decided == expected).mean())


def require_reference(forms: list[Form]) -> None:
    """Raises InputError if the reference has failed: no ratio could be said."""
    for form in forms:
        if form.label == REFERENCE and form.failed:
            raise InputError(f"{REFERENCE} {form.failed}; nothing can be compared")


def working(forms: list[Form]) -> list[Form]:
    return [form for form in forms if not form.failed]


@contextmanager
def failing(form: Form, what: str) -> Iterator[None]:
    """An error is the form's own: `what` and its reason are recorded, and the others go on."""
    try:
        yield
    except (InputError, OSError) as error:
        form.failed = f"{what}: {first_line(error)}"


def run(data: Path, out: Path, envs: Path, work: Path, faces: int, launches: int, rounds: int) -> None:
    check_outputs([out], [data, TOOLS])
    tools = tomllib.loads(TOOLS.read_text(encoding="utf-8"))["tool"]
    stage("the model in its forms, our INT8 file")
    ours, shown = prepare(data, faces, work)
    forms = list(ours)
    for tool in tools:
        stage(f"{tool['name']}: environment")
        made = [Form(each["label"], each["runtime"], "") for each in tool["forms"]]
        forms += made
        own = ours if tool["name"] == "onnxruntime" else []
        for form in (*made, *own):
            with failing(form, "cannot be installed"):
                form.python, form.versions = environment(tool["name"], tool["packages"], make_folder(envs))
        require_reference(forms)
        for form, each in zip(made, tool["forms"], strict=True):
            if not form.failed:
                stage(f"{form.label}: making it")
                with failing(form, "cannot be made"):
                    make(form, each["make"], work)
    before = load_average()
    measure(forms, shown, launches, rounds, stage)
    record = {
        "environment": asdict(detect_environment()),
        "target": detect_host().target.value,
        "model": MODEL,
        "faces": f"{len(shown.labels)} faces of PublicTest (FER-2013)",
        "launches": launches,
        "rounds": rounds,
        "limits_s": asdict(LIMITS),
        "load_average": [before, load_average()],
        "forms": [{**asdict(each), "python": "", "file": Path(each.file).name} for each in forms],
    }
    write_text(out, to_json(record, indent=1) + "\n")


def load_average() -> float:
    """Processes that ran or waited in the last minute: this run is one of them."""
    return os.getloadavg()[0]


def stage(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def rivals_table(record: Mapping[str, Any]) -> Table:
    """The forms, the fastest first, then those that have no figures."""
    forms = record["forms"]
    reference = next(each for each in forms if each["label"] == REFERENCE)
    rows = []
    ran = [(ratio(each, reference, "wall_s"), each) for each in forms if not each["failed"]]
    for wall, each in sorted(ran, key=lambda pair: pair[0].value):
        made = "" if each["made_s"] is None else f"{each['made_s']:.0f}"
        rows.append(
            (
                each["label"], shown_interval(wall), f"{ratio(each, reference, 'cpu_s').value:.2f}",
                f"{1e3 * median_s([value for launch in each['wall_s'] for value in launch]):.2f}", f"{each['accuracy']:.2%}",
                f"{each['agreement']:.2%}", f"{each['memory_bytes'] / 2**20:.0f}", f"{each['size_bytes'] / 2**20:.2f}", made,
                versions_of(each),
            )
        )  # fmt: skip
    columns = (
        "form", f"time, ratio to {REFERENCE}", "processor time, ratio", "ms a picture", "accuracy", "decides as float32",
        "memory, MiB", "file, MiB", "seconds to make", text_column("versions"),
    )  # fmt: skip
    failed = "; ".join(f"{each['label']}: {each['failed']}" for each in forms if each["failed"])
    return table("", columns, rows, f"Without figures: {failed}." if failed else "")


def ratio(ours: Mapping[str, Any], theirs: Mapping[str, Any], of: str) -> Interval:
    return ratio_over_launches(list(zip(ours[of], theirs[of], strict=True)))


def shown_interval(found: Interval) -> str:
    return f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]"


def in_words(record: Mapping[str, Any]) -> str:
    """What the ratios to our own INT8 file say: who is faster, who cannot be told apart from it, and how far the others are."""
    ours = next(each for each in record["forms"] if each["label"] == OURS)
    others = [each for each in record["forms"] if not each["failed"] and each["label"] != OURS]
    found = sorted(
        ((ratio(each, ours, "wall_s"), each["label"]) for each in others), key=lambda pair: (pair[0].value, pair[1])
    )
    faster = [f"{label} ({shown_interval(each)})" for each, label in found if each.high < 1]
    equal = [f"{label} ({shown_interval(each)})" for each, label in found if each.low <= 1 <= each.high]
    slower = [f"{label} ({shown_interval(each)})" for each, label in found if each.low > 1]
    parts = [
        f"Faster: {', '.join(faster) or 'none'}",
        f"not told apart, for the interval holds 1: {', '.join(equal) or 'none'}",
        f"slower: {', '.join(slower) or 'none'}",
    ]
    return f"Time as a ratio to {OURS} in the same rounds (above 1: slower than ours). {'; '.join(parts)}."


def versions_of(form: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in form["versions"].items())


def rendered(page: str, results: Path = ROOT / "benchmarks" / "results") -> str:
    """The page with the table of every recorded run between its marks."""
    before, _, rest = page.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise InputError(f"{PAGE}: has no block {START.strip()} ... {END.strip()}")
    parts = []
    for path in sorted(results.glob("*/rivals.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        where = record["environment"]
        low, high = sorted(record["load_average"])
        title = (
            f"`{record['model']}` on {where['cpu']} ({record['target']}, {where['cores_available']} cores), one thread, batch 1,"
            f" {record['faces']}, {record['launches']} launches of {record['rounds']} interleaved rounds,"
            f" {where['time_utc'][:10]}; load of the machine {low:.1f} to {high:.1f}, of which this run is 1"
            f" ([raw samples](../../benchmarks/results/{path.parent.name}/{path.name})):"
        )
        parts.append(f"{title}\n\n{rivals_table(record).to_markdown()}\n\n{in_words(record)}\n")
    return before + START + "\n".join(parts) + END + after


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="FER-2013")
    parser.add_argument("--out", type=Path, help="the record to write")
    parser.add_argument("--envs", type=Path, default=ROOT / "build" / "rivals", help="where environments are made")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "rivals-files", help="where the files are made")
    parser.add_argument("--faces", type=at_least_one, default=1000, help="how many of PublicTest")
    parser.add_argument("--launches", type=at_least_one, default=5, help="how often all processes start anew")
    parser.add_argument("--rounds", type=at_least_one, default=30, help="of each launch")
    parser.add_argument("--render", action="store_true", help="write docs/results/rivals.md from the records")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 when the page is out of date")
    options = parser.parse_args()
    if (options.data is None) != (options.out is None):
        parser.error("--data and --out belong together: what to measure on, and the record to write")
    if options.data is None and not (options.render or options.check):
        parser.error("nothing to do: give --data and --out to measure, --render or --check for the page")
    if options.data is not None and options.out is not None:
        places = (options.out.resolve(), options.envs.resolve(), options.work.resolve())
        run(options.data, *places, options.faces, options.launches, options.rounds)
    old = PAGE.read_text(encoding="utf-8")
    if options.check and rendered(old) != old:
        raise InputError(f"{PAGE} is out of date; run: python benchmarks/rivals.py --render")
    if options.render:
        write_text(PAGE, rendered(old))


if __name__ == "__main__":
    run_script(main)
