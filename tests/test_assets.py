"""What ships in the package belongs together and stays small."""

from pathlib import Path

import pytest
import torch

from rarn_edge import assets
from rarn_edge.artifact import file_sha256
from rarn_edge.assets import shipped_models, shipped_quality, shipped_ranges, shipped_weights
from rarn_edge.errors import InputError
from rarn_edge.pipeline.calibrate import Ranges
from rarn_edge.spec import CLASSES
from rarn_edge.train.checkpoint import load_weights


def test_something_ships_and_each_has_its_figures() -> None:
    assert "rarn-s" in shipped_models()
    assert set(shipped_quality()) == set(shipped_models())
    assert all("PublicTest" in text or "PrivateTest" in text for text in shipped_quality().values())


@pytest.mark.parametrize("model", shipped_models())
def test_ranges_belong_to_the_weights(model: str) -> None:
    ranges = Ranges.load(shipped_ranges(model))
    assert ranges.weights_sha256 == file_sha256(shipped_weights(model))
    assert ranges.tensors
    assert all(low <= 0 <= high and low < high for low, high in ranges.tensors.values())


@pytest.mark.parametrize("model", shipped_models())
def test_weights_load_into_their_model(model: str) -> None:
    weights = load_weights(shipped_weights(model), expected_model=model)
    assert weights.spec.classes == CLASSES
    side = weights.spec.preprocess.height_px
    with torch.no_grad():
        logits = weights.model()(torch.zeros(1, 1, side, side))
    assert logits.shape == (1, 7)
    assert torch.isfinite(logits).all()


def test_the_package_stays_small() -> None:
    folder = Path(str(assets.__file__)).parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if "__pycache__" not in path.parts) < 12_000_000


def test_what_does_not_ship_is_said() -> None:
    with pytest.raises(InputError, match=r"no weights of 'rarn-152' are shipped \(shipped: .*rarn-s"):
        shipped_weights("rarn-152")
    with pytest.raises(InputError, match="no activation ranges of 'rarn-152'"):
        shipped_ranges("rarn-152")
