"""One row a step with the figure that decides, on one line of a terminal; everything else on demand."""

import math
from dataclasses import replace

import numpy as np
import pytest

from rarn_edge.parity.report import ParityReport
from rarn_edge.parity.steps import Check, Figure, Form, Step, compare
from rarn_edge.report.parity import check_texts, decisive, parity_tables, step_name, steps_table
from tests.report.test_table import terminal

CLASSES = ("angry", "happy", "sad")


def step_of(before: str, after: str, noise: float = 0.0, kind: str = "batch") -> Step:
    logits = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    moved = logits + noise * np.random.default_rng(1).standard_normal(logits.shape).astype(np.float32)
    return compare(Form(before, "int8", logits), Form(after, "int8", moved), kind=kind, classes=CLASSES)


def test_the_check_that_uses_most_of_its_limit_decides() -> None:
    finite = Check(Figure.FINITE, 1.0, 1.0, at_most=False)
    difference = Check(Figure.MAX_ABS_LOGIT, 0.02, 0.1, at_most=True)  # a fifth
    agreement = Check(Figure.AGREEMENT, 0.995, 0.99, at_most=False)  # half of the flips allowed
    noise = Check(Figure.SQNR, 40.0, 20.0, at_most=False)  # a tenth of the noise allowed
    step = replace(step_of("a", "b"), checks=(finite, difference, agreement, noise))
    assert decisive(step) is agreement
    broken = Check(Figure.SQNR, 19.0, 20.0, at_most=False)
    assert decisive(replace(step, checks=(*step.checks, broken))) is broken
    no_number = Check(Figure.FINITE, 0.0, 1.0, at_most=False)
    lost = Check(Figure.MAX_ABS_LOGIT, math.nan, 0.1, at_most=True)
    assert decisive(replace(step, checks=(lost, no_number, difference))) is no_number
    assert decisive(replace(step, checks=(replace(difference, allowed=0.0), agreement))).allowed == 0.0
    equal = replace(difference, measured=0.0)
    assert decisive(replace(step, checks=(finite, equal))) is equal  # that all answers are finite decides nothing


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        ("torch", "rarn-s.onnx", "torch -> rarn-s"),
        ("rarn-s.int8.onnx fused", "one by one", "rarn-s.int8 fused -> one by one"),
        ("rarn-s.int8.onnx simulated", "rarn-s.int8.onnx fused", "rarn-s.int8 simulated -> fused"),
        ("rarn-s.onnx on cpu", "rarn-s.int8.onnx fused", "rarn-s on cpu -> rarn-s.int8 fused"),
        ("rarn-s.onnx", "rarn-s.onnx on cpu", "rarn-s -> rarn-s on cpu"),
    ],
)
def test_a_step_is_named_in_few_letters_and_fits_its_line(before: str, after: str, name: str) -> None:
    step = step_of(before, after, noise=0.01)
    assert step_name(step) == name
    (line,) = [
        line for line in terminal(steps_table([step], "40 faces")).splitlines() if line.strip().startswith(name[:9])
    ]
    assert line.split() == [*name.split(), *line.split()[len(name.split()) :]]
    assert line.split()[-1] in ("pass", "FAIL")


def test_details_are_folded_and_complete() -> None:
    compared = (step_of("a", "b"), step_of("a", "c", noise=2.0, kind="int8"))
    steps, figures, limits, by_class, by_face = parity_tables(ParityReport(compared, "40 faces", CLASSES))
    assert [row.cells[0] for row in steps.rows] == [row.cells[0] for row in figures.rows] == ["a -> b", "a -> c"]
    assert steps.rows[1].cells[-1] == "FAIL"
    assert not steps.folded
    assert all(each.folded for each in (figures, limits, by_class, by_face))
    assert {row.cells[0] for row in limits.rows} == {"faces.batch", "faces.int8"}
    flips = len(compared[1].flipped)
    assert flips > 0
    assert sum(int(row.cells[2]) for row in by_class.rows) == flips
    assert len(by_face.rows) == min(flips, 12)


@pytest.mark.parametrize(
    ("figure", "measured", "allowed", "at_most", "texts"),
    [
        (Figure.AGREEMENT, 28708 / 28709, 1.0, False, ("99.997%", ">= 100.000%")),
        (Figure.MAX_ABS_LOGIT, 1.004e-4, 1e-4, True, ("0.0001004", "<= 0.0001")),
        (Figure.SQNR, 29.96, 30.0, False, ("29.96 dB", ">= 30.00 dB")),
        (Figure.SQNR, 30.04, 30.0, False, ("30.0 dB", ">= 30.0 dB")),
    ],
)
def test_a_failed_check_shows_two_figures(
    figure: Figure, measured: float, allowed: float, at_most: bool, texts: tuple[str, str]
) -> None:
    assert check_texts(Check(figure, measured, allowed, at_most)) == texts
