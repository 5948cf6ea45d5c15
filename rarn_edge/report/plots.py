"""The page's plots: matplotlib SVG with real text and with colours that the page's style sheet decides.

Every plot answers one question, states it as its title, and comes with the same figures as a table.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rarn_edge.bench.result import BenchReport, BenchRow
from rarn_edge.report.bench_extras import PlainTable
from rarn_edge.report.bench_table import milliseconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH_IN = 4.1  # about as wide as a phone: text keeps its size there, and grows a little on a desk
_FONT_PT = 9.5
_INK, _QUIET, _GRID, _ACCENT, _SECOND, _PAPER = "#101010", "#606060", "#d0d0d0", "#1a66cc", "#b85c00", "#fdfdfd"
_VARIABLES = {
    _INK: "--ink",
    _QUIET: "--quiet",
    _GRID: "--grid",
    _ACCENT: "--accent",
    _SECOND: "--second",
    _PAPER: "--paper",
}
_MARKERS = "osD^vP*X"


@dataclass(frozen=True)
class Plot:
    """A drawing with its words and its figures."""

    title: str
    summary: str  # for those who do not see it
    svg: str
    table: PlainTable


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
    drawing = _Drawing(3.3)
    axes = drawing.axes
    axes.set_xscale("log")
    axes.plot(*zip(*(points[index] for index in front), strict=True), color=_ACCENT, linewidth=1.2, zorder=1)
    for index, (score, (x, y)) in enumerate(zip(scores, points, strict=True)):
        color = _ACCENT if index in front else _SECOND
        spread = [[(score.value - score.low) * 100], [(score.high - score.value) * 100]]
        axes.errorbar(x, y, yerr=spread, color=color, marker=_MARKERS[index % len(_MARKERS)], markersize=6, linewidth=1)
    axes.margins(x=0.25, y=0.15)
    axes.set_xlabel("ms per call (log; left is faster)")
    axes.set_ylabel("accuracy, %")
    _plain_ticks(axes.xaxis)
    _label_points(axes, points, [row.label for row in rows])
    names = [rows[index].label for index in front]
    table = PlainTable(
        "Accuracy against latency",
        ("model", "median ms", "accuracy", "95 % interval", "on the front"),
        tuple(
            (
                row.label,
                milliseconds(row.latency_median_s),
                f"{score.value:.2%}",
                f"{score.low:.1%} to {score.high:.1%}",
                "yes" if index in front else "no",
            )
            for index, (row, score) in enumerate(zip(rows, scores, strict=True))
        ),
        f"{scores[0].faces}. Bars are 95 % intervals.",
    )
    summary = f"On the Pareto front, where nothing is both faster and more accurate: {', '.join(names)}."
    return drawing.plot("What accuracy costs in time", summary, table)


def _label_points(axes: "Axes", points: Sequence[tuple[float, float]], labels: Sequence[str]) -> None:
    """A label beside each point, where it covers neither a point nor another label, as far as there is room."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    canvas = FigureCanvasAgg(axes.figure)  # type: ignore[arg-type]  # a figure of its own, not a part of another
    canvas.draw()  # type: ignore[no-untyped-call]  # places are in pixels, which the layout decides
    renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]  # matplotlib has no types there
    reach = 4 * axes.figure.dpi / 72  # half a marker
    spots = [axes.transData.transform(point) for point in points]
    taken = [Bbox.from_extents(x - reach, y - reach, x + reach, y + reach) for x, y in spots]
    for own, (point, label) in enumerate(zip(points, labels, strict=True)):
        best, fewest = None, len(taken) + 1
        for right, up in _LABEL_PLACES:
            note = axes.annotate(
                label,
                point,
                xytext=(right, up),
                textcoords="offset points",
                ha="left" if right > 0 else "right",
                va="center",
                color=_INK,
            )
            box = note.get_window_extent(renderer)
            covered = sum(box.overlaps(other) for index, other in enumerate(taken) if index != own)
            covered += not axes.bbox.padded(reach).contains(box.x0, box.y0)
            covered += not axes.bbox.padded(reach).contains(box.x1, box.y1)
            if covered < fewest:
                if best is not None:
                    best.remove()
                best, fewest = note, covered
            else:
                note.remove()
        assert best is not None
        taken.append(best.get_window_extent(renderer))


