"""Make `tiny.onnx`, the network of the tests that run without torch and onnx: python tests/device/make_tiny.py [OUT]

[n, 1, 48, 48] -> mean of each 12x12 field -> [n, 16] -> linear -> logits [n, 7]; seeded weights, no meaning.
"""

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.contract.artifact import Contract
from rarn_edge.contract.spec import ModelSpec
from rarn_edge.onnx_graph import save_artifact


def main(out: Path) -> None:
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((16, 7)).astype(np.float32)
    bias = np.linspace(-0.3, 0.3, 7, dtype=np.float32)
    nodes = [
        helper.make_node("AveragePool", ["input"], ["fields"], kernel_shape=[12, 12], strides=[12, 12]),
        helper.make_node("Flatten", ["fields"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, 48, 48])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    provenance = {"made_by": "tests/device/make_tiny.py", "weights_sha256": "71" * 32}
    contract = Contract(ModelSpec("tiny"), parameters=weight.size + bias.size, provenance=provenance)
    save_artifact(model, contract, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("tiny.onnx"))
