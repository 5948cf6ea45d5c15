"""What predict prints of one picture."""

import numpy as np

from rarn_edge.device.boxes import Box, Face
from rarn_edge.device.classifier import Prediction
from rarn_edge.device.predict import Answered, FaceAnswer
from rarn_edge.device.sources import Picture
from rarn_edge.report.predictions import table_lines


def test_the_second_is_another_class_where_two_are_equal() -> None:
    prediction = Prediction("angry", 0.45, False, ("angry", "happy", "sad"), (0.45, 0.45, 0.1), (1.0, 1.0, -0.5), 0.0)
    face = FaceAnswer(Face(Box(0, 0, 48, 48)), "crop", prediction, None, None)
    (line,) = table_lines(Answered(Picture("face.png", np.zeros((48, 48), np.uint8)), (face,)))
    assert line.split()[:4] == ["angry", "45%", "happy", "45%"]
