"""Files of named models are made once, and a file of another form is not taken for one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.onnx_graph import LoadedModel
from rarn_edge.pipeline.passes.attention import expose_attention
from rarn_edge.pipeline.passes.layout import in_layout
from rarn_edge.pipeline.passes.uint8_input import float_from_bytes
from rarn_edge.pipeline.precision import to_float16
from rarn_edge.workflow.model_files import named_models

OTHER_FORMS: dict[str, Callable[[LoadedModel, Path], Artifact]] = {
    "pixels": lambda model, path: float_from_bytes(model).save(path),
    "channels last": lambda model, path: in_layout(model, "NHWC").save(path),
    "two outputs": lambda model, path: expose_attention(model).save(path),
    "float16": lambda model, path: to_float16(model, path),
}


def test_a_file_of_an_earlier_call_is_kept(shipped_float32: Callable[..., Artifact], tmp_path: Path) -> None:
    path = tmp_path / "rarn-n.onnx"
    shutil.copyfile(shipped_float32("rarn-n").path, path)
    before = path.stat().st_mtime_ns
    (found,) = named_models(["rarn-n"], tmp_path)
    assert (found.path, path.stat().st_mtime_ns) == (path, before)


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_another_form_is_made_anew(
    form: str, shipped_float32: Callable[..., Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = shipped_float32("rarn-n")
    path = tmp_path / "rarn-n.onnx"
    OTHER_FORMS[form](LoadedModel.read(wanted), path)
    monkeypatch.setattr("rarn_edge.workflow.model_files._export_all", lambda *_: [wanted])
    assert named_models(["rarn-n"], tmp_path) == [wanted]
