"""Labels of points stay readable where points lie close together."""

from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rarn_edge.report.drawing import label_points


def test_labels_do_not_cover_each_other() -> None:
    figure = Figure(figsize=(4.1, 3.3))
    axes = figure.add_subplot()
    axes.set_xlim(0, 5)
    axes.set_ylim(56, 70)
    points = [(0.64, 65.7), (0.73, 65.8), (0.86, 65.2), (3.9, 67.5), (4.1, 67.6), (3.4, 57.9)]
    labels = ["rarn-n", "rarn-n.int8", "mini_xception", "rarn-s.int8", "rarn-s", "face_api_expression"]
    label_points(axes, points, labels)
    assert [text.get_text() for text in axes.texts] == labels
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in axes.texts]
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
