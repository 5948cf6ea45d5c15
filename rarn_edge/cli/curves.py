"""Learning curves in a terminal, drawn with characters: accuracy on training and test images against the epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

if TYPE_CHECKING:
    from rarn_edge.train.run import EpochLog

HEIGHT = 10  # lines
WIDEST = 64  # columns for the curves
TRAIN, TEST = ".", "o"
_STYLES = {TRAIN: "dim", TEST: "bold cyan"}
_LABEL = 7  # columns of `100.0% `


def accuracy_chart(history: Sequence["EpochLog"], columns: int = 80) -> Text:
    """Both curves on one grid of characters; where they meet, that of the test images is seen.

    With more epochs than columns, each column shows the last of its epochs.
    """
    width = min(WIDEST, columns - _LABEL - 1, max(len(history), 2))
    series = {TRAIN: [log.train_accuracy for log in history], TEST: [log.test_accuracy for log in history]}
    values = [value for curve in series.values() for value in curve]
    low, high = min(values), max(values)
    low, high = (low - 0.005, high + 0.005) if high - low < 0.01 else (low, high)
    grid = [[" "] * width for _ in range(HEIGHT)]
    for mark, curve in series.items():
        for index, value in enumerate(curve):
            column = index * width // len(curve) if len(curve) > width else index
            for row in grid:
                row[column] = " " if row[column] == mark else row[column]  # of an earlier epoch in the same column
            grid[HEIGHT - 1 - round((value - low) / (high - low) * (HEIGHT - 1))][column] = mark
    chart = Text()
    for number, row in enumerate(grid):
        label = f"{high:.1%}" if number == 0 else f"{low:.1%}" if number == HEIGHT - 1 else ""
        chart.append(f"{label:>{_LABEL - 1}} |", "dim")
        for mark in row:
            chart.append(mark, _STYLES.get(mark, ""))
        chart.append("\n")
    best = max(history, key=lambda log: log.test_accuracy)
    last = history[-1]
    tested = f"{TEST} test {last.test_accuracy:.2%} (best {best.test_accuracy:.2%} in epoch {best.epoch})"
    chart.append(f"accuracy: {tested}, {TRAIN} training {last.train_accuracy:.2%}")
    return chart
