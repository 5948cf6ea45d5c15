"""What the command line is given: files that it takes, and ONNX files that it shall refuse or find wrong."""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.onnx_graph import save_artifact
from rarn_edge.pipeline.quantize import Quantized

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def foreign(simplified: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX file that knows nothing of us."""
    model = onnx.load(simplified.path)
    del model.metadata_props[:]
    path = tmp_path_factory.mktemp("foreign") / "foreign.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture
def mutant(simplified: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], Path]:
    """`mutant(1.01)`: the same file with one kernel scaled."""

    def make(factor: float) -> Path:
        model = onnx.load(simplified.path)
        tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
        tensor.CopyFrom(
            numpy_helper.from_array((factor * numpy_helper.to_array(tensor)).astype(np.float32), tensor.name)
        )
        return save_artifact(model, simplified.contract, tmp_path_factory.mktemp("mutant") / "mutant.onnx").path

    return make


@pytest.fixture
def named(
    cli: Cli,
    simplified: Artifact,
    int8: Mapping[Target, Quantized],
    weights_file: Path,
    faces_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cli:
    """The command line in a folder of its own, where capital words stand for files; `OUT` is below it."""
    monkeypatch.chdir(tmp_path)
    files: dict[object, Path] = {
        "FLOAT": simplified.path,
        "INT8": int8[Target.ARM].artifact.path,
        "DATA": faces_folder,
        "WEIGHTS": weights_file,
        "OUT": tmp_path / "out",
    }
    return lambda *words: cli(*(files.get(word, word) for word in words))
