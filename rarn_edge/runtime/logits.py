"""Answers from an ONNX file: the device side, which needs numpy, OpenCV and onnxruntime only."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import model_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.stream import Images, Streamed, batch_for, batches
from rarn_edge.errors import InputError, first_line

BATCH = 64
BATCH_PIXELS = 8 * 224 * 224  # of larger pictures fewer go together: activations grow with them, speed hardly does
LIMIT_S = 300.0
"""Of one batch in a check, which meets files that nobody ran before; far beyond any network on any board."""


def run_logits(
    session: ort.InferenceSession,
    spec: ModelSpec,
    images: Images,
    batch: int | None = None,
    callers: int = 1,
    finite: bool = True,
) -> NDArray[np.float32]:
    """Pictures [N, H, W] or [N, H, W, 3] uint8 -> logits [N, classes] float32; log-probabilities where a softmax ends the graph.

    `batch` pictures go together (default: at most `BATCH`, fewer of large ones). `callers` batches are in flight at once: of
    use where `session` has one thread. Answers leave this module only when they are what the contract says;
    `finite=False` is for a check that judges NaN itself; a check gives up on a batch after `LIMIT_S`.

    Raises:
        InputError: the graph cannot run on a batch, or answers another shape, or a value that is no number.
    """

    def answer(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        inputs = model_input(pixels, spec)  # [batch, C, H, W]
        options = ort.RunOptions()
        watch = None if finite else threading.Timer(LIMIT_S, _end, [options])
        try:
            if watch is not None:
                watch.daemon = True
                watch.start()
            (found,) = session.run([spec.output_name], {spec.input_name: inputs}, options)
        except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
            if options.terminate:
                raise InputError(
                    f"model '{spec.name}': did not answer within {LIMIT_S:g} s; a loop in its graph may have no end"
                ) from error
            raise InputError(
                f"model '{spec.name}': ONNX Runtime cannot run it on {len(inputs)} images at once ({first_line(error)})"
            ) from error
        finally:
            if watch is not None:
                watch.cancel()
        expected = (len(inputs), len(spec.classes))
        if np.shape(found) != expected:
            raise InputError(
                f"model '{spec.name}': answers {list(np.shape(found))}, its contract says {list(expected)}"
            )
        logits = np.asarray(found, dtype=np.float32)
        if finite and not np.isfinite(logits).all():
            bad = int((~np.isfinite(logits)).any(axis=1).sum())
            raise InputError(
                f"model '{spec.name}': {bad} of {len(inputs)} answers are not finite numbers; its weights are damaged or overflow"
            )
        return logits

    parts = batches(images, batch or batch_for(spec.preprocess, BATCH, BATCH_PIXELS))
    if callers == 1 or isinstance(images, Streamed):
        answers = [answer(part) for part in parts]
    else:
        with ThreadPoolExecutor(callers) as pool:
            answers = list(pool.map(answer, parts))
    logits = np.concatenate(answers) if answers else np.empty((0, len(spec.classes)), dtype=np.float32)
    return np.log(np.maximum(logits, np.finfo(np.float32).tiny)) if spec.output == "probabilities" else logits


def _end(options: ort.RunOptions) -> None:
    """Ask a running session to stop before its next node."""
    options.terminate = True
