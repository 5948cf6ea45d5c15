"""One drawing of the page: matplotlib SVG with real text and with colours that the page's style sheet decides."""

import io
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rarn_edge.report.table import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_WIDTH_IN = 4.1  # about as wide as a phone: text keeps its size there, and grows a little on a desk
_FONT_PT = 9.5
INK, QUIET, GRID, ACCENT, SECOND, PAPER = "#101010", "#606060", "#d0d0d0", "#1a66cc", "#b85c00", "#fdfdfd"
_VARIABLES = {
    INK: "--ink",
    QUIET: "--quiet",
    GRID: "--grid",
    ACCENT: "--accent",
    SECOND: "--second",
    PAPER: "--paper",
}
MARKERS = "osD^vP*X"


@dataclass(frozen=True)
class Plot:
    """A drawing with its words and its figures."""

    title: str
    summary: str  # for those who do not see it
    html: str  # an SVG, or a picture inside the page
    table: Table


class Drawing:
    """One figure with our manners; nothing of matplotlib's global state is touched but inside a context."""

    def __init__(self, height_in: float) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._style: dict[Any, Any] = {
            "font.size": _FONT_PT,
            "font.family": "sans-serif",
            "svg.fonttype": "none",
            "svg.hashsalt": "rarn-edge",
            "text.color": INK,
            "axes.labelcolor": QUIET,
            "axes.edgecolor": GRID,
            "xtick.color": QUIET,
            "ytick.color": QUIET,
            "ytick.labelcolor": INK,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.6,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
        with rc_context(self._style):
            self.figure = Figure(figsize=(_WIDTH_IN, height_in), layout="constrained")
            self.axes = self.figure.add_subplot()

    def plot(self, title: str, summary: str, table: Table) -> Plot:
        """What was drawn, with its words and figures."""
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
    unique = f"p{zlib.crc32(label.encode()):x}"  # ids on one page must differ, and a page must not change by itself
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{unique}-\1"', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{unique}-", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{name}"', 1)


def plain_ticks(axis: "Axis") -> None:
    """1, 10, 200 instead of powers of ten."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    low, high = axis.get_view_interval()
    few = MaxNLocator(4)  # less than a decade has not enough of 1, 2 and 5
    axis.set_major_locator(few if high / low < 8 else LogLocator(subs=(1.0,) if high / low > 100 else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def label_ends(axes: "Axes", ends: Sequence[tuple[float, float]], labels: Sequence[str]) -> None:
    """Names right of the ends of lines on a logarithmic axis, in their order, pushed apart where they would overlap."""
    heights = np.log([y for _, y in ends])
    gap, last = max(float(np.ptp(heights)), 0.7) / 13, -np.inf
    for (x, y), label in sorted(zip(ends, labels, strict=True), key=lambda each: each[0][1]):
        last = max(np.log(y), last + gap)
        place: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
        axes.annotate(label, (x, float(np.exp(last))), **place, color=INK, annotation_clip=False)


def label_points(axes: "Axes", points: Sequence[tuple[float, float]], labels: Sequence[str]) -> None:
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
                color=INK,
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
