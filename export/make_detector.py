"""BlazeFace, the face detector in the package, made from its published weights: python export/make_detector.py TFLITE -o ONNX

TFLITE is `face_detection_short_range.tflite` of the npm package @mediapipe/face_detection (Apache-2.0):

    npm pack @mediapipe/face_detection@0.4.1657300184 && tar -xzf mediapipe-face_detection-*.tgz

The graph is written anew, operator by operator, with the published float16 weights. To it come the sigmoid of the scores and the
decoding of the boxes by their anchors, so that whoever runs it needs neither. `--check PICTURES` compares it with the TFLite
runtime. Needs, best in an environment of its own: pip install rarn-edge[cpu] onnx ai-edge-litert (which reads the format, too).
"""

import argparse
import hashlib
import importlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.boundary.paths import require_file
from rarn_edge.errors import InputError, run_script
from rarn_edge.files import atomic

SHA256 = "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
SIDE = 128
MAPS = ((16, 2), (8, 6))  # cells a side, anchors a cell
NOTICE = (
    "BlazeFace (short range) by Google, from @mediapipe/face_detection 0.4.1657300184, Apache-2.0; converted to ONNX,"
    " with the sigmoid of the scores and the decoding of the boxes added"
)
TOLERANCE_PX = 1.0  # of the 128 x 128 input


def anchors() -> NDArray[np.float32]:
    """Centres (x, y) of the 896 anchors, 0..1: [896, 2]."""
    centres = []
    for cells, count in MAPS:
        y, x = np.mgrid[0:cells, 0:cells]
        cell = np.stack([x, y], axis=-1).reshape(-1, 2) + 0.5
        centres.append(np.repeat(cell / cells, count, axis=0))
    return np.concatenate(centres).astype(np.float32)


