"""`benchmarks/rivals.py`: other tools beside our INT8 file, without any of them: small scripts and our own files stand in."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import InputError

Stage = Callable[[str], None]


@pytest.fixture(scope="module")
def rivals(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("benchmarks/rivals.py")


@pytest.fixture
def shown(rivals: ModuleType, tmp_path: Path) -> Any:
    faces = np.random.default_rng(0).standard_normal((6, 1, 48, 48), dtype=np.float32)
    np.save(tmp_path / "faces.npy", faces)
    np.save(tmp_path / "one.npy", faces[:1])
    return rivals.Shown(tmp_path / "faces.npy", tmp_path / "one.npy", np.zeros(6, np.int64))


def form(rivals: ModuleType, label: str, file: Path, runtime: str = "onnxruntime") -> Any:
    return rivals.Form(label, runtime, sys.executable, str(file), size_bytes=1000)


def test_each_form_answers_and_is_timed_in_every_launch(
    rivals: ModuleType, shown: Any, exported: Artifact, simplified: Artifact
) -> None:
    forms = [form(rivals, rivals.REFERENCE, exported.path), form(rivals, rivals.OURS, simplified.path)]
    rivals.measure(forms, shown, 2, 3, lambda _text: None)
    for each in forms:
        assert not each.failed
        assert [len(launch) for launch in each.wall_s] == [len(launch) for launch in each.cpu_s] == [3, 3]
        assert min(min(launch) for launch in each.wall_s) > 0
        assert each.memory_bytes > 0
        assert each.agreement == 1.0
        assert 0 <= each.accuracy <= 1


def test_a_form_that_does_not_run_has_its_reason_and_the_others_their_figures(
    rivals: ModuleType, shown: Any, exported: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    forms = [
        form(rivals, rivals.REFERENCE, exported.path),
        form(rivals, "broken", tmp_path / "broken.onnx"),
        form(rivals, "no such runtime", exported.path, "a_runtime"),
    ]
    rivals.measure(forms, shown, 1, 3, lambda _text: None)
    assert [bool(each.failed) for each in forms] == [False, True, True]
    assert forms[1].failed.startswith("does not run: InvalidProtobuf: Load model from")
    assert forms[2].failed == "does not run: KeyError: 'a_runtime'"
    assert (forms[1].wall_s, forms[2].accuracy) == ([], None)


def test_without_its_reference_nothing_is_compared(rivals: ModuleType, shown: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ONNX Runtime float32 does not run"):
        rivals.measure([form(rivals, rivals.REFERENCE, tmp_path / "absent.onnx")], shown, 1, 1, lambda _text: None)


def test_a_reference_that_does_not_run_ends_the_run_before_its_rounds(
    rivals: ModuleType, shown: Any, exported: Artifact, tmp_path: Path
) -> None:
    forms = [form(rivals, rivals.REFERENCE, tmp_path / "absent.onnx"), form(rivals, rivals.OURS, exported.path)]
    stages: list[str] = []
    with pytest.raises(InputError, match="ONNX Runtime float32 does not run"):
        rivals.measure(forms, shown, 1, 1, stages.append)
    assert not any("rounds" in text for text in stages)


def test_an_interrupt_ends_the_process_that_is_waited_for(
    rivals: ModuleType, shown: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []

    def interrupted(worker: Any) -> None:
        started.append(worker.process)
        raise KeyboardInterrupt

    (tmp_path / "silent.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.setattr(rivals, "WORKER", tmp_path / "silent.py")
    monkeypatch.setattr(rivals.Worker, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        rivals.Worker(form(rivals, "silent", tmp_path), shown.one, 60.0)
    assert started[0].poll() is not None


@pytest.mark.skipif(sys.platform == "win32", reason="environments have other folders there")
@pytest.mark.parametrize("installed", [False, True])
def test_an_environment_that_was_left_half_made_or_lost_its_python_is_made_anew(
    installed: bool, rivals: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "tool"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "python").symlink_to("/nowhere")
    (place / "pyvenv.cfg").touch()
    if installed:
        (place / "installed").touch()
    monkeypatch.setattr(rivals, "bounded", lambda *_arguments: "absent==1\n")
    python, _ = rivals.environment("tool", [], tmp_path)
    assert subprocess.run([python, "-m", "pip", "--version"], check=False, capture_output=True).returncode == 0

    def fails(*_arguments: Any, **_options: Any) -> None:
        raise subprocess.CalledProcessError(1, "ensurepip", b"No module named ensurepip\n")

    monkeypatch.setattr(rivals.venv, "create", fails)
    with pytest.raises(InputError, match=r"no environment can be made in .*other \(No module named ensurepip\)"):
        rivals.environment("other", [], tmp_path)


def test_a_worker_that_is_silent_is_stopped(
    rivals: ModuleType, shown: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "silent.py").write_text("import time; time.sleep(60)\n")
    monkeypatch.setattr(rivals, "WORKER", tmp_path / "silent.py")
    with pytest.raises(InputError, match=r"^stopped at the limit of 0\.01 minutes$"):
        rivals.Worker(form(rivals, "silent", tmp_path), shown.one, 0.6)


def test_a_step_is_stopped_with_all_that_it_started(rivals: ModuleType, tmp_path: Path) -> None:
    child = f"import time; time.sleep(3); open({str(tmp_path / 'late')!r}, 'w')"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    start = time.monotonic()
    with pytest.raises(InputError, match=r"^stopped at the limit of 0\.02 minutes$"):
        rivals.bounded([sys.executable, "-c", parent], 1.2)
    assert time.monotonic() - start < 2.9
    time.sleep(max(0.0, 3.5 - (time.monotonic() - start)))
    assert not (tmp_path / "late").exists()


def test_the_reason_is_what_the_tool_said(rivals: ModuleType) -> None:
    def said(program: str) -> str:
        with pytest.raises(InputError) as caught:
            rivals.bounded([sys.executable, "-c", program], 30)
        return str(caught.value)

    layer = "raise ValueError('Depth of input (24)\\n  name=None')"
    assert said(layer) == "ValueError: Depth of input (24)"
    assert said("import sys; print('no kernel', file=sys.stderr); sys.exit(3)") == "no kernel"
    assert said("import sys; sys.exit(3)") == "ended with exit code 3 without a word"
    assert said("import os; os.kill(os.getpid(), 9)") == "ended by signal 9"


def test_what_an_earlier_run_made_is_kept(rivals: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[3]) / 'made.bin'\n"
        "out.write_bytes((out.read_bytes() if out.exists() else b'') + b'x')\n"
        "print(json.dumps({'file': str(out)}))\n"
    )
    monkeypatch.setattr(rivals, "WORKER", worker)
    (tmp_path / "model.onnx").write_bytes(b"a")
    (tmp_path / "calibration.npy").write_bytes(b"a")
    first, again, changed = (rivals.Form("x", "onnxruntime", sys.executable) for _ in range(3))
    rivals.make(first, "x", tmp_path)
    rivals.make(again, "x", tmp_path)
    assert (again.file, again.made_s, again.size_bytes) == (first.file, first.made_s, 1)
    (tmp_path / "model.onnx").write_bytes(b"b")
    rivals.make(changed, "x", tmp_path)
    assert changed.size_bytes == 2


def test_a_run_records_tools_that_fail(
    rivals: ModuleType, shown: Any, exported: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the list of tools to the page; the packages are this environment's own, or cannot be had."""
    tools = tmp_path / "tools.toml"
    tools.write_text(
        '[[tool]]\nname = "onnxruntime"\npackages = []\n'
        'forms = [{ label = "no quantizer", make = "no_such_step", runtime = "onnxruntime" }]\n'
        '[[tool]]\nname = "absent"\npackages = ["absent-tool"]\n'
        'forms = [{ label = "absent tool", make = "absent", runtime = "onnxruntime" }]\n'
    )

    def environment(_name: str, packages: list[str], _folder: Path) -> tuple[str, dict[str, str]]:
        if packages:
            raise InputError("No matching distribution found for absent-tool")
        return sys.executable, {"onnxruntime": "1"}

    ours = [form(rivals, label, exported.path) for label in (rivals.REFERENCE, rivals.OURS)]
    monkeypatch.setattr(rivals, "TOOLS", tools)
    monkeypatch.setattr(rivals, "environment", environment)
    monkeypatch.setattr(rivals, "prepare", lambda *_arguments: (ours, shown))
    out = tmp_path / "results" / "a-device" / "rivals.json"
    out.parent.mkdir(parents=True)
    rivals.run(exported.path, out, tmp_path / "envs", tmp_path, 6, 2, 3)
    record = json.loads(out.read_text())
    assert {each["label"]: each["failed"] for each in record["forms"]} == {
        rivals.REFERENCE: "",
        rivals.OURS: "",
        "no quantizer": "cannot be made: KeyError: 'no_such_step'",
        "absent tool": "cannot be installed: No matching distribution found for absent-tool",
    }
    assert len(record["load_average"]) == 2
    assert record["limits_s"]["make"] == 600
    page = f"Before\n{rivals.START}stale\n{rivals.END}After\n"
    made = rivals.rendered(page, tmp_path / "results")
    assert made.startswith("Before\n")
    assert made.endswith("After\n")
    assert "stale" not in made
    assert "| rarn-edge INT8 |" in made
    assert (
        "Without figures: no quantizer: cannot be made: KeyError: 'no_such_step'; absent tool: cannot be installed"
        in made
    )
    assert rivals.rendered(made, tmp_path / "results") == made


