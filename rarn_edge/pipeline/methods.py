"""Every calibration method on the same activations and the same faces, so that the choice is a measurement."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from rarn_edge.artifact import Artifact
from rarn_edge.audit.saturation import signal_to_noise_db
from rarn_edge.data import Faces
from rarn_edge.parity.chain import file_form
from rarn_edge.pipeline.calibrate import Observed
from rarn_edge.pipeline.histograms import Method
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.targets import Target


@dataclass(frozen=True)
class MethodRow:
    """One method's INT8 file beside float32 (`name` float32 is the reference itself)."""

    name: str
    accuracy: float | None  # None: the faces have no labels that mean anything
    agreement: float
    signal_db: float


def compare_methods(
    artifact: Artifact, observed: Observed, target: Target, faces: Faces, labels: NDArray[np.int64] | None
) -> list[MethodRow]:
    """float32 first, then each method, as ONNX Runtime runs them."""
    reference = file_form(artifact, faces).logits

    def row(name: str, logits: NDArray[np.float32]) -> MethodRow:
        decisions = logits.argmax(1)
        return MethodRow(
            name,
            None if labels is None else float((decisions == labels).mean()),
            float((decisions == reference.argmax(1)).mean()),
            signal_to_noise_db(reference, logits),
        )

    rows = [row("float32", reference)]
    with tempfile.TemporaryDirectory() as folder:
        for method in get_args(Method):
            path = Path(folder) / f"{method}.onnx"
            done = quantize(artifact, target, observed.ranges(method), path)
            rows.append(row(method, file_form(done.artifact, faces).logits))
    return rows
