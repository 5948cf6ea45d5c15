"""Answers from an ONNX file: the device side, which needs numpy, OpenCV and onnxruntime only."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.contract.preprocess import model_input
from rarn_edge.contract.spec import ModelSpec

BATCH = 64


def run_logits(
    session: ort.InferenceSession, spec: ModelSpec, images: NDArray[np.uint8], batch: int = BATCH, callers: int = 1
) -> NDArray[np.float32]:
    """Gray faces [N, H, W] uint8 -> logits [N, classes] float32 (log-probabilities where the graph ends in a softmax).

    `callers` batches are in flight at once: of use where `session` has one thread.
    """

    def answer(start: int) -> NDArray[np.float32]:
        inputs = model_input(images[start : start + batch], spec)  # [batch, C, H, W]
        (found,) = session.run([spec.output_name], {spec.input_name: inputs})
        return np.asarray(found, dtype=np.float32)

    starts = range(0, len(images), batch)
    if callers == 1:
        answers = [answer(start) for start in starts]
    else:
        with ThreadPoolExecutor(callers) as pool:
            answers = list(pool.map(answer, starts))
    logits = np.concatenate(answers) if answers else np.empty((0, len(spec.classes)), dtype=np.float32)
    return np.log(np.maximum(logits, np.finfo(np.float32).tiny)) if spec.output == "probabilities" else logits