_LABEL_PLACES = [(side, up) for up in (-8, 9, -20, 21, -32, 33, -44, 45) for side in (8, -8)]  # points from the marker


def _latencies(report: BenchReport) -> Plot:
    rows = _first_group(report)
    drawing = _Drawing(0.9 + 0.34 * len(rows))
    axes = drawing.axes
    axes.set_xscale("log")
    order = sorted(rows, key=lambda row: -row.latency_median_s)
    for place, row in enumerate(order):
        values = np.asarray(row.samples_s) * 1e3
        low, q1, q3, high = np.quantile(values, (0.05, 0.25, 0.75, 0.95))
        color = _ACCENT if row.label == report.reference_label else _SECOND
        axes.plot([low, high], [place, place], color=_QUIET, linewidth=1)
        axes.plot([q1, q3], [place, place], color=color, linewidth=7, solid_capstyle="butt")
        axes.plot([row.latency_median_s * 1e3], [place], color=_INK, marker="|", markersize=12, markeredgewidth=2)
    axes.set_yticks(range(len(order)), [row.label for row in order])
    axes.set_xlabel("ms per call (log)")
    axes.margins(x=0.08, y=0.1)
    _plain_ticks(axes.xaxis)
    table = PlainTable(
        "Latency",
        ("model", "5 %", "25 %", "median", "75 %", "95 %", "calls"),
        tuple(
            (
                row.label,
                *(
                    milliseconds(float(v))
                    for v in np.quantile(np.asarray(row.samples_s), (0.05, 0.25, 0.5, 0.75, 0.95))
                ),
                str(len(row.samples_s)),
            )
            for row in reversed(order)
        ),
        "Milliseconds. These shares describe the calls of this run; a tail is only stated where enough calls exist.",
    )
    fastest, slowest = order[-1], order[0]
    summary = (
        f"Fastest is {fastest.label} with a median of {milliseconds(fastest.latency_median_s)} ms, slowest {slowest.label} with "
        f"{milliseconds(slowest.latency_median_s)} ms. Thick: the middle half of the calls; thin: 5 % to 95 %; tick: median."
    )
    return drawing.plot(f"How long a call takes (batch {rows[0].batch})", summary, table)


def _batches(report: BenchReport) -> Plot | None:
    first = report.rows[0]
    rows = [row for row in report.rows if row.threads == first.threads]
    batches = list(dict.fromkeys(row.batch for row in rows))
    if len(batches) < 2:
        return None
    labels = list(dict.fromkeys(row.label for row in rows))
    drawing = _Drawing(3.3)
    axes = drawing.axes
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    ends = []
    for index, label in enumerate(labels):
        own = sorted((row for row in rows if row.label == label), key=lambda row: row.batch)
        color = _ACCENT if label == report.reference_label else _SECOND
        xs, ys = [row.batch for row in own], [row.throughput_images_per_s for row in own]
        axes.plot(xs, ys, color=color, marker=_MARKERS[index % len(_MARKERS)], markersize=5, linewidth=1.2)
        ends.append((ys[-1], label, color))
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.minorticks_off()
    axes.set_xlim(min(batches) / 1.15, max(batches) * 1.1)
    _label_ends(axes, max(batches), ends)
    axes.set_xlabel("images per call")
    axes.set_ylabel("images per second (log)")
    _plain_ticks(axes.yaxis)
    cells = {(row.label, row.batch): f"{row.throughput_images_per_s:,.0f}" for row in rows}
    table = PlainTable(
        "Throughput",
        ("images/s", *(f"batch {batch}" for batch in batches)),
        tuple((label, *(cells.get((label, batch), "-") for batch in batches)) for label in labels),
    )
    best = max(rows, key=lambda row: row.throughput_images_per_s)
    summary = f"Highest: {best.label} with {best.throughput_images_per_s:,.0f} images per second at batch {best.batch}."
    return drawing.plot("What a larger batch gains", summary, table)


