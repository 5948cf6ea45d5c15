"""Learning curves: `log.csv` for machines, `curves.png` for eyes (the paper's Figure 7)."""

import csv
import io
import time
from dataclasses import asdict, fields
from pathlib import Path

from rarn_edge.errors import require_extra
from rarn_edge.files import atomic, write_text
from rarn_edge.train.run import LOG_FILE, EpochLog

REDRAW_S = 10.0  # a drawing takes half a second, an epoch on a GPU may too


def write_curves(folder: Path, history: list[EpochLog], finished: bool) -> None:
    """Write both files anew from the whole history; while it goes on, the drawing may lag by `REDRAW_S` seconds."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(history[0])], lineterminator="\n")
    writer.writeheader()
    for log in history:
        rounded = {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(log).items()}
        writer.writerow(rounded)
    write_text(folder / LOG_FILE, text.getvalue())
    drawing = folder / "curves.png"
    if finished or not drawing.exists() or time.time() - drawing.stat().st_mtime > REDRAW_S:
        _plot(drawing, history)


def _plot(path: Path, history: list[EpochLog]) -> None:
    figure_module = require_extra("matplotlib.figure", "train")
    figure = figure_module.Figure(figsize=(9, 3.5), layout="constrained")  # no pyplot: no global state, no display
    epochs = [log.epoch for log in history]
    for axes, name in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for split in ("train", "test"):
            axes.plot(epochs, [getattr(log, f"{split}_{name}") for log in history], label=split, marker=".")
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        axes.legend()
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
