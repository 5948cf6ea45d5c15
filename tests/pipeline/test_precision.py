"""float16 and dynamic INT8 keep the contract and nearly the answers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rarn_edge.contract.artifact import Artifact
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError
from rarn_edge.parity.outputs import file_form
from rarn_edge.pipeline.precision import to_dynamic_int8, to_float16
from rarn_edge.stats.sqnr import sqnr_db


@pytest.mark.parametrize(
    ("convert", "precision", "share", "signal_db"),
    [(to_float16, "float16", 0.56, 50), (to_dynamic_int8, "int8-dynamic", 0.35, 20)],
)
def test_contract_size_and_answers(
    simplified: Artifact,
    tmp_path: Path,
    convert: Callable[[Artifact, Path], Artifact],
    precision: str,
    share: float,
    signal_db: float,
) -> None:
    done = convert(simplified, tmp_path / "x.onnx")
    assert (done.contract.precision, done.spec) == (precision, simplified.spec)
    assert done.contract.provenance["source_sha256"] == simplified.sha256
    assert done.size_bytes < share * simplified.size_bytes
    faces = synthetic_faces(32, seed=5)
    before, after = (file_form(artifact, faces, threads=1).logits for artifact in (simplified, done))
    assert np.isfinite(after).all()
    assert sqnr_db(before, after) > signal_db
    with pytest.raises(InputError, match=f"is already {precision}"):
        to_float16(done, tmp_path / "y.onnx")
