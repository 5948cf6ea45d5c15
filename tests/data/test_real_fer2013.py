"""FER-2013 itself, where it is at hand: every class and split counted, and read within time and memory."""

import os
import time
from pathlib import Path

import pytest

from rarn_edge.contract.spec import CLASSES
from rarn_edge.data import Faces, Split, load_faces

VARIABLE = "RARN_EDGE_FER2013"
SOURCE = Path(os.environ.get(VARIABLE) or Path(__file__).parents[2] / "../shared/data/fer2013.zip")

pytestmark = pytest.mark.skipif(
    not SOURCE.exists(), reason=f"FER-2013 is not here; {VARIABLE}=/path/to/fer2013.zip names it"
)

COUNTS = {  # angry, disgust, fear, happy, neutral, sad, surprise
    Split.TRAINING: (3995, 436, 4097, 7215, 4965, 4830, 3171),
    Split.PUBLIC_TEST: (467, 56, 496, 895, 607, 653, 415),
}


@pytest.fixture(scope="module")
def loaded() -> tuple[Faces, float]:
    """The set and the CPU seconds that reading it took."""
    start_s = time.process_time()
    faces = load_faces(SOURCE)
    return faces, time.process_time() - start_s


@pytest.mark.parametrize("split", COUNTS)
def test_counts(loaded: tuple[Faces, float], split: Split) -> None:
    part = loaded[0].split(split)
    assert tuple(int((part.labels == label).sum()) for label in range(len(CLASSES))) == COUNTS[split]


def test_held_out_is_public_test(loaded: tuple[Faces, float]) -> None:
    assert len(loaded[0].held_out()) == sum(COUNTS[Split.PUBLIC_TEST])


def test_brightness_and_contrast(loaded: tuple[Faces, float]) -> None:
    images = loaded[0].split(Split.TRAINING).images[::5]  # a part: the deviation of all takes 0.5 GB
    assert images.mean() == pytest.approx(129.5, abs=1)
    assert images.std() == pytest.approx(65.0, abs=1)


def test_reads_in_seconds(loaded: tuple[Faces, float]) -> None:
    assert loaded[1] < 10  # 4 s on a busy core
