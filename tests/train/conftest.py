"""A training run of seconds: the smallest model on 42 drawn faces."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rarn_edge.data import Faces
from rarn_edge.train.recipe import RECIPES
from rarn_edge.train.run import Run, split_for_training


@pytest.fixture(scope="session")
def make_run(split_faces: Faces) -> Callable[..., Run]:
    """`make_run(folder, recipe="paper", seed=1)`: three epochs of three batches."""
    train, test = split_for_training(split_faces, seed=0)

    def make(folder: Path, recipe: str = "edge", seed: int = 0, model: str = "rarn-n", epochs: int = 3) -> Run:
        chosen = replace(RECIPES[recipe], epochs=epochs, batch=14)
        return Run(model, chosen, seed, train, test, folder, threads=1)

    return make
