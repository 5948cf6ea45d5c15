"""What `rivals.py` runs inside the environment of one tool; it needs NumPy and that tool, not rarn-edge.

rivals_worker.py make WHAT FOLDER        makes a form of FOLDER/model.onnx, or of the torch module beside it, and prints its path
rivals_worker.py serve RUNTIME FILE ONE  opens FILE, warms up with the picture ONE (npy), then answers requests, a line of JSON
                                         each: {"do": "time", "calls": N} or {"do": "answer", "faces": NPY, "out": NPY}
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Answer = Callable[[Any], Any]  # one picture [1, 1, 48, 48] float32 -> logits [1, classes]


# --- making ---------------------------------------------------------------------------------------------------------------------


def calibration(folder: Path) -> Any:
    """[N, 1, 48, 48] float32, normalised."""
    return np.load(folder / "calibration.npy")


class Reader:
    """ONNX Runtime's CalibrationDataReader, by its methods."""

    def __init__(self, folder: Path) -> None:
        self.rest: Iterator[dict[str, Any]] = iter([{"input": image[None]} for image in calibration(folder)])

    def get_next(self) -> dict[str, Any] | None:
        return next(self.rest, None)


def ort_defaults(folder: Path) -> Path:
    from onnxruntime.quantization import quantize_static

    out = folder / "ort_defaults.onnx"
    quantize_static(folder / "model.onnx", out, Reader(folder))
    return out


def ort_best(folder: Path) -> Path:
    """Per channel, u8 activations, and 7-bit weights where the CPU has no VNNI."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    out, prepared = folder / "ort_best.onnx", folder / "ort_prepared.onnx"
    quant_pre_process(folder / "model.onnx", prepared, skip_symbolic_shape=True)
    reduce_range = "vnni" not in Path("/proc/cpuinfo").read_text()
    quantize_static(
        prepared, out, Reader(folder), per_channel=True, reduce_range=reduce_range, activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8, calibrate_method=CalibrationMethod.MinMax,
    )  # fmt: skip
    return out


def olive_static(folder: Path) -> Path:
    from olive.workflows import run

    script = folder / "olive_data.py"
    script.write_text(
        "import numpy as np, torch\n"
        "from olive.data.registry import Registry\n"
        "@Registry.register_dataset()\n"
        "def faces(**_options):\n"
        f"    images = torch.from_numpy(np.load({str(folder / 'calibration.npy')!r}))\n"
        "    return [({'input': image}, 0) for image in images]\n"
    )
    data = {
        "name": "faces",
        "user_script": str(script),
        "load_dataset_config": {"type": "faces"},
        "dataloader_config": {"batch_size": 1},
    }
    run(
        {
            "input_model": {"type": "ONNXModel", "model_path": str(folder / "model.onnx")},
            "data_configs": [data],
            "passes": {"int8": {"type": "OnnxStaticQuantization", "data_config": "faces"}},
            "output_dir": str(folder / "olive"),
            "cache_dir": str(folder / "olive-cache"),
        }
    )
    return next((folder / "olive").rglob("*.onnx"))


def openvino_float(folder: Path) -> Path:
    import openvino

    out = folder / "openvino_float.xml"
    openvino.save_model(_openvino_model(folder), out, compress_to_fp16=False)
    return out


def openvino_nncf(folder: Path) -> Path:
    import nncf
    import openvino

    out = folder / "openvino_nncf.xml"
    images = calibration(folder)
    done = nncf.quantize(
        _openvino_model(folder), nncf.Dataset([image[None] for image in images]), subset_size=len(images)
    )
    openvino.save_model(done, out)
    return out


def _openvino_model(folder: Path) -> Any:
    import openvino

    model = openvino.convert_model(folder / "model.onnx")
    model.reshape([1, 1, 48, 48])
    return model


def litert_float(folder: Path) -> Path:
    """LiteRT Torch, from the torch module."""
    import litert_torch
    import torch

    out = folder / "litert_float.tflite"
    module = torch.export.load(folder / "model.pt2").module()
    litert_torch.convert(module, (torch.zeros(1, 1, 48, 48),)).export(str(out))
    return out


def litert_int8(folder: Path) -> Path:
    """AI Edge Quantizer: static, a8w8, weights per channel."""
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_quantizer import quantizer, recipe

    source, out = litert_float(folder), folder / "litert_int8.tflite"
    key, names = next(iter(Interpreter(model_path=str(source)).get_signature_list().items()))
    worker = quantizer.Quantizer(str(source), recipe.static_wi8_ai8())
    calibrated = worker.calibrate({key: [{names["inputs"][0]: image[None]} for image in calibration(folder)]})
    worker.quantize(calibrated).export_model(str(out), overwrite=True)
    return out


def ncnn_float(folder: Path) -> Path:
    """pnnx, from the traced torch module: of the ONNX file it makes a ReduceMax layer, which ncnn lacks."""
    import pnnx

    binary = Path(pnnx.__file__).parent / "bin" / "pnnx"
    command = [str(binary) if binary.exists() else str(Path(sys.executable).with_name("pnnx")), "model.pt"]
    subprocess.run([*command, "inputshape=[1,1,48,48]", "fp16=0"], check=True, cwd=folder, stdout=sys.stderr)
    return folder / "model.ncnn.param"


def executorch_float(folder: Path) -> Path:
    import torch

    return _to_pte(torch.export.load(folder / "model.pt2"), folder / "executorch_float.pte")


def executorch_int8(folder: Path) -> Path:
    import torch
    from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
        XNNPACKQuantizer,
        get_symmetric_quantization_config,
    )
    from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

    images = torch.from_numpy(calibration(folder))
    quantizer = XNNPACKQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    prepared = prepare_pt2e(torch.export.load(folder / "model.pt2").module(), quantizer)
    for image in images:
        prepared(image[None])
    quantized = convert_pt2e(prepared)
    return _to_pte(torch.export.export(quantized, (images[:1],)), folder / "executorch_int8.pte")


def _to_pte(program: Any, out: Path) -> Path:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    made = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
    out.write_bytes(made.buffer)
    return out


# --- running --------------------------------------------------------------------------------------------------------------------


def open_onnxruntime(file: str) -> Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"input": image})[0]


def open_openvino(file: str) -> Answer:
    import openvino

    compiled = openvino.Core().compile_model(
        file, "CPU", {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    )
    request = compiled.create_infer_request()
    return lambda image: request.infer([image], share_inputs=True)[0]


def open_litert(file: str) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=file, num_threads=1)
    interpreter.allocate_tensors()
    (takes,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()

    def answer(image: Any) -> Any:
        pixels = image.reshape(takes["shape"])
        if takes["dtype"] != np.float32:
            scale, zero = takes["quantization"]
            limits = np.iinfo(takes["dtype"])
            pixels = np.clip(np.rint(pixels / scale + zero), limits.min, limits.max).astype(takes["dtype"])
        interpreter.set_tensor(takes["index"], pixels)
        interpreter.invoke()
        found = interpreter.get_tensor(gives["index"])
        if gives["dtype"] != np.float32:
            scale, zero = gives["quantization"]
            found = (found.astype(np.float32) - zero) * scale
        return found

    return answer


def open_ncnn(file: str) -> Answer:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_fp16_storage = net.opt.use_bf16_storage = net.opt.use_fp16_arithmetic = False
    if net.load_param(file) or net.load_model(file.removesuffix(".param") + ".bin"):
        raise RuntimeError("ncnn cannot load the file")
    takes, gives = net.input_names()[0], net.output_names()[0]

    def answer(image: Any) -> Any:
        with net.create_extractor() as extractor:
            extractor.input(takes, ncnn.Mat(image[0]))  # [1, 48, 48]
            _, found = extractor.extract(gives)
            return np.array(found)[None]  # [1, classes]

    return answer


def open_executorch(file: str) -> Answer:
    import torch
    from executorch.extension.pybindings import portable_lib

    torch.set_num_threads(1)
    module = portable_lib._load_for_executorch(file)
    return lambda image: module.forward([torch.from_numpy(image)])[0].numpy()


def memory_bytes() -> int:
    """The most that this process has held."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


