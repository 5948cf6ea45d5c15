"""Simplification as a gated step: a smaller graph that answers the same, or the graph as it was and the reason why.

1. onnxsim folds constants and batch normalisation, and removes what has no effect.
2. A mean over height and width (as torch exports global average pooling) becomes GlobalAveragePool, and the reshape after
   it, or the dropping of its axes, a Flatten: ONNX Runtime has an INT8 kernel for those and none for ReduceMean.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import first_line, require_extra
from rarn_edge.pipeline.graph import constants, drop_unused_initializers, load_graph, save_artifact
from rarn_edge.pipeline.integer import keeps_axes, reduced_axes

CHECKED_FACES = 32
SIMPLIFIED = "simplified"  # in the provenance: by what, or why not
TOLERANCE = 1e-4  # of the largest logit difference, relative to the largest logit where that is above 1


@dataclass(frozen=True)
class Simplification:
    """The outcome: the file written, node counts, and why the graph was kept as it was, if it was."""

    artifact: Artifact
    nodes_before: int
    nodes_after: int
    kept_because: str | None  # None: simplified


def simplify(artifact: Artifact, out: Path) -> Simplification:
    """Write a simplified copy to `out`; if it does not answer as the original, write the original graph instead.

    Raises:
        InputError: `out` cannot be written, or onnxsim is not installed.
    """
    onnxsim = require_extra("onnxsim", "export")
    original = load_graph(artifact.path)
    before = len(original.graph.node)
    kept_because = None
    try:
        simplified = pool_means(_onnxsim(original))
        kept_because = difference(original, simplified, artifact.spec, "simplified")
    except (
        Exception
    ) as error:  # onnxsim, onnx and onnxruntime share no base class for theirs; the reason is kept and told
        kept_because = f"simplification failed: {first_line(error)}"
    graph = original if kept_because else simplified
    note = kept_because or f"onnxsim {onnxsim.__version__}"
    contract = replace(
        artifact.contract,
        provenance={**artifact.contract.provenance, SIMPLIFIED: note, "source_sha256": artifact.sha256},
    )
    written = save_artifact(graph, contract, out)
    return Simplification(written, before, len(graph.graph.node), kept_because)


def simplify_given(given: Artifact, out: Path) -> Simplification | None:
    """A working copy of a file that nobody has simplified yet; None where that was tried before.

    The copy keeps the sha256 of the file given: ranges measured on it, and what is made of it, belong to that file.

    Raises:
        InputError: `out` cannot be written, or onnxsim is not installed.
    """
    if SIMPLIFIED in given.contract.provenance:
        return None
    done = simplify(given, out)
    return replace(done, artifact=replace(done.artifact, sha256=given.sha256))


def _onnxsim(model: onnx.ModelProto) -> onnx.ModelProto:
    simplified, same = require_extra("onnxsim", "export").simplify(model, check_n=0)  # the check is ours, below
    if not same:
        raise RuntimeError("onnxsim could not validate its result")
    result: onnx.ModelProto = simplified
    return result


def pool_means(model: onnx.ModelProto) -> onnx.ModelProto:
    """Rule 2 of the module: ReduceMean over the two spatial axes -> GlobalAveragePool, [N, C, 1, 1] -> [N, C] -> Flatten."""
    model = onnx.shape_inference.infer_shapes(model)
    rank = {v.name: len(v.type.tensor_type.shape.dim) for v in (*model.graph.value_info, *model.graph.input)}
    constant = constants(model)
    pooled: set[str] = set()
    nodes = []
    for node in model.graph.node:
        if node.op_type == "ReduceMean" and rank.get(node.input[0]) == 4 and reduced_axes(node, constant) == {2, 3}:
            if keeps_axes(node):
                pooled.add(node.output[0])
            nodes += _pooled(node)
            continue
        if node.op_type == "Reshape" and node.input[0] in pooled and rank.get(node.output[0]) == 2:
            node = helper.make_node("Flatten", [node.input[0]], list(node.output), name=node.name, axis=1)
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused_initializers(model)
    onnx.checker.check_model(model)
    return model


def _pooled(mean: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The same mean as GlobalAveragePool, with a Flatten behind it where the axes are dropped."""
    (result,) = mean.output
    if keeps_axes(mean):
        return [helper.make_node("GlobalAveragePool", [mean.input[0]], [result], mean.name)]
    pool = helper.make_node("GlobalAveragePool", [mean.input[0]], [f"{result}.pooled"], f"{mean.name or result}.pool")
    return [pool, helper.make_node("Flatten", [f"{result}.pooled"], [result], mean.name, axis=1)]


def difference(original: onnx.ModelProto, changed: onnx.ModelProto, spec: ModelSpec, how: str) -> str | None:
    """Why the two graphs do not answer alike on faces and on noise, or None when they do; `how` it was changed is in the text."""
    faces = to_input(synthetic_faces(CHECKED_FACES, seed=2).images, spec.preprocess)
    noise = np.random.default_rng(2).standard_normal(faces.shape, dtype=np.float32)
    for kind, inputs in (("faces", faces), ("noise", noise)):
        before, after = _run(original, spec, inputs), _run(changed, spec, inputs)
        worst, allowed = float(np.abs(before - after).max()), TOLERANCE * max(1.0, float(np.abs(before).max()))
        if not worst <= allowed:
            return f"the {how} graph differs by {worst:.3g} on {kind}, allowed {allowed:.3g}"
        flipped = int((before.argmax(1) != after.argmax(1)).sum())
        if flipped and kind == "faces":
            return f"the {how} graph decides otherwise on {flipped} of {len(inputs)} faces"
    return None


def _run(model: onnx.ModelProto, spec: ModelSpec, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    session = open_unoptimised(model.SerializeToString())
    (answer,) = session.run([spec.output_name], {spec.input_name: inputs})
    return np.asarray(answer, dtype=np.float32)
