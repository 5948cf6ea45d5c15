"""Files that mean harm, or were harmed: models, images and archives that every command must refuse or survive."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from rarn_edge.contract.artifact import Artifact, Contract
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.onnx_graph import stamp

TINY = Path(__file__).parents[1] / "device" / "tiny.onnx"


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A copy of the smallest model, free to be harmed."""
    folder = tmp_path / "model"
    folder.mkdir()
    return Path(shutil.copyfile(TINY, folder / "tiny.onnx"))


Changed = Callable[..., Path]


@pytest.fixture
def changed(tmp_path: Path) -> Changed:
    """`changed("x.onnx", lambda model: ...)`: the smallest model with its graph or its contract changed."""

    def make(
        file: str,
        /,
        graph: Callable[[onnx.ModelProto], None] | None = None,
        contract: Contract | None = None,
        **spec: Any,
    ) -> Path:
        model = onnx.load(TINY)
        known = Artifact.load(TINY).contract
        if graph is not None:
            graph(model)
        stamp(model, contract or replace(known, spec=replace(known.spec, **spec)))
        path = tmp_path / file
        onnx.save(model, path)
        return path

    return make


def fill(name: str, value: float) -> Callable[[onnx.ModelProto], None]:
    """Set one weight of the tensor `name`."""

    def change(model: onnx.ModelProto) -> None:
        tensor = next(each for each in model.graph.initializer if each.name == name)
        values = numpy_helper.to_array(tensor).copy()
        values.flat[0] = value
        tensor.CopyFrom(numpy_helper.from_array(values, name))

    return change


def rotated_classes(model: onnx.ModelProto) -> None:
    """Every class answers for its neighbour."""
    for tensor in model.graph.initializer:
        values = np.roll(numpy_helper.to_array(tensor), 1, axis=-1)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def other_classes(count: int) -> Callable[[onnx.ModelProto], None]:
    """`count` answers, as many as a calculation at run time gives: the graph does not declare it, nor can it be inferred."""

    def change(model: onnx.ModelProto) -> None:
        for tensor in model.graph.initializer:
            values = np.resize(numpy_helper.to_array(tensor), (*tensor.dims[:-1], count)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        model.graph.node[-1].output[0] = "all"
        model.graph.initializer.append(numpy_helper.from_array(np.ones(count, dtype=np.float32), "ones"))
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, dtype=np.float32), "nothing"))
        model.graph.node.extend(
            [
                helper.make_node("ReduceMax", ["input"], ["largest"], keepdims=0),
                helper.make_node("Mul", ["largest", "nothing"], ["none"]),
                helper.make_node("Add", ["ones", "none"], ["some"]),
                helper.make_node("NonZero", ["some"], ["places"]),
                helper.make_node("Squeeze", ["places"], ["order"]),
                helper.make_node("Gather", ["all", "order"], ["logits"], axis=1),
            ]
        )
        model.graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "classes"]))

    return change


def one_image_at_once(model: onnx.ModelProto) -> None:
    """A free batch axis outside, a fixed one inside."""
    flatten = next(node for node in model.graph.node if node.op_type == "Flatten")
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 16], dtype=np.int64), "shape"))
    flatten.CopyFrom(helper.make_node("Reshape", ["fields", "shape"], ["flat"]))


@pytest.fixture
def face(tmp_path: Path) -> Path:
    """One face crop as a PNG file."""
    path = tmp_path / "face.png"
    assert cv2.imwrite(str(path), synthetic_faces(1, seed=3).images[0])
    return path


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """A folder of four face crops."""
    folder = tmp_path / "crops"
    folder.mkdir()
    for index, image in enumerate(synthetic_faces(4, seed=4).images):
        assert cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