IMPORTS = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "litert": ("ai_edge_litert.interpreter",),
    "ncnn": ("ncnn",),
    "executorch": ("torch", "executorch.extension.pybindings.portable_lib"),
}


def serve(runtime: str, file: str, one: str, reply: Any) -> None:
    for name in IMPORTS[runtime]:
        __import__(name)
    before = memory_bytes()
    answer = globals()[f"open_{runtime}"](file)
    image = np.load(one)
    for _ in range(20):
        answer(image)
    print(json.dumps({"memory_bytes": memory_bytes() - before}), file=reply, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["do"] == "time":
            wall, cpu = [], []
            for _ in range(asked["calls"]):
                start, busy = time.perf_counter(), time.process_time()
                answer(image)
                wall.append(time.perf_counter() - start)
                cpu.append(time.process_time() - busy)
            found = {"wall_s": wall, "cpu_s": cpu}
        else:
            faces = np.load(asked["faces"])
            np.save(asked["out"], np.concatenate([np.asarray(answer(face[None])).reshape(1, -1) for face in faces]))
            found = {}
        print(json.dumps(found), file=reply, flush=True)


def main() -> None:
    reply = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what tools print is not an answer
    what, name, place = sys.argv[1:4]
    if what == "make":
        with contextlib.chdir(place):
            print(json.dumps({"file": str(globals()[name](Path(place)))}), file=reply, flush=True)
    else:
        serve(name, place, sys.argv[4], reply)


if __name__ == "__main__":
    main()
