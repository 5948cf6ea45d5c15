"""Every calibration method, bias correction and equalization on the same faces, so that the choice is a measurement."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.parity.chain import file_form
from rarn_edge.parity.hops import signal_to_noise_db
from rarn_edge.pipeline.calibrate import Observed, Ranges, calibrate
from rarn_edge.pipeline.equalize import equalize, has_pairs
from rarn_edge.pipeline.graph import load_graph
from rarn_edge.pipeline.histograms import DEFAULT_METHOD, Method
from rarn_edge.pipeline.quantize import quantize


@dataclass(frozen=True)
class MethodRow:
    """One method's INT8 file beside float32 (`name` float32 is the reference itself)."""

    name: str
    accuracy: float | None  # None: the faces have no labels that mean anything
    agreement: float
    signal_db: float


def compare_methods(
    artifact: Artifact,
    observed: Observed,
    calibration: Faces,
    target: Target,
    faces: Faces,
    labels: NDArray[np.int64] | None,
) -> list[MethodRow]:
    """float32 first, then each method, then what can be added to the default one, as ONNX Runtime runs them.

    Args:
        artifact: The float32 file.
        observed: What its tensors reached on `calibration`.
        calibration: Faces to correct biases on, and to observe the equalized network on.
        target: What the INT8 files are for.
        faces: To compare on.
        labels: Theirs, where they mean something.
    """
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def add(title: str, source: Artifact, ranges: Ranges, bias_faces: Faces | None = None) -> None:
            path = folder / f"{len(rows)}.onnx"
            done = quantize(source, target, ranges, path, bias_faces=bias_faces)
            rows.append(row(title, file_form(done.artifact, faces).logits))

        for method in get_args(Method):
            add(method, artifact, observed.ranges(method))
        chosen = observed.ranges(DEFAULT_METHOD)
        add(f"{DEFAULT_METHOD}, biases corrected", artifact, chosen, calibration)
        if has_pairs(load_graph(artifact.path)):
            equalized = equalize(artifact, folder / "equalized.onnx")
            anew = calibrate(equalized, calibration)
            add(f"{DEFAULT_METHOD}, equalized", equalized, anew)
            add(f"{DEFAULT_METHOD}, both", equalized, anew, calibration)
    return rows
