"""torch -> ONNX, and proof that what was written is what was meant.

torch's exporter has ignored the opset, split weights into a second file and changed answers, each in some release; so the
file is checked before it gets its name.
"""

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from rarn_edge.boundary.terminal import spoken_into
from rarn_edge.contract.artifact import Artifact, Contract, open_unoptimised
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.stream import batch_for
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.errors import GateError, first_line
from rarn_edge.files import check_output
from rarn_edge.models.count import bake, count_multiply_adds, count_parameters
from rarn_edge.onnx_graph import LoadedModel, opset
from rarn_edge.train.checkpoint import Weights

OPSET = 18  # native to torch's exporter (no version conversion) and read by every runtime of the last three years
CHATTER = ("torch.onnx", "torch.fx.experimental.symbolic_shapes")
"""Loggers that warn of torchvision, which we do not use, and of what the error says better."""
CHECKED_BATCHES = (1, 2, 7)  # the last is smaller for large pictures
CHECKED_PIXELS = 3 * 224 * 224
EXACT_PIXELS = 2 * 224 * 224  # in float64, which is slow
MAX_ROUNDING_RATIO = 4.0
"""ONNX Runtime may be this many times further from the float64 answer than torch's own float32 is ..."""
MIN_TOLERANCE = 1e-4
"""... and at least this far, in logits: torch's distance can be luckily small."""


def export(weights: Weights, out: Path) -> Artifact:
    """Export trained weights to `out`, a single ONNX file with its contract.

    Raises:
        InputError: `out` cannot be written, or the weights do not fit their model.
        GateError: the graph is not what was asked for or answers otherwise; nothing is left at `out`.
    """
    check_output(out)
    return export_weights(weights).save(out)


def export_weights(weights: Weights) -> LoadedModel:
    """The same in memory."""
    model, spec = weights.model(), weights.spec
    preprocess = spec.preprocess
    shape = (preprocess.channels, preprocess.height_px, preprocess.width_px)
    plain = bake(model).eval()
    made_by = {"weights_sha256": weights.sha256, "torch": torch.__version__, "onnx": onnx.__version__}
    contract = Contract(
        spec,
        parameters=count_parameters(model),
        multiply_adds=count_multiply_adds(model, *shape),
        provenance={**weights.provenance, **made_by},
    )
    graph = _torch_export(plain, spec, torch.zeros(2, *shape))
    check_export(graph, plain, spec)
    return LoadedModel(graph, contract)


def _torch_export(model: nn.Module, spec: ModelSpec, example: torch.Tensor) -> onnx.ModelProto:
    """Call torch's exporter without its chatter; if it fails, what it said is in the error."""
    said = io.StringIO()
    try:
        with _quiet(said):
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                input_names=[spec.input_name],
                output_names=[spec.output_name],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise GateError(f"torch could not export '{spec.name}': {_cause(error, said.getvalue())}") from error
    if program is None:
        raise GateError(f"torch exported nothing of '{spec.name}'")
    return program.model_proto


