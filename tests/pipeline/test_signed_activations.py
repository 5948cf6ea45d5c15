"""Signed and unsigned activations are the same numbers, shifted by 128: their files share every scale."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import numpy_helper

from rarn_edge.contract.artifact import Artifact
from rarn_edge.contract.targets import Target
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.runtime.logits import run_logits
from rarn_edge.runtime.providers import open_session

if TYPE_CHECKING:
    from rarn_edge.pipeline.quantize import Quantized


def activations(artifact: Artifact) -> dict[str, tuple[float, int]]:
    """Scale and zero point of every activation that is quantized, by the tensor's name."""
    model = onnx.load(artifact.path)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {
        node.input[0]: (float(constants[node.input[1]]), int(constants[node.input[2]]))
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }


def test_scales_are_the_same_and_zero_points_shifted(int8: "Mapping[Target, Quantized]") -> None:
    signed, unsigned = (activations(int8[target].artifact) for target in (Target.ARM, Target.X86_VNNI))
    assert signed.keys() == unsigned.keys()
    for tensor, (scale, zero) in unsigned.items():
        np.testing.assert_allclose(signed[tensor][0], scale, rtol=1e-6, err_msg=tensor)
        assert signed[tensor][1] + 128 == zero, tensor


def test_answers_are_the_same(int8: "Mapping[Target, Quantized]") -> None:
    """To within a rounding: the kernels differ."""
    faces = synthetic_faces(32, 9).images
    signed, unsigned = (
        run_logits(open_session(int8[target].artifact.path), int8[target].artifact.spec, faces)
        for target in (Target.ARM, Target.X86_VNNI)
    )
    assert np.abs(signed - unsigned).max() < 0.05 * np.abs(unsigned).max()
