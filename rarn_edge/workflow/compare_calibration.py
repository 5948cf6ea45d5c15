"""Every calibration method, bias correction and equalization on the same faces, so that the choice is a measurement."""

import tempfile
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces
from rarn_edge.parity.outputs import file_form
from rarn_edge.pipeline.calibrate import MethodRow, Observed, Ranges, calibrate
from rarn_edge.pipeline.passes.equalize import equalize, has_pairs
from rarn_edge.pipeline.prepare import Prepared, prepare
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.stats.histograms import DEFAULT_METHOD, Method
from rarn_edge.stats.sqnr import sqnr_db


def compare_calibration(
    prepared: Prepared,
    observed: Observed,
    calibration: Faces,
    target: Target,
    faces: Faces,
    labels: NDArray[np.int64] | None,
) -> list[MethodRow]:
    """float32 first, then each method, then what can be added to the default one, as ONNX Runtime runs them.

    Args:
        prepared: The float32 model.
        observed: What its tensors reached on `calibration`.
        calibration: Faces to correct biases on, and to observe the equalized network on.
        target: What the INT8 files are for.
        faces: To compare on.
        labels: Theirs, where they mean something.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reference = file_form(prepared.model.save(folder / "float32.onnx"), faces).logits

        def row(title: str, logits: NDArray[np.float32]) -> MethodRow:
            decisions = logits.argmax(1)
            return MethodRow(
                title,
                None if labels is None else float((decisions == labels).mean()),
                float((decisions == reference.argmax(1)).mean()),
                sqnr_db(reference, logits),
            )

        rows = [row("float32", reference)]

        def add(title: str, source: Prepared, ranges: Ranges, bias_faces: Faces | None = None) -> None:
            done = quantize(source, target, ranges, folder / f"{len(rows)}.onnx", bias_faces=bias_faces)
            rows.append(row(title, file_form(done.artifact, faces).logits))

        for method in get_args(Method):
            add(method, prepared, observed.ranges(method))
        chosen = observed.ranges(DEFAULT_METHOD)
        add(f"{DEFAULT_METHOD}, biases corrected", prepared, chosen, calibration)
        if has_pairs(prepared.model):
            equalized = prepare(equalize(prepared.model))
            anew = calibrate(equalized, calibration)
            add(f"{DEFAULT_METHOD}, equalized", equalized, anew)
            add(f"{DEFAULT_METHOD}, both", equalized, anew, calibration)
    return rows
