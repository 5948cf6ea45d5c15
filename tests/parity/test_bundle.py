"""A bundle holds what was put in, byte for byte, and refuses everything that was changed, stale or foreign."""

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.contract.spec import ModelSpec, Preprocess
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import drawn_for, synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.parity.bundle import Bundle, check_bundle_fits, load_bundle, make_bundle, save_bundle
from rarn_edge.parity.inputs import adversarial_images, show
from rarn_edge.parity.steps import Form

SPEC = ModelSpec("net", temperature=1.5)


@pytest.fixture
def bundle() -> Bundle:
    faces = synthetic_faces(9, seed=2)
    shown = show(faces, faces.labels, "9 synthetic faces", SPEC.preprocess)
    logits = np.random.default_rng(0).normal(size=(len(shown.images), 7)).astype(np.float32)
    return make_bundle(SPEC, shown, Form("torch", "float32", logits), "ab" * 32)


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same zip with its members changed."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_round_trip(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "a.rarn-parity")
    read = load_bundle(tmp_path / "a.rarn-parity")
    np.testing.assert_array_equal(read.images, bundle.images)
    np.testing.assert_array_equal(read.logits, bundle.logits)
    assert read.shown.labels is not None
    np.testing.assert_array_equal(read.shown.labels, bundle.shown.labels)
    assert (read.spec, read.tolerances, read.weights_sha256) == (bundle.spec, bundle.tolerances, bundle.weights_sha256)
    assert (read.shown.names, read.shown.faces, read.versions) == (bundle.shown.names, 9, bundle.versions)
    assert read.versions["numpy"] == np.__version__


def test_coloured_pictures(tmp_path: Path) -> None:
    spec = replace(SPEC, preprocess=Preprocess(12, 16, (120.0,) * 3, (60.0,) * 3))
    faces = drawn_for(spec.preprocess, 3, seed=0)
    shown = show(faces, None, "3 drawn faces", spec.preprocess)
    logits = np.zeros((len(shown.images), 7), np.float32)
    save_bundle(make_bundle(spec, shown, Form("torch", "float32", logits), None), tmp_path / "a.rarn-parity")
    read = load_bundle(tmp_path / "a.rarn-parity")
    assert read.images.shape == (len(shown.images), 12, 16, 3)
    np.testing.assert_array_equal(read.images, shown.images)


def test_the_same_content_is_the_same_file(bundle: Bundle, tmp_path: Path) -> None:
    save_bundle(bundle, tmp_path / "a.rarn-parity")
    save_bundle(load_bundle(tmp_path / "a.rarn-parity"), tmp_path / "b.rarn-parity")
    assert (tmp_path / "a.rarn-parity").read_bytes() == (tmp_path / "b.rarn-parity").read_bytes()


def test_it_speaks_for_the_files_it_names(bundle: Bundle, tmp_path: Path) -> None:
    int8 = Artifact(tmp_path / "net.int8.onnx", Contract(SPEC, "int8", Target.X86_AVX2), "cd" * 32, 1)
    reference = Form("torch", "float32", bundle.logits)
    named = make_bundle(SPEC, bundle.shown, reference, "ab" * 32, files=[int8])
    save_bundle(named, tmp_path / "a.rarn-parity")
    read = load_bundle(tmp_path / "a.rarn-parity")
    (file,) = read.files
    assert (file.name, file.precision, file.target) == ("net.int8.onnx", "int8", "x86-avx2")
    assert read.speaks_for("cd" * 32) is True
    assert read.speaks_for("ce" * 32) is False
    assert bundle.speaks_for("cd" * 32) is None


@pytest.mark.parametrize("name", ["images", "logits", "probabilities"])
def test_a_changed_array_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    save_bundle(bundle, tmp_path / "a.rarn-parity")

    def flip_last_byte(members: dict[str, bytes]) -> None:
        content = members[f"{name}.npy"]
        members[f"{name}.npy"] = content[:-1] + bytes([content[-1] ^ 1])

    with pytest.raises(InputError, match=rf"a\.rarn-parity: {name}\.npy is not what the manifest was written for"):
        load_bundle(rewritten(tmp_path / "a.rarn-parity", flip_last_byte))


