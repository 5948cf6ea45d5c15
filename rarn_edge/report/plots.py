"""The plots of the benchmark page.

Every plot answers one question, states it as its title, and comes with the same figures as a table.
"""

from collections.abc import Callable

import numpy as np

from rarn_edge.bench.result import BenchReport, BenchRow
from rarn_edge.report.drawing import (
    ACCENT,
    INK,
    MARKERS,
    PAPER,
    QUIET,
    SECOND,
    Drawing,
    Plot,
    label_ends,
    label_points,
    plain_ticks,
)
from rarn_edge.report.table import table
from rarn_edge.report.units import megabytes, milliseconds

_SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)


def plots(report: BenchReport) -> list[Plot]:
    """Every plot that this report has the figures for."""
    makers: list[Callable[[BenchReport], Plot | None]] = [_accuracy, _latencies, _batches, _memory]
    return [plot for maker in makers if (plot := maker(report)) is not None]


def _first_group(report: BenchReport) -> list[BenchRow]:
    """The rows of the first batch size and thread count."""
    first = report.rows[0]
    return [row for row in report.rows if (row.batch, row.threads) == (first.batch, first.threads)]


def pareto(points: list[tuple[float, float]]) -> list[int]:
    """Positions of the points (latency, accuracy) that no other beats in one without losing in the other."""
    return [
        index
        for index, (latency, accuracy) in enumerate(points)
        if not any(
            (other_latency <= latency and other_accuracy >= accuracy)
            and (other_latency, other_accuracy) != (latency, accuracy)
            for other_latency, other_accuracy in points
        )
    ]


def _accuracy(report: BenchReport) -> Plot | None:
    rows = [row for row in _first_group(report) if row.accuracy is not None]
    scores = [row.accuracy for row in rows if row.accuracy is not None]
    if len(rows) < 2:
        return None
    points = [(row.latency_median_s * 1e3, score.value * 100) for row, score in zip(rows, scores, strict=True)]
    front = sorted(pareto(points), key=lambda index: points[index])
    drawing = Drawing(3.3)
    axes = drawing.axes
    axes.set_xscale("log")
    axes.plot(*zip(*(points[index] for index in front), strict=True), color=ACCENT, linewidth=1.2, zorder=1)
    for index, (score, (x, y)) in enumerate(zip(scores, points, strict=True)):
        color = ACCENT if index in front else SECOND
        spread = [[(score.value - score.low) * 100], [(score.high - score.value) * 100]]
        axes.errorbar(x, y, yerr=spread, color=color, marker=MARKERS[index % len(MARKERS)], markersize=6, linewidth=1)
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel("ms per call (log; left is faster)")
    axes.set_ylabel("accuracy, %")
    plain_ticks(axes.xaxis)
    label_points(axes, points, [row.label for row in rows])
    names = [rows[index].label for index in front]
    figures = table(
        "Accuracy against latency",
        ("model", "median ms", "accuracy", "95 % interval", "on the front"),
        [
            (
                row.label,
                milliseconds(row.latency_median_s),
                f"{score.value:.2%}",
                f"{score.low:.1%} to {score.high:.1%}",
                "yes" if index in front else "no",
            )
            for index, (row, score) in enumerate(zip(rows, scores, strict=True))
        ],
        f"{scores[0].faces}. Bars are 95 % intervals.",
    )
    summary = f"On the Pareto front, where nothing is both faster and more accurate: {', '.join(names)}."
    return drawing.plot("What accuracy costs in time", summary, figures)


