"""An ONNX graph in memory: parsed once, asked about, and written once with its contract.

Passes rewrite it as `onnx_ir`, where a value knows its producer and its uses; protobuf goes in and out, because shape
inference, onnxsim and ONNX Runtime's quantizer take it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from numpy.typing import NDArray
from onnx_ir.passes.common import RemoveUnusedNodesPass

from rarn_edge.contract.artifact import METADATA_KEY, Artifact, Contract, open_unoptimised
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.errors import InputError
from rarn_edge.files import atomic

Axes = Sequence[int | None]


@dataclass(frozen=True)
class LoadedModel:
    """A graph on its way from stage to stage; a stage leaves `graph` as it is and returns another `LoadedModel`.

    `contract` is of the graph as it is now. `source` is the file that was read, with the sha256 of that file; None: not from a
    file (a fresh export).
    """

    graph: onnx.ModelProto
    contract: Contract
    source: Artifact | None = None

    @classmethod
    def read(cls, source: Artifact) -> "LoadedModel":
        """Parse the file.

        Raises:
            InputError: not a readable ONNX file.
        """
        return cls(load_graph(source.path), source.contract, source)

    @property
    def spec(self) -> ModelSpec:
        return self.contract.spec

    @property
    def name(self) -> str:
        """For messages: the file's path, or the model's name."""
        return self.spec.name if self.source is None else str(self.source.path)

    @property
    def weights_sha256(self) -> str | None:
        """Of the trained weights, where the contract names them."""
        found = self.contract.provenance.get("weights_sha256")
        return None if found is None else str(found)

    def changed(self, graph: onnx.ModelProto, **provenance: object) -> "LoadedModel":
        """The same with another graph, and what was done to it."""
        noted = {**self.contract.provenance, **provenance}
        return replace(self, graph=graph, contract=replace(self.contract, provenance=noted))

    def save(self, path: Path) -> Artifact:
        """Write the graph with its contract; the result has the sha256 of the file written.

        Raises:
            InputError: `path` cannot be written.
        """
        return save_artifact(self.graph, self.contract, path)


def loaded(source: Artifact | LoadedModel) -> LoadedModel:
    """Read a file, or go on with what was read.

    Raises:
        InputError: not a readable ONNX file.
    """
    return source if isinstance(source, LoadedModel) else LoadedModel.read(source)


def load_graph(path: Path) -> onnx.ModelProto:
    """The whole model in memory.

    Raises:
        InputError: not a readable ONNX file.
    """
    try:
        return onnx.load(path)
    except Exception as error:  # protobuf's decode errors share no base class across its versions; the cause is kept
        raise InputError(f"{path}: not a readable ONNX file ({type(error).__name__})") from error


def stamp(model: onnx.ModelProto, contract: Contract) -> None:
    """Embed the contract, replacing an earlier one."""
    kept = [prop for prop in model.metadata_props if prop.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    model.metadata_props.add(key=METADATA_KEY, value=contract.to_json())


def save_artifact(model: onnx.ModelProto, contract: Contract, path: Path) -> Artifact:
    """Stamp and write atomically as one file, read back as a user would before it gets its name."""
    stamp(model, contract)
    with atomic(path) as temporary:
        onnx.save(model, temporary)
        written = Artifact.load(temporary)
    return replace(written, path=path)


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard operator set."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def with_types(model: onnx.ModelProto) -> ir.Model:
    """A copy to work on, with the type and shape of each value where they can be inferred."""
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """Without the nodes and constants that nobody reads, and without the types that a reader infers."""
    RemoveUnusedNodesPass()(model)
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]  # in a small INT8 file they are a tenth
    return proto


def float_activations(model: ir.Model) -> Iterator[str]:
    """Names of the float32 inputs and of every float32 result of a node that is no constant, in graph order."""
    made = (value for node in model.graph if node.op_type != "Constant" for value in node.outputs)
    inputs = (value for value in model.graph.inputs if not value.is_initializer())
    for value in (*inputs, *made):
        if value.dtype == ir.DataType.FLOAT and value.name is not None:
            yield value.name


def values_by_name(model: ir.Model) -> dict[str, ir.Value]:
    """Inputs, initializers and results of nodes."""
    return ir.convenience.create_value_mapping(model.graph)


def axes_of(value: ir.Value | None) -> Axes:
    """The sizes of its axes, None where one is free; empty where the rank is unknown."""
    if value is None or value.shape is None:
        return ()
    return tuple(axis if isinstance(axis, int) else None for axis in value.shape)


def constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The content of an initializer or of a Constant node's result; None for anything else."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def only_reader(value: ir.Value) -> ir.Node | None:
    """The node that alone reads a value; None where several do, or where it is an output of the graph."""
    uses = tuple(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def tapped_session(model: onnx.ModelProto, names: Sequence[str], threads: int = 1) -> ort.InferenceSession:
    """A session, as written, over the part of a graph that makes these float tensors, which are its outputs."""
    part = ir.from_proto(model)
    values = values_by_name(part)
    part.graph.outputs.clear()
    for name in names:
        values[name].dtype = values[name].dtype or ir.DataType.FLOAT
        part.graph.outputs.append(values[name])
    return open_unoptimised(to_proto(part).SerializeToString(), threads)
