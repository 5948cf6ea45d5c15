"""What ships in the package belongs together and stays small."""

import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rarn_edge import assets
from rarn_edge.assets import (
    SAFE_TARGET,
    shipped_bundle,
    shipped_labels,
    shipped_models,
    shipped_onnx,
    shipped_onnx_models,
    shipped_quality,
    shipped_ranges,
    shipped_weights,
)
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.spec import FER2013, FERPLUS, LABEL_CLASSES
from rarn_edge.contract.targets import Target, detect_host
from rarn_edge.data import Split, load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.files import file_sha256
from rarn_edge.models.find import find_network
from rarn_edge.onnx_graph import load_graph
from rarn_edge.parity.bundle import load_bundle
from rarn_edge.parity.outputs import file_form
from rarn_edge.parity.steps import compare
from rarn_edge.parity.tolerances import TOLERANCES
from rarn_edge.pipeline.calibrate import Ranges, ranges_of
from rarn_edge.pipeline.quantize import lie_on_seven_bits, quantize
from rarn_edge.train.checkpoint import load_weights

SHIPPED = [(model, labels) for model in shipped_models() for labels in shipped_labels(model)]
each_shipped = pytest.mark.parametrize(("model", "labels"), SHIPPED)


def test_something_ships_and_each_has_its_figures() -> None:
    assert "rarn-s" in shipped_models()
    assert set(shipped_quality()) == set(shipped_models())
    for model, figures in shipped_quality().items():
        assert set(figures) == set(shipped_labels(model)) == set(LABEL_CLASSES)
        assert all("PublicTest" in text or "PrivateTest" in text for text in figures.values())


@each_shipped
def test_ranges_belong_to_the_weights(model: str, labels: str) -> None:
    ranges = Ranges.load(shipped_ranges(model, labels))
    assert ranges.weights_sha256 == file_sha256(shipped_weights(model, labels))
    assert ranges.tensors
    assert all(low <= 0 <= high and low < high for low, high in ranges.tensors.values())


@each_shipped
def test_weights_load_into_their_model(model: str, labels: str) -> None:
    weights = load_weights(shipped_weights(model, labels), find_network(model))
    assert (weights.spec.classes, weights.spec.label_source) == (LABEL_CLASSES[labels], labels)
    side = weights.spec.preprocess.height_px
    with torch.no_grad():
        logits = weights.model()(torch.zeros(1, 1, side, side))
    assert logits.shape == (1, len(LABEL_CLASSES[labels]))
    assert torch.isfinite(logits).all()


def test_the_package_stays_small() -> None:
    """As a wheel packs it, with half a megabyte left for the code."""
    folder = Path(str(assets.__file__)).parent
    files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 11_500_000


def test_what_does_not_ship_is_said() -> None:
    with pytest.raises(InputError, match=r"no weights of 'rarn-152' are shipped \(shipped: .*rarn-s"):
        shipped_weights("rarn-152")
    with pytest.raises(InputError, match="no activation ranges of 'rarn-152'"):
        shipped_ranges("rarn-152")
    with pytest.raises(InputError, match=r"no INT8 file of 'rarn-152' is shipped \(shipped: .*rarn-s"):
        shipped_onnx("rarn-152")
    with pytest.raises(InputError, match="no parity bundle of 'rarn-152'"):
        shipped_bundle("rarn-152")


@each_shipped
def test_int8_file_and_bundle_belong_to_the_weights(model: str, labels: str) -> None:
    assert shipped_onnx_models() == shipped_models()
    sha256 = file_sha256(shipped_weights(model, labels))
    artifact = Artifact.load(shipped_onnx(model, labels=labels))
    bundle = load_bundle(shipped_bundle(model, labels))
    assert artifact.contract.provenance["weights_sha256"] == bundle.weights_sha256 == sha256
    assert artifact.contract.precision == "int8"
    ranges = Ranges.load(shipped_ranges(model, labels))
    assert artifact.contract.provenance["calibration"] == f"{ranges.method}, {ranges.sample}"
    assert bundle.tolerances == TOLERANCES
    assert bundle.speaks_for(artifact.sha256)
    assert shipped_bundle(model, labels).stat().st_size <= 300_000


@pytest.mark.parametrize("target", Target)
def test_a_file_stands_in_for_any_target(target: Target) -> None:
    assert Artifact.load(shipped_onnx("rarn-s", target)).contract.target in (target, SAFE_TARGET)


@pytest.fixture(scope="module", params=SHIPPED, ids=".".join)
def shipped(
    request: pytest.FixtureRequest,
    shipped_float32: Callable[..., Artifact],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Artifact, Artifact]:
    """A shipped model as a user makes it: (float32, INT8 for this machine) from the weights and ranges of the package."""
    model, labels = request.param
    float32 = shipped_float32(model, labels)
    ranges = ranges_of(model, float32.contract.provenance["weights_sha256"])
    out = tmp_path_factory.mktemp(model) / "int8.onnx"
    return float32, quantize(float32, detect_host().target, ranges, out).artifact


def test_int8_files_of_every_target_have_the_weights_of_the_float32_file(shipped: tuple[Artifact, Artifact]) -> None:
    """Shipped weights lie on the 7-bit grid, which other targets keep only where all of them do."""
    assert lie_on_seven_bits(load_graph(shipped[0].path))


def test_ranges_fit_the_exported_graph(shipped: tuple[Artifact, Artifact]) -> None:
    float32, int8 = shipped
    assert int8.contract.precision == "int8"
    assert int8.size_bytes <= 0.30 * float32.size_bytes
    faces = synthetic_faces(64, seed=4)
    assert compare(file_form(float32, faces), file_form(int8, faces), None).measured.max_abs_logit < 1.5


LEAST_ACCURACY = {
    ("rarn-s", FERPLUS): 0.88,
    ("rarn-s", FER2013): 0.70,
    ("rarn-n", FERPLUS): 0.865,
    ("rarn-n", FER2013): 0.685,
}


def test_int8_keeps_the_accuracy_on_real_faces(
    shipped: tuple[Artifact, Artifact], fer2013: Path, ferplus: Path
) -> None:
    """At most 0.3 points lost and 98.5 % agreement: the models' own gate."""
    spec = shipped[0].spec
    votes = ferplus if spec.label_source == FERPLUS else None
    faces = load_faces(fer2013, lambda found: found.split(Split.PUBLIC_TEST).labelled(), votes)  # decodes no other
    step = compare(*(file_form(artifact, faces) for artifact in shipped), faces.labels)
    assert [check.figure for check in step.checks if not check.passed] == []
    assert step.measured.accuracy_after is not None
    assert step.measured.accuracy_after >= LEAST_ACCURACY[spec.name, spec.label_source]