def test_the_words_follow_the_intervals(rivals: ModuleType) -> None:
    def timed(label: str, factor: float) -> dict[str, Any]:
        return {"label": label, "failed": "", "wall_s": [[factor, factor * 1.01, factor * 0.99]] * 2}

    forms = [timed(rivals.OURS, 1.0), timed("half", 0.5), timed("double", 2.0), timed("same", 1.0)]
    said = rivals.in_words({"forms": [*forms, {"label": "none", "failed": "why", "wall_s": []}]})
    assert "Faster: half (0.50 [" in said
    assert "holds 1: same (1.00 [" in said
    assert "slower: double (2.00 [" in said
    assert "none" not in said


def test_the_page_shows_the_records(rivals: ModuleType) -> None:
    text = rivals.PAGE.read_text(encoding="utf-8")
    assert rivals.rendered(text) == text, "run: python benchmarks/rivals.py --render"


def test_a_page_without_the_marks_is_refused(rivals: ModuleType) -> None:
    with pytest.raises(InputError, match="has no block"):
        rivals.rendered("a page")


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--data", "x.zip"], "belong together"), (["--out", "x.json"], "belong together"), ([], "nothing to do")],
)
def test_half_a_request_is_refused(
    rivals: ModuleType,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["rivals.py", *options])
    with pytest.raises(SystemExit, match="2"):
        rivals.main()
    assert said in capsys.readouterr().err


def test_the_script_needs_its_data(rivals: ModuleType, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, rivals.__file__, "--data", tmp_path / "absent.zip", "--out", tmp_path / "r.json"],
        capture_output=True, text=True, check=False, cwd=rivals.ROOT, env={"PYTHONPATH": str(rivals.ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(f"error: {tmp_path / 'absent.zip'}: no such file")
    assert not (tmp_path / "r.json").exists()
