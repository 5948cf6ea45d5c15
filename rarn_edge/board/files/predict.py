"""Classify face crops: python predict.py face.png ... Needs numpy, onnxruntime and OpenCV; everything else is in model.onnx."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
spec = json.loads(session.get_modelmeta().custom_metadata_map["rarn_edge"])["spec"]
size = (spec["preprocess"]["width_px"], spec["preprocess"]["height_px"])
mean, std = (np.float32(spec["preprocess"][key]).reshape(-1, 1, 1) for key in ("mean", "std"))


def logits(faces: np.ndarray) -> np.ndarray:
    """Gray faces [N, H, W] uint8 of the model's own size -> [N, classes]."""
    inputs = faces[:, None].repeat(len(mean), axis=1)  # [N, C, H, W]
    if spec.get("input_dtype") != "uint8":  # else the graph normalises by itself
        inputs = (inputs.astype(np.float32) - mean) / std
    answer = session.run([spec["output_name"]], {spec["input_name"]: inputs})[0]
    return np.log(np.maximum(answer, 1e-38)) if spec["output"] == "probabilities" else answer


def load(path: str) -> np.ndarray:
    """[H, W] uint8, resized as in training: area average when it shrinks, bilinear otherwise."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None:
        sys.exit(f"{path}: cannot be decoded as an image")
    shrinks = image.shape[0] >= size[1] and image.shape[1] >= size[0]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


if __name__ == "__main__":
    for path in sys.argv[1:] or sys.exit(__doc__):
        scores = logits(load(path)[None])[0] / spec["temperature"]
        chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        print(f"{path}: {spec['classes'][chances.argmax()]} {chances.max():.1%}")
