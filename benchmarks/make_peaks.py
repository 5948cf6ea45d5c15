"""Make rarn_edge/assets/peak_*.onnx, the matrix products that measure a machine's limit: python benchmarks/make_peaks.py

`input` [n, 512] times a constant [512, 512]. The constant is written as a ConstantOfShape, which ONNX Runtime folds and packs
when it opens the file: the file stays under 200 bytes, and the product runs as one with real weights would.
"""

import argparse
from pathlib import Path

import onnx
from onnx import TensorProto, helper

SIDE = 512
ASSETS = Path(__file__).parent.parent / "rarn_edge" / "assets"


def product(operator: str, element: int, answer: int, weight: onnx.TensorProto) -> onnx.ModelProto:
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["weight"], value=weight),
        helper.make_node(operator, ["input", "weight"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "peak",
        [helper.make_tensor_value_info("input", element, ["n", SIDE])],
        [helper.make_tensor_value_info("output", answer, ["n", SIDE])],
        [helper.make_tensor("shape", TensorProto.INT64, [2], [SIDE, SIDE])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()  # there are no options: --help alone changes nothing
    float_weight = helper.make_tensor("value", TensorProto.FLOAT, [1], [0.01])
    int8_weight = helper.make_tensor("value", TensorProto.INT8, [1], [3])
    onnx.save(product("MatMul", TensorProto.FLOAT, TensorProto.FLOAT, float_weight), ASSETS / "peak_float32.onnx")
    onnx.save(product("MatMulInteger", TensorProto.UINT8, TensorProto.INT32, int8_weight), ASSETS / "peak_int8.onnx")


if __name__ == "__main__":
    main()
