"""A training run of seconds: the smallest model on 42 drawn faces."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rarn_edge.data import Faces
from rarn_edge.models.find import find_network
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import RECIPES
from rarn_edge.train.run import Run, split_for_training


@pytest.fixture(scope="session")
def make_run(split_faces: Faces) -> Callable[..., Run]:
    """`make_run(folder, recipe="paper")`: three epochs of three batches of rarn-n, or of another `model`."""
    train, test = split_for_training(split_faces)

    def make(
        folder: Path,
        recipe: str = "edge",
        epochs: int = 3,
        precision: TrainingPrecision = TrainingPrecision.FLOAT32,
        model: str = "rarn-n",
    ) -> Run:
        chosen = replace(RECIPES[recipe], epochs=epochs, batch=14, drawn=min(14, RECIPES[recipe].drawn))
        return Run(find_network(model), chosen, 0, train, test, folder, threads=1, precision=precision)

    return make
