"""The contract of a model: what it holds survives JSON, and what is impossible is refused by name."""

import json
import math
from typing import Any

import pytest

from rarn_edge.contract.spec import CLASSES, SCHEMA_VERSION, ModelSpec, Preprocess
from rarn_edge.errors import InputError


def test_one_class_order() -> None:
    assert CLASSES == ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
    assert ModelSpec("x").classes == CLASSES


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("rarn-s"),
        ModelSpec(
            "other",
            classes=("no", "yes"),
            preprocess=Preprocess(75, 64, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)),
            output="probabilities",
            input_name="data",
            output_name="softmax",
            temperature=1.7,
        ),
    ],
)
def test_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_dict(json.loads(spec.to_json())) == spec
    assert json.loads(spec.to_json())["schema_version"] == SCHEMA_VERSION


def test_channels() -> None:
    assert Preprocess().channels == 1
    assert Preprocess(mean=(1.0, 2.0, 3.0), std=(1.0, 1.0, 1.0)).channels == 3


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"height_px": 0}, "height_px and width_px are whole numbers 1..4096"),
        ({"width_px": 4097}, "height_px and width_px"),
        ({"width_px": 48.0}, "height_px and width_px"),
        ({"width_px": True}, "height_px and width_px"),
        ({"mean": (1.0, 2.0), "std": (1.0, 2.0)}, r"mean has 1 \(gray\) or 3 \(colour\) values"),
        ({"mean": (1.0,), "std": (1.0, 1.0, 1.0)}, "mean and std have the same number of values"),
        ({"mean": (math.nan,)}, "mean and std are finite"),
        ({"std": (math.inf,)}, "mean and std are finite"),
        ({"mean": ("128",)}, "mean and std are finite"),
        ({"std": (0.0,)}, "std is 0.001 to 1e\\+06"),
        ({"std": (1e-300,)}, "std is 0.001"),
        ({"std": (1e300,)}, "std is 0.001"),
        ({"mean": (1e300,)}, "mean is at most 1e\\+06"),
        ({"mean": (10**400,)}, "mean and std are finite"),
    ],
)
def test_impossible_preprocessing(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=f"not a valid model spec: {rule}"):
        Preprocess(**arguments)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"name": ""}, "name is a text of 1 to 200 bytes"),
        ({"name": 3}, "name is a text"),
        ({"name": "../../x"}, "name is without '/'"),
        ({"name": "/abs/x"}, "name is without '/'"),
        ({"name": "a\\b"}, "name is without"),
        ({"name": "\x1b]0;owned\x07"}, "name is without control characters"),
        ({"classes": ("a", "b\n")}, "each class is without control"),
        ({"classes": ("a", "../b")}, "each class is without"),
        ({"classes": "abcdefg"}, "classes is a list"),
        ({"output_name": "a\x1b"}, "output_name is a printable"),
        ({"input_name": "x" * 201}, "input_name is a printable"),
        ({"classes": ("one",)}, "classes is a list of 2 to 1000 names"),
        ({"classes": ("a", "a")}, "class names are unique"),
        ({"classes": ("a", "")}, "each class is a text"),
        ({"output": "scores"}, "output is one of"),
        ({"temperature": 0.0}, "temperature is 0.01 to 100"),
        ({"temperature": 1e-300}, "temperature is"),
        ({"temperature": 1e300}, "temperature is"),
        ({"temperature": 10**400}, "temperature is"),
        ({"temperature": math.nan}, "temperature is 0.01"),
    ],
)
def test_impossible_spec(arguments: dict[str, Any], rule: str) -> None:
    with pytest.raises(InputError, match=f"not a valid model spec: {rule}"):
        ModelSpec(**{"name": "x", **arguments})


def edited(**changes: object) -> dict[str, Any]:
    return {**json.loads(ModelSpec("x").to_json()), **changes}


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        edited(schema_version=SCHEMA_VERSION + 1),
        edited(schema_version=None),
        edited(unknown_key=1),
        edited(preprocess=None),
        edited(preprocess=[]),
        edited(preprocess={"mean": [1.0]}),
        edited(preprocess={"mean": 1.0, "std": 1.0}),
        edited(preprocess={"mean": [1.0], "std": [1.0], "gamma": 2}),
        edited(classes=None),
        edited(classes=[["a"], ["b"]]),
        edited(temperature="warm"),
        edited(classes="abcdefg"),
        edited(temperature=10**400),
        edited(output=["logits"]),
        edited(name=None),
        {key: value for key, value in edited().items() if key != "classes"},
        {key: value for key, value in edited().items() if key != "preprocess"},
        {key: value for key, value in edited().items() if key != "name"},
    ],
)
def test_nonsense_is_refused_and_nothing_else_is_raised(data: object) -> None:
    with pytest.raises(InputError, match="not a valid model spec"):
        ModelSpec.from_dict(data)


def test_from_dict_leaves_its_argument_alone() -> None:
    data = edited()
    ModelSpec.from_dict(data)
    assert data == edited()
