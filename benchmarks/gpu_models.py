"""The ONNX files that gpu_check.sh needs, made on one machine and small enough to carry to another.

python benchmarks/gpu_models.py prepare DIR    export, simplify and convert to float16; needs the extra `export`
python benchmarks/gpu_models.py fill DIR       complete the files on the GPU machine; needs numpy and onnx

An untrained network's weights are random and mean nothing, so they are not carried: its file keeps the graph alone, and `fill`
draws the large weights from a seed. Its speed is real, its answers are not.
"""

import argparse
import math
import sys
import zlib
from pathlib import Path

import numpy as np
import onnx

TRAINED = ("rarn-s", "rarn-n")
UNTRAINED = ("rarn-18", "rarn-152", "resnet-18", "resnet-50", "resnet-152", "inception-v4", "mobilenet-v1")
FLOAT16 = ("rarn-s", "rarn-n", "resnet-18", "mobilenet-v1")
DRAWN_BYTES = 4096  # weights above this size are drawn anew


def prepare(folder: Path) -> None:
    """Write `NAME.onnx` of the trained models and `NAME.graph` of the others, and the same of `NAME.fp16`."""
    from rarn_edge.contract.artifact import Artifact
    from rarn_edge.pipeline.precision import to_float16
    from rarn_edge.workflow.model_files import named_models

    named_models([*TRAINED, *UNTRAINED], folder)
    for name in FLOAT16:
        to_float16(Artifact.load(folder / f"{name}.onnx"), folder / f"{name}.fp16.onnx")
    for name in UNTRAINED:
        for path in (folder / f"{name}.onnx", folder / f"{name}.fp16.onnx"):
            if path.is_file():
                _empty(path, path.with_suffix(".graph"))
                path.unlink()


def _empty(source: Path, out: Path) -> None:
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if len(tensor.dims) > 1 and len(tensor.raw_data) > DRAWN_BYTES:
            tensor.raw_data = b""
    out.write_bytes(model.SerializeToString())


def fill(folder: Path) -> None:
    """Write `NAME.onnx` beside each `NAME.graph`: weights drawn as He et al. (2015) begin a training."""
    sources = sorted(folder.glob("*.graph"))
    if not sources:
        sys.exit(f"error: {folder}: holds no .graph files; first: python benchmarks/gpu_models.py prepare {folder}")
    for source in sources:
        model = onnx.load(source)
        generator = np.random.default_rng(zlib.crc32(source.stem.encode()))
        for tensor in model.graph.initializer:
            if len(tensor.dims) > 1 and not tensor.raw_data and math.prod(tensor.dims) > 0:
                dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
                deviation = math.sqrt(2 / math.prod(tensor.dims[1:]))
                weights = generator.standard_normal(tuple(tensor.dims), dtype=np.float32) * deviation
                tensor.raw_data = weights.astype(dtype).tobytes()
        (folder / f"{source.stem}.onnx").write_bytes(model.SerializeToString())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("prepare", "fill"))
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    {"prepare": prepare, "fill": fill}[arguments.mode](arguments.folder)


if __name__ == "__main__":
    main()
