"""What any ONNX file is: inputs, outputs, operators, size, precision, and its contract or what one would need."""

import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from rarn_edge.contract.artifact import METADATA_KEY, Artifact, Contract, size_bytes
from rarn_edge.contract.draft import Draft, Said, draft
from rarn_edge.contract.graph_scan import GraphScan
from rarn_edge.contract.interface import Interface, Port, read_interface
from rarn_edge.errors import InputError, first_line
from rarn_edge.runtime.operators import CONVERSIONS, computes_in_int8, has_int8_kernel
from rarn_edge.runtime.ort_profile import UNPACKED, end_profile, profiled_into
from rarn_edge.runtime.types import NUMPY_NAMES

_SCALES = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class MultiplyAdds:
    """Of one picture; `in_int8` is the share that the graph asks for in integers, which `audit` holds against what runs."""

    total: int
    in_int8: float | None  # None: nothing multiplies


@dataclass(frozen=True)
class Inspection:
    """Everything that a file tells of itself."""

    file: Path
    size_bytes: int
    producer: str
    opsets: dict[str, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operators: dict[str, int]
    without_int8_kernel: dict[str, int]  # of them, on the CPU; `quantize` rewrites some, `audit` tells what runs
    parameters: int
    multiply_adds: MultiplyAdds | None
    multiply_adds_missing: str | None  # why they are not known
    quantization: str | None  # None: not quantized
    quantized_layers: int
    layers: int  # convolutions and matrix products
    ends_in: str | None  # softmax, log-softmax or sigmoid; None: none, or which output answers is not known
    contract: Contract | None
    contract_problem: str | None  # why there is none
    missing: tuple[str, ...]  # what a contract needs beyond the graph
    stamp_command: str | None

    def to_dict(self) -> dict[str, Any]:
        found = asdict(self)
        found["file"] = str(self.file)
        found["contract"] = (
            None if self.contract is None else {**asdict(self.contract), "spec": self.contract.spec.to_dict()}
        )
        return found


def inspect(file: str | Path) -> Inspection:
    """What any ONNX file is, with or without our contract.

    Multiply-adds need the package `onnx`; everything else is read with onnxruntime alone.

    Raises:
        InputError: no such file, or ONNX Runtime cannot read it.

    Example:
        >>> import rarn_edge
        >>> from rarn_edge.assets import shipped_onnx
        >>> found = rarn_edge.inspect(shipped_onnx("rarn-n"))
        >>> found.quantization, found.multiply_adds.in_int8 > 0.99
        ('QDQ, uint8 activations, int8 weights per channel', True)
    """
    path = Path(file)
    interface = read_interface(path)
    scan = interface.scan
    contract, problem, made = None, None, None
    if METADATA_KEY in interface.metadata:
        try:
            contract = Artifact.load(path).contract
        except InputError as error:
            problem = str(error)
    else:
        try:
            made = draft(interface, Said())
            problem = "it has none"
        except InputError as error:
            problem = str(error)
    counted, uncounted = _multiply_adds(interface)
    quantization = scan.quantization
    return Inspection(
        file=path,
        size_bytes=size_bytes(path),
        producer=scan.producer,
        opsets=scan.opsets,
        inputs=interface.inputs,
        outputs=interface.outputs,
        operators=scan.operators,
        without_int8_kernel=lacking_int8_kernel(scan),
        parameters=count_parameters(scan),
        multiply_adds=counted,
        multiply_adds_missing=uncounted,
        quantization=None if quantization is None else quantization.describe(),
        quantized_layers=0 if quantization is None else len(quantization.nodes),
        layers=scan.layers,
        ends_in=_ending(interface, contract),
        contract=contract,
        contract_problem=problem,
        missing=() if made is None else _missing(made),
        stamp_command=None if made is None else _command(made, path),
    )


def lacking_int8_kernel(scan: GraphScan) -> dict[str, int]:
    """How often each operator occurs that stays in float when it could be quantized; what only constants enter is folded."""
    found = Counter(
        node.operator
        for node in scan.nodes
        if not (has_int8_kernel(node.operator) or computes_in_int8(node.operator) or node.operator in CONVERSIONS)
        and any(name and name not in scan.constants for name in node.inputs)
    )
    return dict(found.most_common())


def count_parameters(scan: GraphScan) -> int:
    """Values of float and integer constants; scales, zero points and what only names shapes or axes are none."""
    scales = {name for node in scan.nodes if node.operator in _SCALES for name in node.inputs[1:]}
    kinds = ("float", "bfloat", "int8", "uint8", "int4", "uint4", "int32")
    return sum(
        constant.size
        for name, constant in scan.constants.items()
        if constant.dtype.startswith(kinds) and name not in scales
    )


def _ending(interface: Interface, contract: Contract | None) -> str | None:
    try:
        return interface.answer(None if contract is None else contract.spec.output_name).ending
    except InputError:  # several outputs and none named, or none of [N, classes]: no softmax is looked for
        return None


def _missing(made: Draft) -> tuple[str, ...]:
    return tuple(f"{each.key}: {each.option} ({each.why})" for each in made.missing)


def _command(made: Draft, path: Path) -> str:
    fixed = " --free-batch" if made.image.batch is not None else ""
    return made.command(str(path)) + fixed


def _multiply_adds(interface: Interface) -> tuple[MultiplyAdds | None, str | None]:
    """From one profiled run of the graph as written; or why not."""
    if find_spec("onnx") is None:
        return None, 'they need the package onnx: pip install "rarn-edge[export]"'
    feeds = {}
    for port in interface.inputs:
        free = [axis for axis in port.shape[1:] if not isinstance(axis, int)]
        if free or port.type not in NUMPY_NAMES:
            return (
                None,
                f"input {port.describe()} has free sizes" if free else f"input {port.describe()} has another type",
            )
        shape = [axis if isinstance(axis, int) else 1 for axis in port.shape]
        feeds[port.name] = np.ones(shape, dtype=NUMPY_NAMES[port.type])
    from rarn_edge.onnx_graph import load_graph

    model = load_graph(interface.path)
    for index, node in enumerate(model.graph.node):
        node.name = f"node{index}"  # in a foreign file names may be absent or used twice
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    for key, value in UNPACKED.items():
        options.add_session_config_entry(key, value)
    with tempfile.TemporaryDirectory() as folder:
        profiled_into(Path(folder) / "profile")(options)
        try:
            session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
            session.run(None, feeds)
        except Exception as error:  # onnxruntime has no common base class for its errors; the cause is kept and named
            return None, f"ONNX Runtime does not run it ({first_line(error)})"
        calls = {call.name: call.multiply_adds for call in end_profile(session)}
    total = sum(calls.values())
    batch = next((axis for port in interface.inputs for axis in port.shape[:1] if isinstance(axis, int)), 1)
    quantization = interface.scan.quantization
    if not total:
        return MultiplyAdds(0, None), None
    integers = sum(calls.get(f"node{index}", 0) for index in (() if quantization is None else quantization.nodes))
    return MultiplyAdds(total // max(1, batch), integers / total), None
