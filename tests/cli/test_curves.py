"""Learning curves in a terminal."""

import io

import pytest
from rich.console import Console

from rarn_edge.cli.curves import HEIGHT, accuracy_chart
from rarn_edge.cli.progress import training_progress
from rarn_edge.train.run import EpochLog


def epochs(*accuracies: tuple[float, float]) -> list[EpochLog]:
    return [EpochLog(n, 0.1, 1.0, train, 1.0, test, 100.0, 1.0) for n, (train, test) in enumerate(accuracies, start=1)]


def test_each_epoch_is_a_column_of_its_height() -> None:
    lines = accuracy_chart(epochs((0.1, 0.2), (0.5, 0.55), (1.0, 0.8))).plain.splitlines()
    assert lines[0] == "100.0% |  ."
    assert lines[HEIGHT - 1] == " 10.0% |.  "
    assert [line.split("|")[1].find("o") for line in lines[:HEIGHT]].count(0) == 1
    assert lines[-1] == "accuracy: o test 80.00% (best 80.00% in epoch 3), . training 100.00%"


@pytest.mark.parametrize("count", [1, 2, 64, 65, 300])
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_any_number_of_epochs_fits(count: int, columns: int) -> None:
    chart = accuracy_chart(epochs(*((i / count, 0.5) for i in range(count))), columns).plain.splitlines()
    assert len(chart) == HEIGHT + 1
    assert max(map(len, chart[:HEIGHT])) <= min(columns, 72)
    assert all(sum(line[column] == "o" for line in chart[:HEIGHT]) <= 1 for column in range(8, len(chart[0])))


@pytest.mark.parametrize("plot", [True, False])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_curves_are_drawn_on_a_terminal_alone(plot: bool, is_terminal: bool) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=is_terminal)
    with training_progress(console, 2, plot) as shown:
        for log in epochs((0.1, 0.2), (0.5, 0.6)):
            shown.on_epoch(log)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("test 1.0000 60.00%") == 1
    assert ("test 60.00% (best 60.00% in epoch 2)" in text) is (plot and is_terminal)
