"""A device has numpy, OpenCV, typer, rich and onnxruntime: everything it needs works with the rest absent."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rarn_edge.assets import shipped_files
from rarn_edge.models.catalog import CATALOG

if TYPE_CHECKING:
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.pipeline.calibrate import Ranges

Python = Callable[..., subprocess.CompletedProcess[str]]
TINY = Path(__file__).with_name("device") / "tiny.onnx"
BLOCKING = Path(__file__).parent / "absent"
ABSENT = ("torch", "onnx", "onnxsim", "onnxscript", "safetensors", "matplotlib")
HEAVY = (*ABSENT, "onnxruntime", "cv2", "numpy")

IMPORTED = """
import sys
heavy = sys.argv.pop(1).split(",")
from rarn_edge.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("\\nimported:", *sorted(name for name in heavy if name in sys.modules))
"""


def without(python: Python, absent: tuple[str, ...], *arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in processes in which `absent` cannot be imported, those it starts included."""
    path = os.pathsep.join((str(BLOCKING), str(BLOCKING.parents[1])))
    return python("-m", "rarn_edge", *arguments, env={"PYTHONPATH": path, "ABSENT": ",".join(absent)})


def test_the_package_imports_alone(python: Python) -> None:
    names = ", ".join(f"'{name}'" for name in HEAVY)
    code = f"import sys, rarn_edge; sys.exit([n for n in ({names},) if n in sys.modules] or 0)"
    assert python("-c", code).returncode == 0


