"""The gate at the end of every rewrite: the graph before and the graph after answer alike, or the rewrite is not kept."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.contract.artifact import open_unoptimised
from rarn_edge.contract.preprocess import in_its_layout, model_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.stream import batch_for
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.errors import GateError
from rarn_edge.onnx_graph import LoadedModel

CHECKED_FACES = 32  # of 48x48
MIN_CHECKED_FACES = 8  # of larger ones: as many values, in the time that they take
BATCH_PIXELS = 2 * 224 * 224  # that go through a graph together: as written it keeps every tensor
TOLERANCE = 1e-4  # of the largest logit difference, relative to the largest logit where that is above 1


def difference(
    before: LoadedModel, after: LoadedModel, how: str, tolerance: float = TOLERANCE, decisions: bool = True
) -> str | None:
    """Why two graphs of one network do not answer alike on faces and on noise, or None when they do.

    With `decisions` they must also decide alike on the faces.

    `how` the second was changed is in the text. Each is given what it takes, floats or pixels; so noise is of pixels where one
    of them takes those, and of floats beyond any pixel otherwise.
    """
    preprocess = before.spec.preprocess
    fitting = CHECKED_FACES * 48 * 48 // (preprocess.height_px * preprocess.width_px)
    faces = drawn_for(preprocess, max(MIN_CHECKED_FACES, min(CHECKED_FACES, fitting)), seed=2).pixels
    rng = np.random.default_rng(2)
    given: list[tuple[str, list[NDArray[np.float32] | NDArray[np.uint8]]]]
    given = [("faces", [model_input(faces, model.spec) for model in (before, after)])]
    if before.spec.input_dtype == after.spec.input_dtype == "float32":
        size = (len(faces), preprocess.channels, preprocess.height_px, preprocess.width_px)
        floats = rng.standard_normal(size, dtype=np.float32)
        given.append(("noise", [in_its_layout(floats, model.spec) for model in (before, after)]))
    else:
        noise = rng.integers(0, 256, faces.shape, dtype=np.uint8)
        given.append(("noise", [model_input(noise, model.spec) for model in (before, after)]))
    sessions = [open_unoptimised(model.graph.SerializeToString()) for model in (before, after)]
    for kind, inputs in given:
        first, second = (
            _answers(session, before.spec, values) for session, values in zip(sessions, inputs, strict=True)
        )
        finite = np.isfinite(first) & np.isfinite(second)
        # where an answer is not finite, the other must be the same
        comparable = np.array_equal(first[~finite], second[~finite], equal_nan=True)
        apart = np.subtract(first, second, where=finite, out=np.zeros_like(first))
        worst = float(np.abs(apart).max()) if comparable else np.nan
        allowed = tolerance * max(1.0, float(np.abs(first[finite]).max(initial=0.0)))
        if not worst <= allowed:
            return f"the {how} graph differs by {worst:.3g} on {kind}, allowed {allowed:.3g}"
        flipped = int((first.argmax(1) != second.argmax(1)).sum())
        if flipped and decisions and kind == "faces":
            return f"the {how} graph decides otherwise on {flipped} of {len(faces)} faces"
    return None


def _answers(
    session: ort.InferenceSession, spec: ModelSpec, values: NDArray[np.float32] | NDArray[np.uint8]
) -> NDArray[np.float32]:
    """[N, classes]."""
    size = batch_for(spec.preprocess, CHECKED_FACES, BATCH_PIXELS)
    parts = (values[start : start + size] for start in range(0, len(values), size))
    return np.concatenate(
        [np.asarray(session.run([spec.output_name], {spec.input_name: part})[0], dtype=np.float32) for part in parts]
    )


def check_alike(
    before: LoadedModel,
    after: LoadedModel,
    how: str,
    tolerance: float = TOLERANCE,
    advice: str = "",
    decisions: bool = True,
) -> None:
    """`difference` as an error.

    Raises:
        GateError: they do not answer alike; `advice` says what to do then.
    """
    found = difference(before, after, how, tolerance, decisions)
    if found is not None:
        raise GateError(f"{before.name}: {found}{advice and '; '}{advice}")