def _memory(report: BenchReport) -> Plot | None:
    rows = [row for row in _first_group(report) if row.peak_rss_bytes is not None]
    if not rows:
        return None
    order = sorted(rows, key=lambda row: -(row.peak_rss_bytes or 0))
    drawing = _Drawing(0.9 + 0.36 * len(order))
    axes = drawing.axes
    for place, row in enumerate(order):
        peak, file = (row.peak_rss_bytes or 0) / 1e6, row.file_size_bytes / 1e6
        axes.barh(place, peak, height=0.62, color=_ACCENT if row.label == report.reference_label else _SECOND)
        axes.barh(place, file, height=0.22, color=_PAPER, edgecolor=_INK, linewidth=0.8)
        axes.annotate(f"{peak:,.0f}", (peak, place), xytext=(4, 0), textcoords="offset points", va="center", color=_INK)
    axes.set_yticks(range(len(order)), [row.label for row in order])
    axes.set_xlabel("MB at its peak; inner bar: the file")
    axes.margins(x=0.14)
    table = PlainTable(
        "Memory",
        ("model", "peak MB", "file MB"),
        tuple(
            (row.label, f"{(row.peak_rss_bytes or 0) / 1e6:.1f}", f"{row.file_size_bytes / 1e6:.2f}")
            for row in reversed(order)
        ),
        "Above a process that only imports ONNX Runtime.",
    )
    least = order[-1]
    summary = f"Least memory: {least.label} with {(least.peak_rss_bytes or 0) / 1e6:.0f} MB at its peak."
    return drawing.plot(f"What it needs in memory (batch {rows[0].batch})", summary, table)


class _Drawing:
    """One figure with our manners; nothing of matplotlib's global state is touched but inside a context."""

    def __init__(self, height_in: float) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._style: dict[Any, Any] = {
            "font.size": _FONT_PT,
            "font.family": "sans-serif",
            "svg.fonttype": "none",
            "svg.hashsalt": "rarn-edge",
            "text.color": _INK,
            "axes.labelcolor": _QUIET,
            "axes.edgecolor": _GRID,
            "xtick.color": _QUIET,
            "ytick.color": _QUIET,
            "ytick.labelcolor": _INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": _GRID,
            "grid.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        with rc_context(self._style):
            self.figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
            self.axes = self.figure.add_subplot()

    def plot(self, title: str, summary: str, table: PlainTable) -> Plot:
        from matplotlib import rc_context

        text = io.StringIO()
        with rc_context(self._style):
            self.figure.savefig(text, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        return Plot(title, summary, _page_svg(text.getvalue(), f"{title}. {summary}"), table)


def _page_svg(svg: str, label: str) -> str:
    """Only the drawing, scaling with its column, coloured by the page, with a name for screen readers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    svg = re.sub(r"font: ([\d.]+)px[^;\"]*", r"font: \1px system-ui, sans-serif", svg)
    name = label.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    unique = f"p{abs(hash_of(label)):x}"
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{unique}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{unique}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{name}"', 1)


def hash_of(text: str) -> int:
    """A number that is the same in every process: ids on one page must differ, and a page must not change by itself."""
    import zlib

    return zlib.crc32(text.encode())


def _plain_ticks(axis: object) -> None:
    """1, 10, 200 instead of powers of ten."""
    from matplotlib.axis import Axis
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    assert isinstance(axis, Axis)
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _label_ends(axes: object, x: float, ends: list[tuple[float, str, str]]) -> None:
    """Names at the ends of the lines, pushed apart where they would overlap."""
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    heights = [y for y, _, _ in ends]
    span = max(np.log(max(heights) / min(heights)), 0.7)
    gap = span / 13
    last = -np.inf
    for y, label, _color in sorted(ends):
        at = max(np.log(y), last + gap)
        last = at
        axes.annotate(
            label,
            (x, float(np.exp(at))),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
            annotation_clip=False,
        )
