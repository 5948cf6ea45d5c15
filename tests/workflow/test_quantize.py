"""One call quantizes a file, and parses it once."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import onnx
import onnx_ir
import onnxruntime
import pytest

import rarn_edge
from rarn_edge.assets import shipped_models
from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import InputError
from rarn_edge.files import file_sha256

MODEL = "rarn-s"

pytestmark = pytest.mark.skipif(MODEL not in shipped_models(), reason=f"no weights of {MODEL} are shipped")


@pytest.fixture(scope="module")
def float32(shipped_float32: Callable[..., Artifact]) -> Artifact:
    return shipped_float32(MODEL)


def test_the_file_is_parsed_once(float32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By onnx or onnx_ir; ONNX Runtime opens it once for its contract, and the file written once to prove it.

    Shape inference and passes hand graphs on in memory; that reads no file.
    """
    parsed: Counter[str] = Counter()
    opened: Counter[Path | bytes] = Counter()

    def counting(name: str, call):  # type: ignore[no-untyped-def]  # any loader of onnx
        def count(*arguments: object, **options: object) -> object:
            parsed[name] += 1
            return call(*arguments, **options)

        return count

    for module in (onnx, onnx_ir):
        for name in ("load", "load_model"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, counting(f"{module.__name__}.{name}", getattr(module, name)))
    real = onnxruntime.InferenceSession

    def session(model: Path | bytes, *arguments: object, **options: object) -> onnxruntime.InferenceSession:
        if isinstance(model, Path):
            opened[model] += 1
        return real(model, *arguments, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    done = rarn_edge.quantize(float32.path, tmp_path / "int8.onnx", target="x86-avx2")
    assert dict(parsed) == {"onnx.load": 1}
    assert opened.pop(float32.path) == 1
    assert list(opened.values()) == [1]  # the file written, under its temporary name
    assert done.artifact.contract.precision == "int8"


def test_each_hash_is_of_its_file(float32: Artifact, tmp_path: Path) -> None:
    """Also where the graph was simplified on the way, and lives in no file."""
    raw = rarn_edge.export(tmp_path / "raw.onnx", MODEL, simplify=False).artifact
    told: list[str] = []
    done = rarn_edge.quantize(
        raw.path, tmp_path / "int8.onnx", target="x86-avx2", on_notice=lambda text, _label: told.append(text)
    )
    assert any("was not simplified yet" in text for text in told)
    for made, path in ((raw, tmp_path / "raw.onnx"), (done.artifact, tmp_path / "int8.onnx")):
        assert made.sha256 == file_sha256(path)
    assert done.artifact.contract.provenance["source_sha256"] == raw.sha256
    assert "source_sha256" not in float32.contract.provenance  # a fresh export comes from weights, not from a file


def test_options_that_exclude_each_other_are_refused_before_the_work(float32: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "x.onnx"
    with pytest.raises(InputError, match="--max-drop needs labelled faces"):
        rarn_edge.quantize(float32.path, out, max_drop=0.3)
    with pytest.raises(InputError, match="is read by this command"):
        rarn_edge.quantize(float32.path, float32.path)
    assert not out.exists()


def test_a_verdict_that_cannot_be_measured_leaves_the_file_and_says_so(
    float32: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise InputError("x: does not run (the worker was killed)")

    monkeypatch.setattr("rarn_edge.workflow.quantize.measure", fails)
    out = tmp_path / "int8.onnx"
    with pytest.raises(
        InputError, match=r"int8\.onnx is written, and the verdict .* could not be measured: x: does not"
    ):
        rarn_edge.quantize(float32.path, out, verdict=True, on_notice=lambda *_: None)
    assert Artifact.load(out).contract.precision == "int8"


def test_wrong_labelled_faces_are_refused_before_a_file_is_written(float32: Artifact, tmp_path: Path) -> None:
    out = tmp_path / "int8.onnx"
    with pytest.raises(InputError, match="absent"):
        rarn_edge.quantize(float32.path, out, verdict=True, data=tmp_path / "absent.zip", on_notice=lambda *_: None)
    assert not out.exists()
