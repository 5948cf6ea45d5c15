"""A hop's judgement with made-up answers, each a hair on either side of its limit."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from rarn_edge.artifact import Artifact, Contract, Precision
from rarn_edge.errors import InputError
from rarn_edge.parity.chain import check_same_model
from rarn_edge.parity.hops import Form, Hop, compare, compare_chain
from rarn_edge.spec import ModelSpec
from rarn_edge.train.checkpoint import Weights

Logits = NDArray[np.float32]


def answers(count: int = 400) -> Logits:
    """Decisions 0, 1, 2, 0, ... by a clear margin."""
    return np.eye(3, dtype=np.float32)[np.arange(count) % 3] * 4


def flip(logits: Logits, count: int) -> Logits:
    """The first `count` faces get another decision."""
    changed = logits.copy()
    changed[:count] = np.roll(changed[:count], 1, axis=1)
    return changed


def hop(
    before: Logits, after: Logits, precision: Precision = "float32", labels: NDArray[np.int64] | None = None
) -> Hop:
    return compare(Form("before", "float32", before), Form("after", precision, after), labels)


def failed(found: Hop) -> list[str]:
    assert found.passed == all(check.passed for check in found.checks)
    return [check.figure for check in found.checks if not check.passed]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_equal_answers_pass(precision: Precision) -> None:
    found = hop(answers(), answers(), precision, np.arange(400) % 3)
    assert found.passed
    assert (found.images, found.flipped, found.max_abs_logit) == (400, (), 0.0)
    assert (found.accuracy_before, found.accuracy_after) == (1.0, 1.0)


def test_one_flip_fails_a_float_hop() -> None:
    before = answers()
    before[7] = (1.00001, 1.0, 0.0)
    after = before.copy()
    after[7] = (1.0, 1.00001, 0.0)  # the logits hardly differ: only the decision tells
    found = hop(before, after)
    assert failed(found) == ["same decision"]
    assert found.flipped == (7,)


@pytest.mark.parametrize(("difference", "failures"), [(0.9e-4, []), (1.1e-4, ["max |logit difference|"])])
@pytest.mark.parametrize("sign", [1, -1])
def test_float_logits_may_differ_by_1e_4(difference: float, failures: list[str], sign: int) -> None:
    after = answers()
    after[3, 1] += sign * difference
    assert failed(hop(answers(), after)) == failures


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("side", ["before", "after", "both"])
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_answers_that_are_no_numbers_fail(value: float, precision: Precision, side: str) -> None:
    bad = answers()
    bad[5, 2] = value
    found = hop(answers() if side == "after" else bad, answers() if side == "before" else bad, precision)
    assert "finite answers" in failed(found)


@pytest.mark.parametrize(("flips", "failures"), [(12, []), (13, ["same decision"])])
def test_int8_agreement_boundary(flips: int, failures: list[str]) -> None:
    found = hop(answers(), flip(answers(), flips) + 0.3, "int8")  # 97 % of 400 is 388; the logits may move
    assert failed(found) == failures
    assert len(found.flipped) == flips
    assert (found.accuracy_before, found.accuracy_after) == (None, None)


@pytest.mark.parametrize(("lost", "failures"), [(3, []), (5, ["accuracy lost"])])
def test_int8_accuracy_lost(lost: int, failures: list[str]) -> None:
    found = hop(answers(), flip(answers(), lost), "int8", np.arange(400) % 3)
    assert failed(found) == failures
    assert (found.accuracy_before, found.accuracy_after) == pytest.approx((1.0, 1 - lost / 400))


def test_gained_accuracy_is_no_loss() -> None:
    assert hop(flip(answers(), 8), answers(), "int8", np.arange(400) % 3).passed


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"'before' answered \[400, 3\] and 'after' \[399, 3\]"):
        hop(answers(), answers(399))
    with pytest.raises(InputError, match="the same faces and classes"):
        hop(answers(), answers()[:, :2])


def test_no_faces_are_refused() -> None:
    with pytest.raises(InputError, match="the same faces and classes"):
        hop(answers(0), answers(0))


def test_chain_judges_neighbours() -> None:
    forms = [Form(name, "float32", answers()) for name in ("torch", "onnx")]
    forms.append(Form("int8", "int8", flip(answers(), 2)))
    hops = compare_chain(forms, None)
    assert [(h.before, h.after, h.passed) for h in hops] == [("torch", "onnx", True), ("onnx", "int8", True)]
    written = json.loads(json.dumps(hops[1].to_dict()))
    assert written["passed"] is True
    assert written["flipped"] == [0, 1]


def artifact(name: str, sha: str | None, classes: tuple[str, ...] = ("a", "b")) -> Artifact:
    provenance = {} if sha is None else {"weights_sha256": sha}
    contract = Contract(ModelSpec(name, classes), provenance=provenance)
    return Artifact(Path(f"{name}.{sha}.onnx"), contract, "0" * 64, 1)


def test_same_model_is_accepted() -> None:
    weights = Weights(ModelSpec("net", ("a", "b")), {}, {}, "1" * 64)
    check_same_model([artifact("net", "1" * 64), artifact("net", None), artifact("net", "1" * 64)], weights)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (artifact("net2", "1" * 64), "parity compares forms of one model"),
        (artifact("net", "1" * 64, ("b", "a")), "parity compares forms of one model"),
        (artifact("net", "2" * 64), "different weights"),
    ],
    ids=["name", "classes", "weights"],
)
def test_other_model_is_refused(other: Artifact, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_same_model([artifact("net", "1" * 64), other], None)
    with pytest.raises(InputError, match=message):
        check_same_model([other], Weights(ModelSpec("net", ("a", "b")), {}, {}, "1" * 64))
