"""Simplification as a gated step: a smaller graph that answers the same, or the graph as it was and the reason why.

1. onnxsim folds constants and batch normalisation, and removes what has no effect.
2. A mean over height and width (as torch exports global average pooling) becomes GlobalAveragePool, and the reshape after
   it, or the dropping of its axes, a Flatten: ONNX Runtime has an INT8 kernel for those and none for ReduceMean.
3. Sizes that the graph computes become constants (`passes.constant_shapes`).
"""

from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import onnx_ir as ir

from rarn_edge.contract.artifact import Artifact
from rarn_edge.errors import first_line, require_extra
from rarn_edge.files import check_outputs
from rarn_edge.onnx_graph import LoadedModel, axes_of, to_proto, with_types
from rarn_edge.pipeline.gate import difference
from rarn_edge.pipeline.passes.constant_shapes import constant_shapes
from rarn_edge.pipeline.passes.int8_kernels import keeps_axes, make_node, put_in_place, reduced_axes

SIMPLIFIED = "simplified"  # in the provenance: by what, or why not


@dataclass(frozen=True)
class Simplified:
    """The outcome: the graph, node counts, and why it was kept as it was, if it was."""

    model: LoadedModel
    nodes_before: int
    nodes_after: int
    kept_because: str | None  # None: simplified


@dataclass(frozen=True)
class Simplification:
    """The file written, and what was done to its graph."""

    artifact: Artifact
    nodes_before: int
    nodes_after: int
    kept_because: str | None


def simplify(file: str | Path | Artifact, output: str | Path) -> Simplification:
    """Write a simplified copy of an ONNX file that carries its contract; what does not answer alike is not kept.

    Args:
        file: A float32 file of any origin, with its contract.
        output: The file to write.

    Returns:
        The file, the number of nodes before and after, and why the graph was kept as it was, if it was.

    Raises:
        InputError: an unreadable file, `output` cannot be written or is the file itself, or onnxsim is not installed.

    Example:
        >>> import rarn_edge, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> raw = rarn_edge.export(f"{folder}/raw.onnx", "rarn-n", simplify=False)
        >>> done = rarn_edge.simplify(raw.artifact.path, f"{folder}/rarn-n.onnx")
        >>> done.kept_because is None, done.nodes_after <= done.nodes_before
        (True, True)
    """
    out = Path(output)
    check_outputs([out], [file.path if isinstance(file, Artifact) else file])
    done = simplify_model(LoadedModel.read(file if isinstance(file, Artifact) else Artifact.load(Path(file))))
    return Simplification(done.model.save(out), done.nodes_before, done.nodes_after, done.kept_because)


def simplify_model(model: LoadedModel) -> Simplified:
    """The same in memory.

    Raises:
        InputError: onnxsim is not installed.
    """
    onnxsim = require_extra("onnxsim", "export")
    before = len(model.graph.graph.node)
    graph, kept_because = model.graph, None
    try:
        simplified = pool_means(constant_shapes(_onnxsim(model.graph)))
        kept_because = difference(model, replace(model, graph=simplified), "simplified")
    # onnxsim, onnx and onnxruntime share no base class for their errors; the reason is kept and told
    except Exception as error:
        kept_because = f"simplification failed: {first_line(error)}"
    if kept_because is None:
        graph = simplified
    noted: dict[str, object] = {SIMPLIFIED: kept_because or f"onnxsim {onnxsim.__version__}"}
    if model.source is not None:
        noted["source_sha256"] = model.source.sha256
    done = model.changed(graph, **noted)
    return Simplified(done, before, len(graph.graph.node), kept_because)


def _onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified, same = require_extra("onnxsim", "export").simplify(model, check_n=0)  # the check is ours, in the gate
    if not same:
        raise RuntimeError("onnxsim could not validate its result")
    result: onnx.ModelProto = simplified
    return result


def pool_means(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rule 2 of the module: ReduceMean over the two spatial axes -> GlobalAveragePool, [N, C, 1, 1] -> [N, C] -> Flatten."""
    work = with_types(model)
    pooled: set[ir.Value] = set()
    for node in tuple(work.graph):
        source = node.inputs[0] if node.inputs else None
        if source is None:
            continue
        if node.op_type == "ReduceMean" and len(axes_of(source)) == 4 and reduced_axes(node) == {2, 3}:
            pooled |= _pool(work.graph, node, source)
        elif node.op_type == "Reshape" and source in pooled and len(axes_of(node.outputs[0])) == 2:
            put_in_place(work.graph, [node], [make_node("Flatten", [source], node.name or "flatten", axis=1)])
    result = to_proto(work)
    onnx.checker.check_model(result)
    return result


def _pool(graph: ir.Graph, mean: ir.Node, source: ir.Value) -> set[ir.Value]:
    """The same mean as GlobalAveragePool, whose result is returned, or with a Flatten behind it where the axes are dropped."""
    name = mean.name or mean.outputs[0].name or ""
    if keeps_axes(mean):
        pool = make_node("GlobalAveragePool", [source], name)
        put_in_place(graph, [mean], [pool])
        return set(pool.outputs)
    pool = make_node("GlobalAveragePool", [source], f"{mean.outputs[0].name}.pooled")
    put_in_place(graph, [mean], [pool, make_node("Flatten", pool.outputs, name, axis=1)])
    return set()
