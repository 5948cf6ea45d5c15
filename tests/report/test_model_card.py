"""The model card says what was measured, and what the model is not for."""

import numpy as np

from rarn_edge.contract.spec import CLASSES, ModelSpec
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.evaluation.judge import Subject, judge
from rarn_edge.models.catalog import CATALOG
from rarn_edge.report.model_card import log_name, model_card
from rarn_edge.stats.classification import evaluate_logits


def test_the_card_carries_every_figure() -> None:
    faces = synthetic_faces(35, seed=3)
    logits = np.eye(7, dtype=np.float32)[faces.labels]
    logits[:5] = logits[:5, ::-1]  # five answers mirrored, so that the accuracy is not 100 %
    subject = Subject(
        "rarn-s", ModelSpec("rarn-s", temperature=1.5), lambda images: np.ones((len(images), 7), dtype=np.float32), None
    )
    judged = judge(subject, logits, faces, "35 drawn faces", training=None)
    first = {"recipe": {"name": "edge", "epochs": 40}, "epochs_done": 34, "seed": 0, "torch": "2.13.0"}
    second = {
        **first,
        "recipe": {"name": "edge-taught", "epochs": 20},
        "epochs_done": 20,
        "trained_on": "NVIDIA H100 80GB HBM3",
        "teachers": ["ab" * 32],
    }
    provenance = {**second, "train_images": 28709, "phases": [first, second]}
    card = model_card(
        CATALOG["rarn-s"], CATALOG["rarn-s"].spec, provenance, evaluate_logits(logits, faces.labels, CLASSES), judged
    )
    assert "# Model card: rarn-s" in card
    assert "28,709 faces" in card
    assert "Phase 1: recipe `edge` from random weights, 34 of its 40 epochs, seed 0, torch 2.13.0" in card
    assert (
        "Phase 2: recipe `edge-taught` from the weights of the phase before, 20 epochs, seed 0, 1 teacher, on NVIDIA H100"
        in card
    )
    assert f"`export/logs/{log_name('rarn-s.fer2013', 2)}`." in card
    assert card.count(f"{judged.evaluation.accuracy:.2%}") == 2  # float32 and INT8
    assert all(f"| {name} |" in card for name in CLASSES)
    assert "temperature 1.50" in card
    assert "reads expressions, not feelings" in card
    assert card.count("| -90 |") == 1
