"""A model repository for NVIDIA's Triton Inference Server: a server that others keep, instead of one of ours."""

import json
from pathlib import Path

from rarn_edge.boundary.names import file_name, markdown
from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError

MAX_BATCH = 64
_TENSORRT = """\
optimization {
  execution_accelerators {
    gpu_execution_accelerator: [
      {
        name: "tensorrt"
        parameters { key: "precision_mode" value: "INT8" }
      }
    ]
  }
}
"""
"""Triton's ONNX Runtime takes CUDA on a GPU unless told so, and CUDA has no INT8 convolutions."""


def write_repository(artifact: Artifact, folder: Path, texts: dict[str, str]) -> None:
    """`<name>/config.pbtxt`, `<name>/labels.txt` and `<name>/1/model.onnx` in an existing, empty folder; `client.py` asks the
    server with the same pixels as everywhere. `texts` are files beside them: model card and licence."""
    name = file_name(artifact.spec.name)
    if name != artifact.spec.name:
        raise InputError(
            f"{artifact.path}: Triton names a folder for each model, and '{artifact.spec.name}' is no file name on every system;"
            f" stamp the model with another name, such as '{name}'"
        )
    model = folder / name
    (model / "1").mkdir(parents=True)
    (model / "1" / "model.onnx").write_bytes(artifact.path.read_bytes())
    (model / "labels.txt").write_text("\n".join(artifact.spec.classes) + "\n", encoding="utf-8")
    (model / "config.pbtxt").write_text(config(artifact), encoding="utf-8")
    (folder / "README.md").write_text(_readme(artifact), encoding="utf-8")
    (folder / "client.py").write_bytes(Path(__file__).with_name("files").joinpath("client.py").read_bytes())
    (folder / "spec.json").write_text(artifact.spec.to_json() + "\n", encoding="utf-8")
    for file, text in texts.items():
        (folder / file).write_text(text, encoding="utf-8")


def config(artifact: Artifact) -> str:
    """The model's `config.pbtxt`."""
    spec = artifact.spec
    place = "KIND_GPU" if on_gpu(artifact) else "KIND_CPU"
    return f"""\
name: {_text(spec.name)}
platform: "onnxruntime_onnx"
max_batch_size: {MAX_BATCH}
input [
  {{
    name: {_text(spec.input_name)}
    data_type: {"TYPE_UINT8" if spec.input_dtype == "uint8" else "TYPE_FP32"}
    dims: [ {", ".join(map(str, spec.input_shape))} ]
  }}
]
output [
  {{
    name: {_text(spec.output_name)}
    data_type: TYPE_FP32
    dims: [ {len(spec.classes)} ]
    label_filename: "labels.txt"
  }}
]
dynamic_batching {{
  preferred_batch_size: [ 8, 32, {MAX_BATCH} ]
  max_queue_delay_microseconds: 2000
}}
instance_group [
  {{
    count: 1
    kind: {place}
  }}
]
{_TENSORRT if artifact.contract.target is Target.TENSORRT else ""}"""


def on_gpu(artifact: Artifact) -> bool:
    """INT8 files for TensorRT and float16 files; others are for CPUs, and run there."""
    return artifact.contract.target is Target.TENSORRT or artifact.contract.precision == "float16"


def _text(value: str) -> str:
    """A quoted string of protobuf's text format, which takes JSON's escapes for what a name may hold."""
    return json.dumps(value, ensure_ascii=False)


def _code(name: str) -> str:
    """A name between back quotes of Markdown."""
    return name.replace("`", "'")


def _readme(artifact: Artifact) -> str:
    spec = artifact.spec
    size = spec.preprocess
    normalised = f"`(pixel - mean) / std` with\nmean {list(size.mean)} and std {list(size.std)}"
    values = "the pixels themselves" if spec.input_dtype == "uint8" else normalised
    gpus, place = ("--gpus all ", "a GPU") if on_gpu(artifact) else ("", "the CPU")
    return f"""\
# {markdown(spec.name)} for Triton

    docker run --rm {gpus}-p 8000:8000 -p 8001:8001 -v "$PWD":/models nvcr.io/nvidia/tritonserver:VERSION-py3 \\
        tritonserver --model-repository=/models

The client sends `{_code(spec.input_name)}`: {spec.input_dtype} [N, {", ".join(map(str, spec.input_shape))}] ({spec.layout}),
{values}. Pictures: {size.describe()}.
`python client.py face.png` does all of it (`pip install tritonclient[http] opencv-python-headless`).
It gets `{_code(spec.output_name)}`: {spec.output}; divide logits by {spec.temperature:g} before the softmax.
Class names are in `labels.txt`. `config.pbtxt` places the model on {place}, as its precision and target ask for.
What it is: `MODEL_CARD.md`.
"""
