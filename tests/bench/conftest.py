"""Tiny ONNX files that run in microseconds."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from rarn_edge.contract.artifact import METADATA_KEY, Contract

MakeOnnx = Callable[..., Path]


@pytest.fixture(scope="session")
def make_onnx(tmp_path_factory: pytest.TempPathFactory) -> MakeOnnx:
    """Write a Relu on `shape`, by default [n, 1, 4, 4] float32; further inputs are added to the first."""

    def make(
        name: str,
        shape: tuple[int | str, ...] = ("n", 1, 4, 4),
        inputs: int = 1,
        element: int = TensorProto.FLOAT,
        contract: Contract | None = None,
    ) -> Path:
        names = ["input", *(f"extra{index}" for index in range(1, inputs))]
        values = [helper.make_tensor_value_info(each, element, shape) for each in names]
        answer = helper.make_tensor_value_info("logits", element, shape)
        nodes = [helper.make_node("Max", names, ["most"]), helper.make_node("Identity", ["most"], ["logits"])]
        graph = helper.make_graph(nodes, name, values, [answer])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        if contract is not None:
            helper.set_model_props(model, {METADATA_KEY: contract.to_json()})
        path = tmp_path_factory.mktemp("onnx") / f"{name}.onnx"
        onnx.save(model, path)
        return path

    return make


@pytest.fixture(scope="session")
def make_qdq_onnx(tmp_path_factory: pytest.TempPathFactory) -> MakeOnnx:
    """Write a Relu between a QuantizeLinear and a DequantizeLinear on [n, 4] float32."""

    def make(name: str) -> Path:
        value = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 4])
        answer = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 4])
        constants = [
            helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1]),
            helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["input", "scale", "zero"], ["bytes"]),
            helper.make_node("DequantizeLinear", ["bytes", "scale", "zero"], ["back"]),
            helper.make_node("Relu", ["back"], ["logits"]),
        ]
        graph = helper.make_graph(nodes, name, [value], [answer], constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
        path = tmp_path_factory.mktemp("onnx") / f"{name}.onnx"
        onnx.save(model, path)
        return path

    return make
