"""A second graph output for looking inside: the mask of the angle-sensitive attention, beside the logits.

For a debug file alone: a file for a board keeps one output, and its attention fused.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from rarn_edge.contract.artifact import Artifact, open_unoptimised
from rarn_edge.contract.preprocess import to_input
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import GateError, InputError
from rarn_edge.files import check_output
from rarn_edge.pipeline.graph import load_graph, save_artifact

OUTPUT = "attention"


def expose_attention(source: Artifact, out: Path) -> Artifact:
    """Write `source` with the further output `attention` [N, 1, h, w], 0..1; the logits stay what they are.

    Raises:
        InputError: the graph has no such mask, or it has that output already.
        GateError: the logits changed.
    """
    check_output(out)
    model = load_graph(source.path)
    if OUTPUT in [value.name for value in model.graph.output]:
        raise InputError(f"{source.path}: has the output '{OUTPUT}' already")
    mask, shape = _find_mask(model, str(source.path))
    model.graph.node.append(helper.make_node("Identity", [mask], [OUTPUT], name="expose_attention"))
    model.graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", *shape]))
    written = save_artifact(model, source.contract, out)
    _check_same_logits(source, written)
    return written


def _find_mask(model: onnx.ModelProto, name: str) -> tuple[str, list[int]]:
    """The one sigmoid with a single channel and two sides: its output and shape without the batch."""
    typed = onnx.shape_inference.infer_shapes(model).graph.value_info
    shapes = {value.name: [axis.dim_value for axis in value.type.tensor_type.shape.dim] for value in typed}
    sigmoids = [node.output[0] for node in model.graph.node if node.op_type == "Sigmoid"]
    masks = [output for output in sigmoids if len(shapes.get(output, ())) == 4 and shapes[output][1] == 1]
    if len(masks) != 1:
        raise InputError(f"{name}: {len(masks)} attention masks in the graph, expected one (a RARN model)")
    return masks[0], shapes[masks[0]][1:]


def _check_same_logits(before: Artifact, after: Artifact) -> None:
    spec = before.spec
    inputs = to_input(synthetic_faces(7, seed=5).images, spec.preprocess)
    first, second = (
        open_unoptimised(artifact.path).run([spec.output_name], {spec.input_name: inputs})[0]
        for artifact in (before, after)
    )
    if not np.array_equal(first, second):
        after.path.unlink()
        raise GateError(f"{after.path.name}: the logits changed by {np.abs(first - second).max():.3g}; not kept")