def change_manifest(**changes: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members["manifest.json"] = json.dumps({**json.loads(members["manifest.json"]), **changes}).encode()

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_manifest(schema_version=1), "a bundle of schema 1, this version reads 2; make it anew"),
        (change_manifest(schema_version=99), "a bundle of schema 99, this version reads 2"),
        (change_manifest(faces=0), "do not belong together"),
        (change_manifest(faces=1000), "do not belong together"),
        (change_manifest(names=["one"]), "do not belong together"),
        (change_manifest(labels=[1, 2]), "do not belong together"),
        (change_manifest(spec=3), "the spec is a JSON object"),
        (change_manifest(spec=ModelSpec("net").to_dict()), "probabilities are not the softmax"),
        (change_manifest(spec=replace(SPEC, preprocess=Preprocess(mean=(127.0,))).to_dict()), "another network input"),
        (change_manifest(tolerances={"faces": {"int8": {"x": 1}}}), "has no limit 'x'"),
        (change_manifest(weights_sha256=5), "weights_sha256 in its manifest is text or null"),
        (change_manifest(sha256={}), "not a readable parity bundle"),
        (change_manifest(files=[{"name": "x.onnx"}]), "not a readable parity bundle"),
        (lambda members: members.pop("logits.npy"), "not a readable parity bundle"),
        (lambda members: members.update({"manifest.json": b"[1]"}), "not a readable parity bundle"),
        (lambda members: members.update({"manifest.json": b"[" * 100_000}), "not a readable parity bundle"),
    ],
)
def test_a_changed_manifest_is_refused(
    bundle: Bundle, tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    save_bundle(bundle, tmp_path / "a.rarn-parity")
    with pytest.raises(InputError, match=message) as caught:
        load_bundle(rewritten(tmp_path / "a.rarn-parity", change))
    assert str(caught.value).count("a.rarn-parity") == 1


def test_nothing_in_it_is_unpickled(bundle: Bundle, tmp_path: Path) -> None:
    """An object array, whose reading would run code, with hashes that fit it."""
    save_bundle(bundle, tmp_path / "a.rarn-parity")
    buffer = io.BytesIO()
    np.save(buffer, np.array([print], dtype=object), allow_pickle=True)

    def plant(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["sha256"]["logits"] = hashlib.sha256(buffer.getvalue()).hexdigest()
        members |= {"logits.npy": buffer.getvalue(), "manifest.json": json.dumps(manifest).encode()}

    with pytest.raises(InputError, match=r"logits\.npy: is not a readable npy file"):
        load_bundle(rewritten(tmp_path / "a.rarn-parity", plant))


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.99], ids=str)
def test_a_truncated_file_is_refused(bundle: Bundle, tmp_path: Path, keep: float) -> None:
    path = tmp_path / "a.rarn-parity"
    save_bundle(bundle, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match=r"a\.rarn-parity: not a readable parity bundle"):
        load_bundle(path)


def test_a_file_that_claims_too_much_is_refused(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_bundle(bundle, tmp_path / "a.rarn-parity")
    monkeypatch.setattr("rarn_edge.parity.bundle.MAX_BYTES", 1000)
    with pytest.raises(InputError, match="1,000 is the limit"):
        load_bundle(tmp_path / "a.rarn-parity")


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file; a parity bundle is made by: rarn-edge parity"):
        load_bundle(tmp_path / "none.rarn-parity")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "other"}, "model"),
        ({"classes": tuple(reversed(SPEC.classes))}, "classes"),
        ({"preprocess": Preprocess(mean=(127.0,))}, "preprocessing"),
        ({"temperature": 1.0}, "temperature"),
    ],
    ids=str,
)
def test_another_model_is_refused(bundle: Bundle, change: dict[str, object], what: str) -> None:
    check_bundle_fits(bundle, SPEC, None, "x.onnx")
    check_bundle_fits(bundle, SPEC, "ab" * 32, "x.onnx")
    with pytest.raises(InputError, match=rf"x\.onnx: its {what} is "):
        check_bundle_fits(bundle, replace(SPEC, **change), None, "x.onnx")  # type: ignore[arg-type]


def test_a_stale_bundle_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="one of the two is stale"):
        check_bundle_fits(bundle, SPEC, "cd" * 32, "x.onnx")


def test_faces_are_stored_at_the_size_of_the_network() -> None:
    faces = synthetic_faces(3, seed=2)
    shown = show(faces, None, "three", Preprocess(height_px=32, width_px=40))
    assert shown.images.shape[1:] == (32, 40)
    assert (shown.faces, len(shown.names)) == (3, len(shown.images))
    assert shown.parts == ("faces", "adversarial")


def test_adversarial_images_are_the_same_everywhere() -> None:
    names, images = adversarial_images()
    assert len(set(names)) == len(names) == len(images)
    assert images.dtype == np.uint8
    values = images[names.index("every value, row by row")]
    assert set(np.unique(values).tolist()) == set(range(256))
    np.testing.assert_array_equal(adversarial_images()[1], images)
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)