@contextlib.contextmanager
def _quiet(said: io.StringIO) -> Iterator[None]:
    """What torch's exporter says goes there; its logs are for errors alone."""
    with spoken_into(said, errors=True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logs = [logging.getLogger(name) for name in CHATTER]
        levels = [log.level for log in logs]
        for log in logs:
            log.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for log, level in zip(logs, levels, strict=True):
                log.setLevel(level)


_OPERATOR = re.compile(r"OpOverload\(op='([\w.]+)'")
_PLACE = re.compile(r"# File: (\S+):(\d+) in \w+, code: (.+)")


def _cause(error: BaseException, said: str) -> str:
    """The operator that has no ONNX form, or the line of `forward` that torch could not follow, and the next step."""
    first = error
    while (before := first.__cause__ or first.__context__) is not None:
        first = before
    operator = _OPERATOR.search(str(first))
    if operator:
        return f"it has no ONNX form of the operator {operator[1]}, so nothing is written; write forward without it"
    places = _PLACE.findall(said)
    where = (
        f"\nIt came to {Path(places[-1][0]).name}, line {places[-1][1]}: {places[-1][2].strip()[:120]}"
        if places
        else ""
    )
    return f"{first_line(first)}{where}\nA forward that exports takes no decision by the values of its tensors"


def check_export(graph: onnx.ModelProto, model: nn.Module, spec: ModelSpec) -> None:
    """Assert opset, weights inside, names, dynamic batch and agreement with torch.

    Raises:
        GateError: which of them does not hold, what was found and what was expected.
    """
    if opset(graph) != OPSET:
        raise GateError(f"export of '{spec.name}': asked for opset {OPSET}, torch wrote {opset(graph)}")
    outside = [tensor.name for tensor in graph.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise GateError(f"export of '{spec.name}': {len(outside)} weights are in a second file, expected one file")
    session = open_unoptimised(graph.SerializeToString())
    names = ([v.name for v in session.get_inputs()], [v.name for v in session.get_outputs()])
    if names != ([spec.input_name], [spec.output_name]):
        raise GateError(f"export of '{spec.name}': names {names}, expected {spec.input_name} -> {spec.output_name}")
    *few, most = CHECKED_BATCHES
    sizes = (*few, max(3, batch_for(spec.preprocess, most, CHECKED_PIXELS)))
    drawn = drawn_for(spec.preprocess, sum(sizes), seed=1)
    faces = to_input(drawn.pixels, spec.preprocess)  # [10, C, H, W], of large pictures [6, C, H, W]
    expected = _torch_logits(model, faces)  # [10, classes]
    if not np.isfinite(expected).all():
        raise GateError(
            f"export of '{spec.name}': in torch already some answers are no finite numbers; check its weights"
        )
    if float(np.abs(_torch_logits(model, faces) - expected).max()) > MIN_TOLERANCE:
        raise GateError(
            f"export of '{spec.name}': in torch already the same faces get other answers the second time; let it draw no random"
            " numbers in evaluation, such as by dropout without training=self.training"
        )
    exact = batch_for(spec.preprocess, len(faces), EXACT_PIXELS)
    allowed = float_tolerance(model, faces[:exact], expected[:exact])
    start = 0
    for batch in sizes:
        part = slice(start, start + batch)
        start += batch
        try:
            (answer,) = session.run([spec.output_name], {spec.input_name: faces[part]})
        except Exception as error:  # onnxruntime has no common base class for its errors
            raise GateError(f"export of '{spec.name}': batch {batch} does not run, the batch axis is fixed") from error
        if answer.shape != expected[part].shape:
            raise GateError(
                f"export of '{spec.name}': answers {list(answer.shape)} to {batch} image{'s' if batch > 1 else ''}, expected"
                f" {list(expected[part].shape)}; keep the batch axis, which squeeze() drops"
            )
        worst = float(np.abs(answer - expected[part]).max())
        if not worst <= allowed:
            raise GateError(
                f"export of '{spec.name}': logits differ from torch by {worst:.3g} at batch {batch}, allowed {allowed:.3g}"
            )


def float_tolerance(model: nn.Module, inputs: NDArray[np.float32], answers: NDArray[np.float64]) -> float:
    """The logit difference that float32 rounding explains, from the distance of torch's `answers` to its float64 ones.

    A fixed figure would fail an untrained ResNet-152, whose rounding alone is 4e-4, or pass a wrong small net.
    """
    exact = _torch_logits(copy.deepcopy(model).double(), inputs.astype(np.float64))
    return max(MIN_TOLERANCE, MAX_ROUNDING_RATIO * float(np.abs(answers - exact).max()))


@torch.no_grad()
def _torch_logits(model: nn.Module, inputs: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(model(torch.from_numpy(inputs)).double().numpy())
