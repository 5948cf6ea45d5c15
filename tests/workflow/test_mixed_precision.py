"""The search holds its budget, remembers what it judged, and writes nothing when it cannot."""

import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import GateError, InputError
from rarn_edge.parity.outputs import file_form
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.pipeline.prepare import Prepared, prepare
from rarn_edge.workflow import mixed_precision
from rarn_edge.workflow.mixed_precision import SearchOptions, quantize_within


@pytest.fixture(autouse=True)
def _few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is searched for is accuracy: the times need not be certain here."""
    monkeypatch.setattr(mixed_precision, "ROUNDS", 6)
    monkeypatch.setattr(mixed_precision, "STARTS", 1)


@pytest.fixture(scope="module")
def prepared(simplified: Artifact) -> Prepared:
    """What every search starts with."""
    return prepare(simplified)


@pytest.fixture(scope="module")
def judged(simplified: Artifact) -> Faces:
    """Faces labelled by the float32 model itself: it is right on all of them."""
    faces = synthetic_faces(96, seed=21)
    return replace(faces, labels=file_form(simplified, faces).logits.argmax(1))


@pytest.fixture
def poor(ranges: Ranges) -> Ranges:
    """Ranges that clip the last map hard."""
    tensors = {
        name: (low / 6, high / 6) if name == "logits" else (low, high) for name, (low, high) in ranges.tensors.items()
    }
    return replace(ranges, tensors=tensors, method="minmax")


def test_a_budget_that_holds_costs_nothing(prepared: Prepared, ranges: Ranges, judged: Faces, tmp_path: Path) -> None:
    result = quantize_within(prepared, judged, tmp_path / "x.onnx", SearchOptions(Target.X86_AVX2, (ranges,), 20.0))
    assert result.reverted == result.sensitivity == ()
    assert result.drop_points <= 20
    assert [path.name for path in tmp_path.iterdir()] == ["x.onnx"]


@pytest.mark.parametrize("points", [-1.0, math.nan])
def test_a_budget_that_is_none_is_refused(
    prepared: Prepared, ranges: Ranges, judged: Faces, points: float, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="a number of points, 0 or more"):
        quantize_within(prepared, judged, tmp_path / "x.onnx", SearchOptions(Target.X86_AVX2, (ranges,), points))


def test_better_ranges_are_tried_before_float(
    prepared: Prepared, ranges: Ranges, poor: Ranges, judged: Faces, tmp_path: Path
) -> None:
    result = quantize_within(
        prepared,
        judged,
        tmp_path / "x.onnx",
        SearchOptions(
            Target.X86_AVX2,
            (
                poor,
                ranges,
            ),
            12.0,
        ),
    )
    assert (result.method, result.reverted) == ("mse", ())


def test_a_search_is_resumed_and_a_broken_budget_writes_nothing(
    prepared: Prepared, ranges: Ranges, judged: Faces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixed_precision, "WEIGHTED_OPS", ("Gemm",))  # one layer to search, to stay quick
    wrong = replace(judged, labels=(judged.labels + np.arange(96) % 2) % 7)
    out = tmp_path / "x.onnx"
    narrow = replace(ranges, tensors={name: (low / 50, high / 50) for name, (low, high) in ranges.tensors.items()})
    steps: list[str] = []
    with pytest.raises(GateError, match=r"the budget of 0 points cannot be held: the best INT8 file loses"):
        quantize_within(prepared, wrong, out, SearchOptions(Target.X86_AVX2, (narrow,), 0), on_step=steps.append)
    assert not out.exists()
    state = out.with_name("x.onnx.search.json")
    known = json.loads(state.read_text())["trials"]
    assert len(known) == len(steps) - 1 > 1  # float32 is not remembered
    again: list[str] = []
    with pytest.raises(GateError):
        quantize_within(prepared, wrong, out, SearchOptions(Target.X86_AVX2, (narrow,), 0), on_step=again.append)
    assert again == ["float32"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "is damaged"),
        (b"", "is damaged"),
        (b"\xff\xfe", "is damaged"),
        (b"[]", "is damaged"),
        (b'{"identity": "x"}', "is damaged"),
        (b'{"identity": "x", "trials": []}', "is damaged"),
        (b'{"identity": "x", "trials": {"a": {"in_float": []}}}', "is damaged"),
        (b'{"identity": "x", "trials": {}}', "is of another model or data"),
    ],
)
def test_a_search_that_cannot_be_resumed_is_told(
    prepared: Prepared, ranges: Ranges, judged: Faces, tmp_path: Path, content: bytes, reason: str
) -> None:
    state = tmp_path / "x.onnx.search.json"
    state.write_bytes(content)
    told: list[str] = []
    steps: list[str] = []

    def stop(step: str) -> None:
        steps.append(step)
        if len(steps) == 2:  # what follows is as in a search that finds nothing
            raise KeyboardInterrupt

    options = SearchOptions(Target.X86_AVX2, (ranges,), 20.0)
    with pytest.raises(KeyboardInterrupt):
        quantize_within(prepared, judged, tmp_path / "x.onnx", options, on_step=stop, on_notice=told.append)
    assert steps == ["float32", "mse, 0 layers in float"]
    (line,) = told
    assert line.startswith(f"{state} {reason}: the search starts over")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"right": "many"}, "is damaged: the search starts over"),
        ({"in_float": [5]}, "is damaged: the search starts over"),
        ({"method": "magic"}, "is of another model or data: the search starts over"),
    ],
    ids=str,
)
def test_figures_of_another_type_are_damage(
    prepared: Prepared,
    ranges: Ranges,
    judged: Faces,
    change: dict[str, object],
    reason: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The right search, but a trial that cannot be compared, or that no ranges are at hand for."""
    out, state = tmp_path / "x.onnx", tmp_path / "x.onnx.search.json"

    def interrupted(*_arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(mixed_precision, "time_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quantize_within(prepared, judged, out, SearchOptions(Target.X86_AVX2, (ranges,), 20.0))
    data = json.loads(state.read_text())
    for trial in data["trials"].values():
        trial |= change
    state.write_text(json.dumps(data))
    told: list[str] = []
    quantize_within(prepared, judged, out, SearchOptions(Target.X86_AVX2, (ranges,), 20.0), on_notice=told.append)
    assert [line.split(" (")[0] for line in told] == [f"{state} {reason}"]


def test_the_command_line_tells_of_a_damaged_search(
    cli: Callable[..., subprocess.CompletedProcess[str]],
    simplified: Artifact,
    ranges: Ranges,
    faces_folder: Path,
    tmp_path: Path,
) -> None:
    ranges.save(tmp_path / "r.json")
    out, state = tmp_path / "x.onnx", tmp_path / "x.onnx.search.json"
    state.write_text("{half")
    budgeted = ("--ranges", tmp_path / "r.json", "--data", faces_folder, "--max-drop", 100)
    done = cli("quantize", simplified.path, "-o", out, "--target", "x86-avx2", "--no-verdict", *budgeted)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if "damaged" in line] == [
        f"warning: {state} is damaged: the search starts over"
        " (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"
    ]
    assert not state.exists()
