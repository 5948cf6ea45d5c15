"""What ships in the package belongs together and stays small."""

from pathlib import Path

import pytest
import torch

from rarn_edge import assets
from rarn_edge.assets import (
    SAFE_TARGET,
    shipped_bundle,
    shipped_models,
    shipped_onnx,
    shipped_onnx_models,
    shipped_quality,
    shipped_ranges,
    shipped_weights,
)
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import CLASSES
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.data import Split, load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.files import file_sha256
from rarn_edge.parity.bundle import load_bundle
from rarn_edge.parity.outputs import file_form
from rarn_edge.parity.steps import compare
from rarn_edge.parity.tolerances import TOLERANCES
from rarn_edge.pipeline.calibrate import Ranges, ranges_of
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.workflow.model_files import export_loaded


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
    with pytest.raises(InputError, match=r"no INT8 file of 'rarn-152' is shipped \(shipped: .*rarn-s"):
        shipped_onnx("rarn-152")
    with pytest.raises(InputError, match="no parity bundle of 'rarn-152'"):
        shipped_bundle("rarn-152")


@pytest.mark.parametrize("model", shipped_models())
def test_int8_file_and_bundle_belong_to_the_weights(model: str) -> None:
    assert shipped_onnx_models() == shipped_models()
    sha256 = file_sha256(shipped_weights(model))
    artifact, bundle = Artifact.load(shipped_onnx(model)), load_bundle(shipped_bundle(model))
    assert artifact.contract.provenance["weights_sha256"] == bundle.weights_sha256 == sha256
    assert artifact.contract.precision == "int8"
    ranges = Ranges.load(shipped_ranges(model))
    assert artifact.contract.provenance["calibration"] == f"{ranges.method}, {ranges.sample}"
    assert bundle.tolerances == TOLERANCES
    assert bundle.speaks_for(artifact.sha256)
    assert shipped_bundle(model).stat().st_size <= 300_000


@pytest.mark.parametrize("target", Target)
def test_a_file_stands_in_for_any_target(target: Target) -> None:
    assert Artifact.load(shipped_onnx("rarn-s", target)).contract.target in (target, SAFE_TARGET)


@pytest.fixture(scope="module", params=shipped_models())
def shipped(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, Artifact]:
    """A shipped model as a user makes it: (float32, INT8 for this machine) from the weights and ranges of the package."""
    folder = tmp_path_factory.mktemp(request.param)
    exported = export_loaded(load_weights(shipped_weights(request.param)), folder / "float32.onnx")
    float32, kept_because = exported.artifact, exported.kept_because
    assert kept_because is None
    ranges = ranges_of(request.param, float32.contract.provenance["weights_sha256"])
    return float32, quantize(float32, detect_host().target, ranges, folder / "int8.onnx").artifact


def test_ranges_fit_the_exported_graph(shipped: tuple[Artifact, Artifact]) -> None:
    float32, int8 = shipped
    assert int8.contract.precision == "int8"
    assert int8.size_bytes <= 0.30 * float32.size_bytes
    faces = synthetic_faces(64, seed=4)
    assert compare(file_form(float32, faces), file_form(int8, faces), None).max_abs_logit < 1.5


def test_int8_keeps_the_accuracy_on_real_faces(shipped: tuple[Artifact, Artifact], fer2013: Path) -> None:
    """rarn-s: at least 98.5 % agreement, at most 0.3 points lost, at least 66 %; rarn-n: thinner margins, 97 %."""
    faces = load_faces(fer2013).split(Split.PUBLIC_TEST)
    step = compare(*(file_form(artifact, faces) for artifact in shipped), faces.labels)
    failed = {check.figure for check in step.checks if not check.passed}
    assert step.measured.accuracy_after is not None
    if shipped[0].spec.name == "rarn-s":
        assert failed == set()
        assert step.measured.accuracy_after >= 0.66
    else:
        assert failed <= {"top-1 agreement"}
        assert step.measured.agreement >= 0.97
        assert step.measured.accuracy_after >= 0.65
