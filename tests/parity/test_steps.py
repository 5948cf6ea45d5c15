"""A step's judgement with made-up answers, each a hair on either side of its limit."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Artifact, Contract, Precision
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.parity.outputs import check_same_model
from rarn_edge.parity.steps import Form, Step, compare, judge, measurement_from_dict, would_pass
from rarn_edge.parity.tolerances import TOLERANCES, Tolerance
from rarn_edge.train.checkpoint import Weights

Logits = NDArray[np.float32]


def answers(count: int = 400) -> Logits:
    """Decisions 0, 1, 2, 0, ... before the class next to it, by 0.01."""
    chosen = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    return np.asarray(chosen * 4 + np.roll(chosen, 1, axis=1) * 3.99, dtype=np.float32)


def flip(logits: Logits, count: int) -> Logits:
    """The first `count` faces get another decision, though their logits hardly move."""
    changed = logits.copy()
    rows = np.arange(count)
    first, second = rows % 3, (rows + 1) % 3
    changed[rows, first], changed[rows, second] = logits[rows, second], logits[rows, first]
    return changed


def step(
    before: Logits, after: Logits, precision: Precision = "float32", labels: NDArray[np.int64] | None = None
) -> Step:
    return compare(Form("before", "float32", before), Form("after", precision, after), labels)


def failed(found: Step) -> list[str]:
    assert found.passed == all(check.passed for check in found.checks)
    return [check.figure for check in found.checks if not check.passed]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_equal_answers_pass(precision: Precision) -> None:
    found = step(answers(), answers(), precision, np.arange(400) % 3)
    assert found.passed
    assert (found.measured.images, found.flipped, found.measured.max_abs_logit) == (400, (), 0.0)
    assert (found.measured.accuracy_before, found.measured.accuracy_after) == (1.0, 1.0)


def test_one_flip_fails_a_float_step() -> None:
    before = answers()
    before[7] = (1.00001, 1.0, 0.0)
    after = before.copy()
    after[7] = (1.0, 1.00001, 0.0)  # the logits hardly differ: only the decision tells
    found = step(before, after)
    assert failed(found) == ["top-1 agreement"]
    assert found.flipped == (7,)


@pytest.mark.parametrize(("difference", "failures"), [(0.9e-4, []), (1.1e-4, ["max |logit difference|"])])
@pytest.mark.parametrize("sign", [1, -1])
def test_float_logits_may_differ_by_1e_4(difference: float, failures: list[str], sign: int) -> None:
    after = answers()
    after[3, 1] += sign * difference
    assert failed(step(answers(), after)) == failures


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("side", ["before", "after", "both"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_answers_that_are_no_numbers_fail(value: float, precision: Precision, side: str) -> None:
    bad = answers()
    bad[5, 2] = value
    found = step(answers() if side == "after" else bad, answers() if side == "before" else bad, precision)
    assert "finite answers" in failed(found)


@pytest.mark.parametrize(("flips", "failures"), [(6, []), (7, ["top-1 agreement"])])
def test_int8_agreement_boundary(flips: int, failures: list[str]) -> None:
    found = step(answers(), flip(answers(), flips) + 0.1, "int8")  # 98.5 % of 400 is 394; the logits may move
    assert failed(found) == failures
    assert len(found.flipped) == flips
    assert (found.measured.accuracy_before, found.measured.accuracy_after) == (None, None)


@pytest.mark.parametrize(("lost", "failures"), [(2, []), (3, ["accuracy lost"])])
def test_int8_accuracy_lost(lost: int, failures: list[str]) -> None:
    found = step(answers(), flip(answers(), lost), "int8", np.arange(400) % 3)
    assert failed(found) == failures
    assert (found.measured.accuracy_before, found.measured.accuracy_after) == pytest.approx((1.0, 1 - lost / 400))


def test_gained_accuracy_is_no_loss() -> None:
    assert step(flip(answers(), 6), answers(), "int8", np.arange(400) % 3).passed


@pytest.mark.parametrize(("noise", "failures"), [(0.15, []), (0.25, ["SQNR"])])
def test_int8_noise_boundary(noise: float, failures: list[str]) -> None:
    """25 dB of these answers is a noise of 0.18; added alike to each class, it changes no decision."""
    assert failed(step(answers(), answers() + np.float32(noise), "int8")) == failures


def test_equal_answers_have_the_highest_figures() -> None:
    found = step(answers(), answers()).measured
    assert (found.snr_db, found.cosine, found.mean_abs_logit) == (200.0, pytest.approx(1.0), 0.0)


def test_figures_by_hand() -> None:
    before = np.array([[3.0, 4.0], [0.0, 10.0]], dtype=np.float32)
    after = np.array([[4.0, 3.0], [0.0, 10.0]], dtype=np.float32)
    found = step(before, after, labels=np.array([0, 1])).measured
    assert (found.max_abs_logit, found.mean_abs_logit, found.agreement) == (1.0, 0.5, 0.5)
    assert found.snr_db == pytest.approx(10 * np.log10(125 / 2))
    assert found.cosine == pytest.approx(24 / 25)
    assert (found.accuracy_before, found.accuracy_after, found.lost) == (0.5, 1.0, -1)


@pytest.mark.parametrize(
    ("images", "flips"),
    [(10, 1), (66, 1), (67, 2), (400, 6), (3589, 54), (3, 1), (7, 1), (19, 1), (27, 1), (63, 1), (126, 2)],
)
def test_a_share_is_judged_as_a_count_rounded_up(images: int, flips: int) -> None:
    """98.5 %: one flip is let pass in any number of faces, and never more than the share rounded up."""
    assert step(answers(images), flip(answers(images), flips), "int8").passed
    assert failed(step(answers(images), flip(answers(images), flips + 1), "int8")) == ["top-1 agreement"]


def test_would_pass_is_a_tolerance_that_passes() -> None:
    found = step(answers(), flip(answers(), 9) + 0.3, "int8", np.arange(400) % 3)
    assert not found.passed
    assert judge(found.measured, would_pass(found)).passed


def test_a_saved_hop_can_be_judged_again() -> None:
    found = step(answers(), flip(answers(), 9), "int8", np.arange(400) % 3)
    read = measurement_from_dict(json.loads(json.dumps(found.to_dict())), "saved.json")
    assert read == found.measured
    assert judge(read, TOLERANCES["faces"]["int8"]) == found
    assert judge(read, Tolerance(min_agreement=0.9)).passed


def test_no_number_stays_no_number_when_saved() -> None:
    bad = answers()
    bad[5, 2] = np.nan
    saved = {key: None if value != value else value for key, value in step(answers(), bad).to_dict().items()}
    assert failed(judge(measurement_from_dict(saved, "saved.json"), Tolerance(max_abs_logit=1.0))) == [
        "finite answers",
        "max |logit difference|",
    ]


@pytest.mark.parametrize("change", [{"kind": "other"}, {"images": 0}, {"decisions": {}}, {"snr_db": "x"}], ids=str)
def test_a_damaged_saved_hop_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"saved\.json: not what `rarn-edge parity --json` prints"):
        measurement_from_dict({**step(answers(), answers()).to_dict(), **change}, "saved.json")


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"'before' answered \[400, 3\] and 'after' \[399, 3\]"):
        step(answers(), answers(399))
    with pytest.raises(InputError, match="the same faces and classes"):
        step(answers(), answers()[:, :2])


def test_no_faces_are_refused() -> None:
    with pytest.raises(InputError, match="the same faces and classes"):
        step(answers(0), answers(0))


def test_a_hop_as_json() -> None:
    written = json.loads(json.dumps(step(answers(), flip(answers(), 2), "int8").to_dict()))
    assert (written["before"], written["after"], written["kind"]) == ("before", "after", "int8")
    assert written["passed"] is True
    assert written["flipped"] == [0, 1]


def artifact(name: str, sha: str | None, classes: tuple[str, ...] = ("a", "b")) -> Artifact:
    provenance = {} if sha is None else {"weights_sha256": sha}
    contract = Contract(ModelSpec(name, classes), provenance=provenance)
    return Artifact(Path(f"{name}.{sha}.onnx"), contract, "0" * 64, 1)


def test_same_model_is_accepted() -> None:
    weights = Weights(ModelSpec("net", ("a", "b")), {}, {}, "1" * 64)
    check_same_model(
        [artifact("net", "1" * 64), artifact("net", None), artifact("net", "1" * 64)], weights.spec, weights.sha256
    )


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (artifact("net2", "1" * 64), "name forms of one model"),
        (artifact("net", "1" * 64, ("b", "a")), r"other classes or in another order \(a, b; b, a\)"),
        (artifact("net", "2" * 64), "different weights"),
    ],
    ids=["name", "classes", "weights"],
)
def test_other_model_is_refused(other: Artifact, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_same_model([artifact("net", "1" * 64), other])
    with pytest.raises(InputError, match=message):
        check_same_model([other], ModelSpec("net", ("a", "b")), "1" * 64)