def convert(content: bytes) -> onnx.ModelProto:
    """`input` [N, 3, 128, 128] float32 (RGB, -1..1) -> `scores` [N, 896], 0..1, and `boxes` [N, 896, 16].

    A box is its centre, width and height, then right eye, left eye, nose, mouth and both ears as x, y; in parts of the side.
    """
    schema: Any = importlib.import_module("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(content, 0))
    (graph,) = model.subgraphs
    kinds = {value: name for name, value in vars(schema.BuiltinOperator).items() if isinstance(value, int)}
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, NDArray[Any]] = {}
    names = {index: f"t{index}" for index in range(len(graph.tensors))}
    names[graph.inputs[0]] = "input"

    def constant(index: int) -> NDArray[Any]:
        tensor = graph.tensors[index]
        dtype = {schema.TensorType.FLOAT16: np.float16, schema.TensorType.INT32: np.int32}[tensor.type]
        return np.frombuffer(bytes(model.buffers[tensor.buffer].data), dtype).reshape(tensor.shape)

    halves: dict[int, int] = {}  # a dequantized tensor: the float16 one it comes from

    def weight(index: int, order: tuple[int, ...]) -> str:
        """A float16 initializer, cast to float32 when the graph is loaded."""
        name = f"w{index}"
        weights[name] = np.ascontiguousarray(constant(halves[index]).transpose(order))
        nodes.append(helper.make_node("Cast", [name], [names[index]], to=TensorProto.FLOAT))
        return names[index]

    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = kinds[max(code.builtinCode, code.deprecatedBuiltinCode)]  # older files have the second only
        options, inputs, (out,) = operator.builtinOptions, list(operator.inputs), operator.outputs
        first = names[inputs[0]]
        if kind == "DEQUANTIZE":
            halves[out] = inputs[0]
            continue
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            deep = kind == "DEPTHWISE_CONV_2D"
            shape = graph.tensors[inputs[1]].shape  # [out, h, w, in], or [1, h, w, channels]
            kernel = weight(inputs[1], (3, 0, 1, 2) if deep else (0, 3, 1, 2))
            attributes = {
                "kernel_shape": list(shape[1:3]),
                "strides": [options.strideH, options.strideW],
                "group": int(shape[3]) if deep else 1,
                "pads": [0] * 4,
            }
            if options.padding == schema.Padding.SAME:
                attributes["pads"] = _same(graph.tensors[inputs[0]].shape[1], int(shape[1]), options.strideH)
            nodes.append(helper.make_node("Conv", [first, kernel, weight(inputs[2], (0,))], [names[out]], **attributes))  # type: ignore[arg-type]  # any value
            if options.fusedActivationFunction == schema.ActivationFunctionType.RELU:
                raise InputError("a fused activation is not expected in this file")
        elif kind == "MAX_POOL_2D":
            size = [options.filterHeight, options.filterWidth]
            _require(size == [options.strideH, options.strideW] == [2, 2], "pools of 2 x 2")
            nodes.append(helper.make_node("MaxPool", [first], [names[out]], kernel_shape=size, strides=size))
        elif kind == "PAD":
            pads = constant(inputs[1])  # [4, 2]: before and after of N, H, W, C
            _require(not pads[:3].any() and pads[3, 0] == 0, "channels are padded at their end")
            weights[f"p{out}"] = np.array([0, 0, 0, 0, 0, pads[3, 1], 0, 0], np.int64)
            nodes.append(helper.make_node("Pad", [first, f"p{out}"], [names[out]]))
        elif kind in ("ADD", "RELU"):
            nodes.append(helper.make_node(kind.title(), [names[i] for i in inputs], [names[out]])
                         if kind == "ADD" else helper.make_node("Relu", [first], [names[out]]))  # fmt: skip
        elif kind == "RESHAPE":  # [N, H, W, anchors * values] -> [N, H * W * anchors, values]
            values = int(graph.tensors[out].shape[2])
            weights[f"s{out}"] = np.array([0, -1, values], np.int64)
            nodes.append(helper.make_node("Transpose", [first], [f"n{out}"], perm=[0, 2, 3, 1]))
            nodes.append(helper.make_node("Reshape", [f"n{out}", f"s{out}"], [names[out]]))
        elif kind == "CONCATENATION":
            nodes.append(helper.make_node("Concat", [names[i] for i in inputs], [names[out]], axis=1))
        else:
            raise InputError(f"the operator {kind} is not expected in this file")
    raw = {graph.tensors[index].name.decode(): names[index] for index in graph.outputs}
    centres = anchors()
    moved = np.ones((1, 1, 16), np.float16)
    moved[..., 2:4] = 0  # width and height are as the network says them
    weights |= {"anchors": centres[None].astype(np.float16), "moved": moved, "side": np.array(1 / SIDE, np.float16)}
    weights |= {"times": np.array([1, 1, 8], np.int64), "last": np.array([2], np.int64)}
    nodes += [
        helper.make_node("Cast", ["side"], ["side32"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["anchors"], ["anchors32"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["moved"], ["moved32"], to=TensorProto.FLOAT),
        helper.make_node("Tile", ["anchors32", "times"], ["tiled"]),
        helper.make_node("Mul", ["tiled", "moved32"], ["shift"]),
        helper.make_node("Mul", [raw["regressors"], "side32"], ["offsets"]),
        helper.make_node("Add", ["offsets", "shift"], ["boxes"]),
        helper.make_node("Squeeze", [raw["classificators"], "last"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["scores"]),
    ]
    built = helper.make_graph(
        nodes,
        "blazeface",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", len(centres)]),
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", len(centres), 16]),
        ],
        [numpy_helper.from_array(values, name) for name, values in weights.items()],
    )
    proto = helper.make_model(
        built, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="rarn-edge"
    )
    proto.doc_string = NOTICE
    onnx.checker.check_model(proto, full_check=True)
    return proto


def _same(side: int, kernel: int, stride: int) -> list[int]:
    """TensorFlow's padding SAME of a square input, as ONNX says it: top, left, bottom, right."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return [total // 2, total // 2, total - total // 2, total - total // 2]


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise InputError(f"the file is not as expected: {rule}")


def check(tflite: Path, model: Path, pictures: list[Path]) -> str:
    """Both runtimes on the same inputs: scores, and every box and key point whose score is at least 0.5.

    Raises:
        InputError: a point differs by more than a pixel.
    """
    import onnxruntime as ort

    interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(tflite))
    interpreter.allocate_tensors()
    (entry,) = interpreter.get_input_details()
    places = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    session = ort.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    worst_score, worst_px, faces = 0.0, 0.0, 0
    centres = np.zeros((1, 896, 16), np.float32)
    for place in (0, *range(4, 16, 2)):
        centres[0, :, place : place + 2] = anchors()
    for path in pictures:
        picture = cv2.imread(str(path))
        if picture is None:
            raise InputError(f"{path}: cannot be decoded as an image")
        rgb = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)[..., ::-1]
        pixels = (rgb.astype(np.float32) / 127.5 - 1)[None]  # [1, 128, 128, 3]
        interpreter.set_tensor(entry["index"], pixels)
        interpreter.invoke()
        boxes = interpreter.get_tensor(places["regressors"]) / SIDE + centres
        scores = 1 / (1 + np.exp(-interpreter.get_tensor(places["classificators"])[..., 0]))
        found_scores, found_boxes = session.run(["scores", "boxes"], {"input": pixels.transpose(0, 3, 1, 2)})
        sure = scores >= 0.5
        faces += bool(sure.any())
        worst_score = max(worst_score, float(np.abs(scores - found_scores).max()))
        if sure.any():
            worst_px = max(worst_px, SIDE * float(np.abs(boxes - found_boxes)[sure].max()))
    said = (
        f"{len(pictures)} pictures, faces in {faces}: scores at most {worst_score:.2g} apart,"
        f" boxes and key points {worst_px:.2g} pixels"
    )
    if faces == 0 or worst_px > TOLERANCE_PX:
        raise InputError(f"{said}; expected faces, and at most {TOLERANCE_PX} pixels")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tflite", type=Path, help="face_detection_short_range.tflite")
    parser.add_argument("-o", "--output", type=Path, default=Path("rarn_edge/assets/blazeface.onnx"))
    parser.add_argument("--check", type=Path, nargs="+", default=[], metavar="PICTURE", help="pictures to compare on")
    arguments = parser.parse_args()
    require_file(arguments.tflite)
    content = arguments.tflite.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise InputError(f"{arguments.tflite}: not the file this was written for (its sha256 differs)")
    model = convert(content)
    with atomic(arguments.output) as temporary:
        onnx.save(model, temporary)
        said = check(arguments.tflite, temporary, arguments.check) if arguments.check else ""
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")
    if said:
        print(said)


if __name__ == "__main__":
    run_script(main)
