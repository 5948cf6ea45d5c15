"""The verdict follows from the two intervals, whatever the machine."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.pipeline.quantize import Quantized
from rarn_edge.stats.interval import Interval
from rarn_edge.stats.paired import Paired, compare_decisions
from rarn_edge.workflow.inputs import ComparisonFaces
from rarn_edge.workflow.verdict import Evidence, judge, measure, median_channels, verdict


def paired(lost: int, gained: int, faces: int = 1000) -> Paired:
    reference, other = np.ones(faces, dtype=bool), np.ones(faces, dtype=bool)
    other[:lost] = False
    reference[lost : lost + gained] = False
    return compare_decisions(reference, other)


@pytest.mark.parametrize(
    ("ratio", "lost", "decision", "words"),
    [
        ((0.54, 0.53, 0.56), 1, "ship", "ship it"),
        ((1.10, 1.08, 1.12), 0, "keep", "slower on this CPU (its convolutions have 28 channels in the median)"),
        ((0.98, 0.95, 1.02), 0, "undecided", "no speed-up is proven"),
        ((0.54, 0.53, 0.56), 9, "keep", "--max-drop 0.3"),
        ((0.98, 0.95, 1.02), 100, "keep", "--max-drop 0.3"),
    ],
)
def test_decisions(ratio: tuple[float, float, float], lost: int, decision: str, words: str) -> None:
    found = judge("int8", Evidence(Interval(*ratio), paired(lost, 0), 0.99, narrow_channels=28))
    assert found.decision == decision
    assert words in found.line()


def test_a_cpu_without_fast_integers_is_the_reason() -> None:
    slower = Evidence(Interval(1.1, 1.08, 1.12), None, 0.99, narrow_channels=28, integer_gain=0.99)
    assert "slower on this CPU (it multiplies bytes only 0.99x as fast as floats)" in judge("int8", slower).line()
    assert "28 channels" in judge("int8", replace(slower, integer_gain=3.0)).line()


def test_how_narrow_a_network_is(simplified: Artifact) -> None:
    assert median_channels(simplified.path) == 48


def test_line() -> None:
    found = judge("int8", Evidence(Interval(0.5, 0.4, 0.625), None, 0.985))
    assert found.line().startswith(
        "int8 is 2.00x [1.60, 2.50] as fast, top-1 agreement 98.50% (no labels): ship it, once"
    )
    assert "accuracy -0.10 [" in judge("int8", Evidence(Interval(0.5, 0.4, 0.6), paired(1, 0), 0.985)).line()


def test_a_busy_machine_is_said(simplified: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rarn_edge.bench.runner.load_average", lambda: 99.0)
    shown = ComparisonFaces(synthetic_faces(7, seed=1), None, "7 faces")
    found = measure(simplified, simplified, shown, rounds=20, launches=1)
    assert found.warnings[0].startswith("unsteady (load 99.0 on ")
    assert found.to_dict()["warnings"] == found.warnings


@pytest.mark.parametrize(
    ("agreement", "labelled", "decision"),
    [(0.0039, False, "keep"), (0.95, False, "keep"), (0.99, False, "ship"), (0.95, True, "ship"), (0.2, True, "keep")],
)
def test_decisions_that_differ_are_not_shipped(agreement: float, labelled: bool, decision: str) -> None:
    accuracy = paired(0, 0) if labelled else None
    found = judge("int8", Evidence(Interval(0.4, 0.38, 0.42), accuracy, agreement, faces=512))
    assert found.decision == decision


def test_few_faces_prove_no_difference() -> None:
    """One flip of 20 is chance."""
    assert judge("int8", Evidence(Interval(0.4, 0.38, 0.42), None, 0.95, faces=20)).decision == "ship"


@pytest.mark.parametrize("ratio", [(0.4, 0.38, 0.42), (1.0, 0.9, 1.1)])
def test_answers_that_are_no_numbers_are_not_shipped(ratio: tuple[float, float, float]) -> None:
    found = judge("int8", Evidence(Interval(*ratio), None, 1.0, finite=False))
    assert found.decision == "keep"
    assert "ship" not in found.line().replace("shipping", "")


def test_files_in_the_other_order_are_refused(int8: Mapping[Target, Quantized], simplified: Artifact) -> None:
    quantized = int8[Target.X86_AVX2].artifact.path
    with pytest.raises(InputError, match=r"is int8, and the first file is the float32 one"):
        verdict(quantized, simplified.path)
