"""Small questions about an ONNX graph, and writing one with its contract."""

from collections.abc import Iterator
from pathlib import Path

import onnx

from rarn_edge.contract.artifact import METADATA_KEY, Artifact, Contract
from rarn_edge.errors import InputError
from rarn_edge.files import atomic


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
    """Stamp and write atomically as one file, then read it back as a user would."""
    stamp(model, contract)
    with atomic(path) as temporary:
        onnx.save(model, temporary)
        Artifact.load(temporary)
    return Artifact.load(path)


def constants(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Initializers and constant nodes by name."""
    found = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def float_activations(model: onnx.ModelProto) -> Iterator[str]:
    """Names of the graph's float32 inputs and of every float32 result of a node, in graph order.

    The model must carry inferred types (`onnx.shape_inference.infer_shapes`).
    """
    typed = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    constant = constants(model)
    for value in model.graph.input:
        if value.name not in constant and value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            yield value.name
    for node in model.graph.node:
        for name in node.output:
            if name not in constant and typed.get(name) == onnx.TensorProto.FLOAT:
                yield name


def readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """The nodes that read each tensor; a graph output is one more reader, of type `output`, that must not lose its tensor."""
    found: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    for value in model.graph.output:
        found.setdefault(value.name, []).append(onnx.NodeProto(op_type="output"))
    return found


def drop_unused_initializers(model: onnx.ModelProto) -> None:
    """Remove the constants that no node reads."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    if len(kept) < len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)


def opset(model: onnx.ModelProto) -> int:
    """The version of the standard operator set."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
