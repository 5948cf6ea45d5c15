"""Classify face crops: python predict.py face.png ... Needs numpy, onnxruntime and OpenCV; everything else is in model.onnx."""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession(str(Path(__file__).with_name("model.onnx")), providers=["CPUExecutionProvider"])
spec = json.loads(session.get_modelmeta().custom_metadata_map["rarn_edge"])["spec"]
form = {"color": "rgb", "interpolation": "auto", "crop": 0, **spec["preprocess"]}
size, gray = (form["width_px"], form["height_px"]), len(form["mean"]) == 1 or form["color"] == "gray"


def load(path: str) -> np.ndarray:
    """A picture [H, W] or red, green, blue [H, W, 3] uint8, cut and resized once, as in training."""
    content = np.fromfile(path, np.uint8) if Path(path).is_file() else ()
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None  # [H, W, 3] blue, green, red
    image = sys.exit(f"{path}: cannot be read as an image") if image is None else image
    image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY if gray else cv2.COLOR_BGR2RGB)
    (height, width), (columns, rows) = image.shape[:2], size
    if form["crop"]:  # the middle part of the output's shape
        scale = form["crop"] * min(height / rows, width / columns)
        rows, columns = (max(1, min(had, int(scale * side + 0.5))) for had, side in ((height, rows), (width, columns)))
        image = image[(height - rows) // 2 :, (width - columns) // 2 :][:rows, :columns]
    shrinks = image.shape[0] >= size[1] and image.shape[1] >= size[0] and form["interpolation"] == "auto"
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def network_input(pictures: np.ndarray) -> np.ndarray:
    """What `load` gives, stacked [N, ...] uint8 -> what the graph takes."""
    inputs = pictures[..., None].repeat(len(form["mean"]), 3) if gray else pictures  # [N, H, W, C]
    inputs = inputs[..., ::-1] if form["color"] == "bgr" else inputs
    if spec.get("input_dtype") != "uint8":  # else the graph normalises by itself
        inputs = (inputs.astype(np.float32) - np.float32(form["mean"])) / np.float32(form["std"])
    return np.ascontiguousarray(inputs if spec.get("layout") == "NHWC" else np.moveaxis(inputs, 3, 1))


def logits(pictures: np.ndarray) -> np.ndarray:  # [N, classes]
    answer = session.run([spec["output_name"]], {spec["input_name"]: network_input(pictures)})[0]
    return np.log(np.maximum(answer, 1e-38)) if spec["output"] == "probabilities" else answer


if __name__ == "__main__":
    for path in sys.argv[1:] or sys.exit(__doc__):
        scores = logits(load(path)[None])[0] / spec["temperature"]
        chances = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        print(f"{path}: {spec['classes'][chances.argmax()]} {chances.max():.1%}")
