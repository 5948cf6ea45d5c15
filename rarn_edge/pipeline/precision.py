"""The other two precisions, with the same contract: float16 weights and arithmetic, and INT8 with ranges found at run time.

float16 is for CUDA and for Arm cores with half-precision units; the CPU provider of x86 casts back to float32 around every
operator. Dynamic INT8 measures each activation while it runs: no calibration, but slower than static INT8 for convolutions.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from rarn_edge.contract.artifact import Artifact, Precision
from rarn_edge.files import check_output
from rarn_edge.pipeline.graph import load_graph, save_artifact
from rarn_edge.pipeline.integer import integer_form
from rarn_edge.pipeline.quantize import require_float32


def to_float16(artifact: Artifact, out: Path) -> Artifact:
    """Write the float16 form; input and logits stay float32, so that its contract is the float32 file's.

    Raises:
        InputError: not a float32 file, or `out` cannot be written.
    """
    check_output(out)
    require_float32(artifact)
    model = onnx.shape_inference.infer_shapes(load_graph(artifact.path))
    with _quiet():  # it warns about each weight below float16's smallest number
        half = convert_float_to_float16(model, keep_io_types=True)
    return _save(half, artifact, "float16", out)


def to_dynamic_int8(artifact: Artifact, out: Path) -> Artifact:
    """Write INT8 weights with activations quantized at run time.

    Raises:
        InputError: not a float32 file, or `out` cannot be written.
    """
    check_output(out)
    require_float32(artifact)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        source, made = Path(folder) / "float32.onnx", Path(folder) / "dynamic.onnx"
        onnx.save(integer_form(load_graph(artifact.path)), source)
        # u8 weights: the CPU provider's ConvInteger takes no s8 ones
        quantize_dynamic(source, made, weight_type=QuantType.QUInt8)
        model = onnx.load(made)
    return _save(model, artifact, "int8-dynamic", out)


def _save(model: onnx.ModelProto, artifact: Artifact, precision: Precision, out: Path) -> Artifact:
    provenance = {
        **artifact.contract.provenance,
        "source_sha256": artifact.sha256,
        "onnxruntime_quantization": onnxruntime.__version__,
    }
    return save_artifact(model, replace(artifact.contract, precision=precision, provenance=provenance), out)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's Python tools off stdout and the log for the duration."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
