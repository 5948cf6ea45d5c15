"""The recipe `paper` has the paper's figures; schedules follow the epoch."""

import math
from dataclasses import replace

import pytest

from rarn_edge.errors import InputError
from rarn_edge.train.recipe import EDGE, PAPER, find_recipe, learning_rate


def test_paper_has_the_papers_figures() -> None:
    """Sections 4.2, 4.3 and Table 1."""
    assert (PAPER.epochs, PAPER.batch, PAPER.learning_rate, PAPER.schedule) == (33, 64, 0.01, "step")
    changes = PAPER.augmentation
    assert (changes.shift_y, changes.shift_x, changes.rotation_deg) == (0.28, 0.75, 90.0)
    assert (changes.brightness, changes.contrast) == (0.2, 0.2)
    assert changes.flip_horizontal > 0
    assert changes.flip_vertical > 0
    assert (PAPER.momentum, PAPER.label_smoothing, PAPER.ema_decay, changes.erase) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("done", "power"), [(0, 0), (0.5, 0), (2.99, 0), (3, 1), (5.99, 1), (6, 2), (30, 10), (32.99, 10)]
)
def test_paper_rate_falls_every_three_epochs(done: float, power: int) -> None:
    assert learning_rate(PAPER, done) == pytest.approx(0.01 * 0.9**power)


def test_edge_rate_warms_up_then_falls_to_zero() -> None:
    top = EDGE.learning_rate
    assert learning_rate(EDGE, 0) < 0.1 * top
    assert learning_rate(EDGE, EDGE.warmup_epochs) == pytest.approx(top)
    middle = EDGE.warmup_epochs + (EDGE.epochs - EDGE.warmup_epochs) / 2
    assert learning_rate(EDGE, middle) == pytest.approx(top / 2)
    assert learning_rate(EDGE, EDGE.epochs) == pytest.approx(0, abs=1e-9)
    rates = [learning_rate(EDGE, EDGE.warmup_epochs + step / 10) for step in range(300)]
    assert rates == sorted(rates, reverse=True)
    assert all(math.isfinite(rate) for rate in rates)


def test_a_run_as_short_as_its_warm_up_ends_at_zero() -> None:
    short = replace(EDGE, epochs=1, warmup_epochs=1.0)
    assert learning_rate(short, 0.5) == pytest.approx(EDGE.learning_rate)
    assert learning_rate(short, 0.99) < 0.01 * EDGE.learning_rate
    assert learning_rate(short, 1) == pytest.approx(0, abs=1e-9)


def test_unknown_recipe_lists_the_known() -> None:
    assert find_recipe("edge") is EDGE
    with pytest.raises(InputError, match="no recipe 'fast'; one of: paper, edge"):
        find_recipe("fast")
