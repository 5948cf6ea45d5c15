"""The graph that ONNX Runtime really runs: its own optimised model and its own profile, joined by node name.

A QDQ file only asks for INT8; whether a convolution gets it is decided when the session is made, silently. So nothing here is
read from the file: operators come from the optimised model that the session saved, types, shapes and times from one profiled run.
"""

import tempfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import InputError, first_line
from rarn_edge.onnx_graph import load_graph
from rarn_edge.runtime.operators import CONVERSIONS, computes_in_int8, is_convolution, multiply_adds
from rarn_edge.runtime.ort_profile import NodeCall, Tensor, end_profile, profiled_into

_RUNS = 5
_INTEGER_TYPES = ("uint8", "int8", "int32")


@dataclass(frozen=True)
class ExecutedNode:
    """One node as it ran with batch 1."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_types: tuple[str, ...]
    output_type: str
    output_shape: tuple[int, ...]
    constant_shapes: tuple[tuple[int, ...], ...]  # of its inputs, quantized or not; empty for those that are computed
    attributes: dict[str, Any]
    multiply_adds: int  # of a convolution or a matrix product, one image; 0 for everything else
    time_s: float  # median; profiling adds a few microseconds to each node

    @property
    def is_convolution(self) -> bool:
        return is_convolution(self.operator)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Of a convolution; empty where its weight is no constant."""
        place = 3 if self.operator == "QLinearConv" else 1
        return self.constant_shapes[place] if place < len(self.constant_shapes) else ()

    @property
    def kind(self) -> str:
        """`convert` (between float and integers), `integer`, `float`, or `other` (shapes and indices)."""
        if self.operator in CONVERSIONS:
            return "convert"
        if computes_in_int8(self.operator) or self.output_type in _INTEGER_TYPES:
            return "integer"
        return "float" if self.output_type in ("float", "float16", "double") else "other"


@dataclass(frozen=True)
class ExecutedGraph:
    """All nodes in the order they ran, and the names that matter for their connections."""

    nodes: tuple[ExecutedNode, ...]
    outputs: frozenset[str]
    constants: frozenset[str]
    float_constants: frozenset[str]


def executed_graph(artifact: Artifact) -> ExecutedGraph:
    """Run `artifact` a few times on this machine's CPU, one thread, and read what ran.

    Raises:
        InputError: ONNX Runtime cannot run it.
    """
    with tempfile.TemporaryDirectory() as folder:
        optimised = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        profiled_into(Path(folder) / "profile")(options)
        options.optimized_model_filepath = str(optimised)
        shape = (1, *artifact.spec.input_shape)
        image = np.full(shape, 100, dtype=np.uint8).astype(artifact.spec.input_dtype)
        try:
            session = ort.InferenceSession(_named(artifact.path), options, providers=["CPUExecutionProvider"])
            for _ in range(_RUNS):
                session.run(None, {artifact.spec.input_name: image})
        except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
            raise InputError(f"{artifact.path}: ONNX Runtime cannot run it ({first_line(error)})") from error
        calls = end_profile(session)
        model = onnx.load(optimised)
    return _join(model, calls)


def _named(path: Path) -> bytes | Path:
    """A file of which nodes have no names as a copy in which all have one: by their names a profile's calls are found again."""
    model = load_graph(path)
    if all(node.name for node in model.graph.node):
        return path
    for index, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{index}"
    return bytes(model.SerializeToString())


def _join(model: onnx.ModelProto, calls: list[NodeCall]) -> ExecutedGraph:
    ran: dict[str, list[NodeCall]] = defaultdict(list)
    for call in calls:
        ran[call.name].append(call)
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    # a layer that stays in float beside INT8 ones reads its weight through a conversion
    weights = shapes | {
        node.output[0]: shapes[node.input[0]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes
    }
    nodes = []
    for node in model.graph.node:
        runs = ran.get(node.name)
        if not runs:
            continue  # folded away while the session was made
        output = next(iter(runs[0].outputs), Tensor("", ()))
        nodes.append(
            ExecutedNode(
                name=node.name,
                operator=node.op_type,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                input_types=tuple(each.type for each in runs[0].inputs if each.type),
                output_type=output.type,
                output_shape=output.shape,
                constant_shapes=tuple(weights.get(name, ()) for name in node.input),
                multiply_adds=_multiply_adds(node, runs[0], weights),
                attributes={a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
                time_s=float(np.median([run.duration_s for run in runs])),
            )
        )
    floats = {
        t.name for t in model.graph.initializer if t.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    }
    return ExecutedGraph(
        tuple(nodes),
        frozenset(value.name for value in model.graph.output),
        frozenset(shapes),
        frozenset(floats),
    )


def _multiply_adds(node: onnx.NodeProto, call: NodeCall, weights: Mapping[str, tuple[int, ...]]) -> int:
    """Of a call with batch 1. Shapes of weights are of the graph, for a profile leaves them out."""
    inputs = [weights.get(name, ()) for name in node.input]
    if inputs and not inputs[0] and call.inputs:
        inputs[0] = call.inputs[0].shape
    return multiply_adds(node.op_type, inputs, call.outputs[0].shape) if call.outputs else 0
