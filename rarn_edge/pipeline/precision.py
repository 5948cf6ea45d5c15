"""The other two precisions, with the same contract: float16 weights and arithmetic, and INT8 with ranges found at run time.

float16 is for CUDA and for Arm cores with half-precision units; the CPU provider of x86 casts back to float32 around every
operator. Dynamic INT8 measures each activation while it runs: no calibration, but slower than static INT8 for convolutions.
"""

import contextlib
import io
import logging
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.float16 import convert_float_to_float16

from rarn_edge.boundary.terminal import spoken_into
from rarn_edge.contract.artifact import Artifact, Precision
from rarn_edge.contract.preprocess import model_input
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.errors import GateError
from rarn_edge.files import check_output
from rarn_edge.onnx_graph import LoadedModel, float_activations, loaded, tapped_session, with_types
from rarn_edge.pipeline.gate import check_alike
from rarn_edge.pipeline.passes.int8_kernels import integer_form
from rarn_edge.pipeline.prepare import check_float32

LARGEST = float(np.finfo(np.float16).max)
RANGE_FACES = 4
TOLERANCE = 0.05  # of the largest logit; released models measure 0.001


def to_float16(source: Artifact | LoadedModel, out: Path) -> Artifact:
    """Write the float16 form; input and logits stay float32, so that its contract is the float32 file's.

    Raises:
        InputError: not a float32 model, or `out` cannot be written.
        GateError: a weight is beyond float16, or the answers are others.
    """
    model = _float32(source, out)
    _check_range(model)
    typed = onnx.shape_inference.infer_shapes(model.graph)
    with _quiet():  # it warns about each weight below float16's smallest number
        half = convert_float_to_float16(typed, keep_io_types=True)
    check_alike(
        model, model.changed(half), "float16", TOLERANCE, "float16 is too coarse for it: use --precision int8", False
    )
    return _save(half, model, "float16", out)


_ANSWER = """
import sys, numpy, onnxruntime
file, name, dtype, *shape = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
session.run(None, {name: numpy.zeros([1, *map(int, shape)], dtype)})
"""
ANSWER_S = 300


def fault_here(artifact: Artifact) -> str | None:
    """Why this machine's CPU cannot run a file: asked in a process of its own, for a fault of ONNX Runtime may end it."""
    spec = artifact.spec
    given = (str(artifact.path), spec.input_name, spec.input_dtype, *map(str, spec.input_shape))
    command = [sys.executable, "-P", "-c", _ANSWER, *given]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace", timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return f"ONNX Runtime {onnxruntime.__version__} did not answer one picture within {ANSWER_S} s on this CPU"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    crashed = f"its process ended with code {done.returncode}"  # a signal, or on Windows a status, without a word
    how = said[-1][:200] if said and done.returncode == 1 else crashed
    return f"ONNX Runtime {onnxruntime.__version__} cannot run it on this CPU ({how})"


def to_dynamic_int8(source: Artifact | LoadedModel, out: Path) -> Artifact:
    """Write INT8 weights with activations quantized at run time.

    Raises:
        InputError: not a float32 model, or `out` cannot be written.
    """
    model = _float32(source, out)
    with tempfile.TemporaryDirectory() as folder, _quiet():
        made = Path(folder) / "dynamic.onnx"
        # u8 weights: the CPU provider's ConvInteger takes no s8 ones
        quantize_dynamic(integer_form(model.graph), made, weight_type=QuantType.QUInt8)
        return _save(onnx.load(made), model, "int8-dynamic", out)


def _check_range(model: LoadedModel) -> None:
    """Raises GateError if float16 cannot hold a weight, which the conversion would cut off, or an activation of drawn faces: a
    CPU without float16 computes these in float32, and they are infinite on a device that has it."""
    for tensor in model.graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            largest = float(np.abs(onnx.numpy_helper.to_array(tensor)).max(initial=0.0))
            if largest > LARGEST:
                raise GateError(
                    f"{model.name}: float16 ends at {LARGEST:,.0f}, and '{tensor.name}' has a weight of {largest:.3g};"
                    " use --precision int8"
                )

    names = list(float_activations(with_types(model.graph)))
    faces = model_input(drawn_for(model.spec.preprocess, RANGE_FACES, seed=3).pixels, model.spec)
    session = tapped_session(model.graph, names)
    for name, values in zip(names, session.run(names, {model.spec.input_name: faces}), strict=True):
        largest = float(np.abs(values).max(initial=0.0))
        if largest > LARGEST:
            raise GateError(
                f"{model.name}: float16 ends at {LARGEST:,.0f}, and '{name}' reaches {largest:.3g}; use --precision int8"
            )


def _float32(source: Artifact | LoadedModel, out: Path) -> LoadedModel:
    check_output(out)
    model = loaded(source)
    check_float32(model)
    return model


def _save(graph: onnx.ModelProto, model: LoadedModel, precision: Precision, out: Path) -> Artifact:
    made_from = {} if model.source is None else {"source_sha256": model.source.sha256}
    noted = model.changed(graph, **made_from, onnxruntime_quantization=onnxruntime.__version__)
    return replace(noted, contract=replace(noted.contract, precision=precision)).save(out)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep ONNX Runtime's Python tools off stdout and the log for the duration."""
    with spoken_into(io.StringIO()), warnings.catch_warnings():
        level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(level)
