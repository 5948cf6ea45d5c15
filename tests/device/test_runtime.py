"""Answers from a file do not depend on how many batches are in flight."""

from pathlib import Path

import numpy as np

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.runtime.logits import run_logits

TINY = Path(__file__).with_name("tiny.onnx")


def test_callers_change_neither_answers_nor_their_order() -> None:
    session, spec = open_unoptimised(TINY), Artifact.load(TINY).spec
    images = synthetic_faces(50, seed=4).images
    alone = run_logits(session, spec, images, batch=3)
    assert len(np.unique(alone, axis=0)) > 40  # an exchanged batch would show
    np.testing.assert_array_equal(run_logits(session, spec, images, batch=3, callers=4), alone)
    assert run_logits(session, spec, images[:0], callers=4).shape == (0, 7)