def _latencies(report: BenchReport) -> Plot:
    rows = _first_group(report)
    drawing = Drawing(0.9 + 0.34 * len(rows))
    axes = drawing.axes
    axes.set_xscale("log")
    order = sorted(rows, key=lambda row: -row.latency_median_s)
    for place, row in enumerate(order):
        low, q1, median, q3, high = (np.quantile(row.samples_s, _SHARES) * 1e3).tolist()
        color = ACCENT if row.label == report.reference_label else SECOND
        axes.plot([low, high], [place, place], color=QUIET, linewidth=1)
        axes.plot([q1, q3], [place, place], color=color, linewidth=7, solid_capstyle="butt")
        axes.plot([median], [place], color=INK, marker="|", markersize=12, markeredgewidth=2)
    axes.set_yticks(range(len(order)), [row.label for row in order])
    axes.set_xlabel("ms per call (log)")
    axes.margins(x=0.08, y=0.1)
    plain_ticks(axes.xaxis)
    figures = table(
        "Latency",
        ("model", "5 %", "25 %", "median", "75 %", "95 %", "calls"),
        [
            (row.label, *map(milliseconds, np.quantile(row.samples_s, _SHARES).tolist()), str(len(row.samples_s)))
            for row in reversed(order)
        ],
        "Milliseconds. These shares describe the calls of this run; a tail is only stated where enough calls exist.",
    )
    fastest, slowest = order[-1], order[0]
    summary = (
        f"Fastest is {fastest.label} with a median of {milliseconds(fastest.latency_median_s)} ms, slowest {slowest.label} with "
        f"{milliseconds(slowest.latency_median_s)} ms. Thick: the middle half of the calls; thin: 5 % to 95 %; tick: median."
    )
    return drawing.plot(f"How long a call takes (batch {rows[0].batch})", summary, figures)


def _batches(report: BenchReport) -> Plot | None:
    first = report.rows[0]
    rows = [row for row in report.rows if row.threads == first.threads]
    batches = list(dict.fromkeys(row.batch for row in rows))
    if len(batches) < 2:
        return None
    labels = list(dict.fromkeys(row.label for row in rows))
    drawing = Drawing(3.3)
    axes = drawing.axes
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ends = []
    for index, label in enumerate(labels):
        own = sorted((row for row in rows if row.label == label), key=lambda row: row.batch)
        color = ACCENT if label == report.reference_label else SECOND
        xs, ys = [row.batch for row in own], [row.throughput_images_per_s for row in own]
        axes.plot(xs, ys, color=color, marker=MARKERS[index % len(MARKERS)], markersize=5, linewidth=1.2)
        ends.append((xs[-1], ys[-1]))
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.set_xlim(min(batches) / 1.15, max(batches) * 1.1)
    axes.set_xlabel("images per call")
    axes.set_ylabel("images per second (log)")
    plain_ticks(axes.yaxis)
    label_ends(axes, ends, labels)
    cells = {(row.label, row.batch): f"{row.throughput_images_per_s:,.0f}" for row in rows}
    figures = table(
        "Throughput",
        ("images/s", *(f"batch {batch}" for batch in batches)),
        tuple((label, *(cells.get((label, batch), "-") for batch in batches)) for label in labels),
    )
    best = max(rows, key=lambda row: row.throughput_images_per_s)
    summary = f"Highest: {best.label} with {best.throughput_images_per_s:,.0f} images per second at batch {best.batch}."
    return drawing.plot("What a larger batch gains", summary, figures)


def _memory(report: BenchReport) -> Plot | None:
    rows = [row for row in _first_group(report) if row.peak_rss_bytes is not None]
    if not rows:
        return None
    order = sorted(rows, key=lambda row: -(row.peak_rss_bytes or 0))
    drawing = Drawing(0.9 + 0.36 * len(order))
    axes = drawing.axes
    for place, row in enumerate(order):
        peak, file = (row.peak_rss_bytes or 0) / 1e6, row.file_size_bytes / 1e6
        axes.barh(place, peak, height=0.62, color=ACCENT if row.label == report.reference_label else SECOND)
        axes.barh(place, file, height=0.22, color=PAPER, edgecolor=INK, linewidth=0.8)
        axes.annotate(f"{peak:,.0f}", (peak, place), xytext=(4, 0), textcoords="offset points", va="center", color=INK)
    axes.set_yticks(range(len(order)), [row.label for row in order])
    axes.set_xlabel("MB at its peak; inner bar: the file")
    axes.margins(x=0.14)
    figures = table(
        "Memory",
        ("model", "peak MB", "file MB"),
        [(row.label, megabytes(row.peak_rss_bytes), megabytes(row.file_size_bytes, 2)) for row in reversed(order)],
        "Above a process that only imports ONNX Runtime.",
    )
    least = order[-1]
    summary = f"Least memory: {least.label} with {(least.peak_rss_bytes or 0) / 1e6:.0f} MB at its peak."
    return drawing.plot(f"What it needs in memory (batch {rows[0].batch})", summary, figures)