@pytest.mark.parametrize(
    "arguments", [("--help",), ("train", "--help"), ("bench", "--help"), ("predict", "--help")], ids=" ".join
)
def test_help_imports_nothing_heavy(python: Python, arguments: tuple[str, ...]) -> None:
    done = python("-c", IMPORTED, ",".join(HEAVY), *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"


def test_ctrl_c_while_the_command_line_loads(python: Python) -> None:
    """As later: no traceback, and the exit code of an interrupted program."""
    code = """
import sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
from rarn_edge.__main__ import main
main()
"""
    done = python("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_models_imports_no_framework(python: Python) -> None:
    done = python("-c", IMPORTED, ",".join((*ABSENT, "onnxruntime", "cv2")), "models")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"


def test_quantize_imports_no_torch(python: Python, simplified: "Artifact", ranges: "Ranges", tmp_path: Path) -> None:
    """Only the exporter needs it, and importing it costs as much as the work itself."""
    ranges.save(tmp_path / "r.json")
    options = ("--ranges", tmp_path / "r.json", "--target", "x86-avx2", "--no-verdict")
    done = python("-c", IMPORTED, "torch", "quantize", simplified.path, "-o", tmp_path / "int8.onnx", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "imported:"


def test_models_on_a_device(python: Python) -> None:
    done = without(python, ABSENT, "models", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == len(CATALOG)


def test_evaluate_on_a_device(python: Python, faces_folder: Path) -> None:
    done = without(python, ABSENT, "evaluate", TINY, "--data", faces_folder, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"] == 14


def test_predict_on_a_device(python: Python, faces_folder: Path) -> None:
    done = without(python, ABSENT, "predict", faces_folder, "--model", TINY, "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 63


def test_the_classifier_names_the_extra_it_needs(python: Python) -> None:
    done = python("-c", "import sys; sys.modules['onnxruntime'] = None; from rarn_edge import Classifier")
    assert 'pip install "rarn-edge[cpu]"' in done.stderr


def test_parity_on_a_device(python: Python, tmp_path: Path) -> None:
    shutil.copyfile(TINY, tmp_path / "copy.onnx")
    done = without(python, ABSENT, "parity", TINY, tmp_path / "copy.onnx", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hops"][0]["passed"]


def test_verify_on_a_device(python: Python) -> None:
    """The shipped models, without arguments: numpy and onnxruntime, not even OpenCV."""
    done = without(python, (*ABSENT, "cv2"), "verify", "--json")
    assert done.returncode == 0, done.stderr
    assert [Path(report["file"]).name for report in json.loads(done.stdout)] == [
        file.name for _, file in shipped_files()
    ]


def test_bench_on_a_device(python: Python, tmp_path: Path) -> None:
    shutil.copyfile(TINY, tmp_path / "copy.onnx")
    done = without(python, ABSENT, "bench", TINY, tmp_path / "copy.onnx", "--rounds", 3, "--no-memory", "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["rows"]) == 2


def test_inspect_on_a_device(python: Python) -> None:
    """Everything but multiply-adds, and what they need."""
    done = without(python, ABSENT, "inspect", TINY, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["multiply_adds"], "rarn-edge[export]" in found["multiply_adds_missing"]) == (None, True)
    assert found["operators"]
    assert found["contract"]["spec"]["classes"]


@pytest.mark.parametrize(
    ("absent", "arguments", "extra"),
    [
        (ABSENT, ("export", "-o", "OUT/x.onnx"), "export"),
        (ABSENT, ("quantize", TINY, "-o", "OUT/x.onnx"), "export"),
        (ABSENT, ("stamp", TINY, "-o", "OUT/x.onnx", "--spec", "spec.toml"), "export"),
        (ABSENT, ("run", "--out", "OUT/run"), "export"),
        (ABSENT, ("train", "--data", "x.zip", "--out", "OUT/run"), "train"),
        (ABSENT, ("parity", TINY, "--model", "rarn-s"), "export"),
        (ABSENT, ("evaluate", "w.safetensors", "--data", "x.zip"), "train"),
        (ABSENT, ("bench", "rarn-s", "--work", "OUT"), "export"),
        (("onnx", "onnxsim", "onnxscript"), ("export", "-o", "OUT/x.onnx"), "export"),
        (("onnx", "onnxsim", "onnxscript"), ("bench", "rarn-s", "--work", "OUT"), "export"),
        (("matplotlib",), ("train", "--data", "DATA", "--out", "OUT/run", "--model", "rarn-n"), "train"),
        (("matplotlib",), ("evaluate", TINY, "--data", "DATA", "--report", "OUT/r"), "report"),
        (("onnxruntime",), ("evaluate", TINY, "--data", "DATA"), "cpu"),
        (("onnxruntime",), ("bench", TINY), "cpu"),
        (("onnxruntime",), ("predict", TINY), "cpu"),
        (("onnxruntime",), ("score", "DATA", "-o", "OUT/x.csv"), "cpu"),
        (("pyarrow",), ("score", "DATA", "-o", "OUT/x.parquet", "--model", TINY), "score"),
        (("onnxruntime",), ("parity", TINY, TINY), "cpu"),
        (("onnxruntime",), ("verify",), "cpu"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_what_is_absent_names_the_extra(
    python: Python,
    absent: tuple[str, ...],
    arguments: tuple[object, ...],
    extra: str,
    faces_folder: Path,
    tmp_path: Path,
) -> None:
    words = [str(word).replace("OUT", str(tmp_path)).replace("DATA", str(faces_folder)) for word in arguments]
    done = without(python, absent, *words)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 2
    assert f'pip install "rarn-edge[{extra}]"' in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_training_needs_no_onnxruntime(python: Python, faces_folder: Path, tmp_path: Path) -> None:
    """The extra `train` does not bring it."""
    command = (
        "train",
        "--data",
        faces_folder,
        "--out",
        tmp_path / "run",
        "--model",
        "rarn-n",
        "--epochs",
        1,
        "--threads",
        1,
    )
    done = without(python, ("onnxruntime", "onnx"), *command)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 0
    weights = tmp_path / "run" / "weights.safetensors"
    done = without(python, ("onnxruntime", "onnx"), "evaluate", weights, "--data", faces_folder)
    assert done.returncode == 0, done.stderr


def test_the_tests_of_a_device_are_found_on_one(python: Python) -> None:
    """Continuous integration runs them where neither torch nor onnx is installed."""
    here = Path(__file__).parent
    absent = ("torch", "onnx", "onnx_ir", "onnxscript", "onnxsim", "safetensors")
    settings = {"PYTHONPATH": os.pathsep.join((str(BLOCKING), str(here.parent))), "ABSENT": ",".join(absent)}
    options = ("--collect-only", "-q", "-p", "no:cacheprovider", "--rootdir", here.parent)
    done = python("-m", "pytest", *options, here / "device", env=settings)
    assert done.returncode == 0, done.stdout[-2000:]
