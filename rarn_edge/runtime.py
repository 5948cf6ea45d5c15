"""Answers from an ONNX file: the device side, which needs numpy, OpenCV and onnxruntime only."""

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.preprocess import model_input
from rarn_edge.spec import ModelSpec

BATCH = 64


def run_logits(
    session: ort.InferenceSession, spec: ModelSpec, images: NDArray[np.uint8], batch: int = BATCH
) -> NDArray[np.float32]:
    """Gray faces [N, H, W] uint8 -> logits [N, classes] float32 (log-probabilities where the graph ends in a softmax)."""
    answers = []
    for start in range(0, len(images), batch):
        inputs = model_input(images[start : start + batch], spec)  # [batch, C, H, W]
        (answer,) = session.run([spec.output_name], {spec.input_name: inputs})
        answers.append(np.asarray(answer, dtype=np.float32))
    logits = np.concatenate(answers) if answers else np.empty((0, len(spec.classes)), dtype=np.float32)
    return np.log(np.maximum(logits, np.finfo(np.float32).tiny)) if spec.output == "probabilities" else logits
