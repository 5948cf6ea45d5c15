"""JSON becomes dataclasses strictly, and what is wrong is named with its place."""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest

from rarn_edge.decode import decode, encode, key
from rarn_edge.errors import InputError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    label: str
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True)
class Own:
    """Reads and writes itself."""

    doubled: int

    def to_dict(self) -> dict[str, int]:
        return {"twice": 2 * self.doubled}

    @classmethod
    def from_dict(cls, data: dict[str, int]) -> "Own":
        return cls(data["twice"] // 2)


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    rows: tuple[Inner, ...]
    pair: tuple[int, str]
    ratio: float
    kind: Literal["fast", "slow"]
    colour: Colour
    path: Path
    by_name: dict[str, Inner]
    own: Own
    anything: Any
    maybe: int | None = None
    is_on: bool = False
    launches: int = field(default=1, metadata=key("starts"))


WHOLE = Outer(
    name="n",
    inner=Inner("a", (1.0, 2.5)),
    rows=(Inner("b"), Inner("c", (3.0,))),
    pair=(1, "x"),
    ratio=0.5,
    kind="slow",
    colour=Colour.BLUE,
    path=Path("a/b.onnx"),
    by_name={"one": Inner("d")},
    own=Own(4),
    anything={"free": [1, None]},
    maybe=None,
    is_on=True,
    launches=5,
)


def test_what_is_written_is_read_again() -> None:
    data = json.loads(json.dumps(encode(WHOLE)))
    assert data["starts"] == 5
    assert data["own"] == {"twice": 8}
    assert data["colour"] == "blue"
    assert decode(Outer, data) == WHOLE


def test_defaults_may_be_left_out_and_a_float_may_be_whole() -> None:
    data = encode(WHOLE)
    for name in ("maybe", "is_on", "starts"):
        del data[name]
    found = decode(Outer, {**data, "ratio": 2})
    assert (found.maybe, found.is_on, found.launches, found.ratio) == (None, False, 1, 2.0)
    assert isinstance(found.ratio, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 5}, r"^name: text is needed, found 5$"),
        ({"inner": {"seconds": []}}, r"^inner: the key 'label' is missing$"),
        ({"rows": [{"label": "b"}, {"label": "c", "colour": 1}]}, r"^rows\[1\]: unknown key 'colour'; known: label, seconds$"),
        ({"rows": [{"label": "b", "seconds": [1, "two"]}]}, r"^rows\[0\]\.seconds\[1\]: a number is needed, found 'two'$"),
        ({"rows": "abc"}, r"^rows: a list is needed, found 'abc'$"),
        ({"pair": [1]}, r"^pair: a list of 2 is needed, found \[1\]$"),
        ({"pair": [True, "x"]}, r"^pair\[0\]: a whole number is needed, found True$"),
        ({"ratio": None}, r"^ratio: a number is needed, found None$"),
        ({"kind": "medium"}, r"^kind: one of fast, slow is needed, found 'medium'$"),
        ({"colour": "green"}, r"^colour: one of red, blue is needed, found 'green'$"),
        ({"path": 3}, r"^path: a path is needed, found 3$"),
        ({"by_name": {"one": []}}, r"^by_name\.one: an object is needed, found \[\]$"),
        ({"maybe": "1"}, r"^maybe: a whole number is needed, found '1'$"),
        ({"is_on": 1}, r"^is_on: true or false is needed, found 1$"),
        ({"launches": 3}, r"^unknown key 'launches'; known: name, .*starts$"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        decode(Outer, {**encode(WHOLE), **change})


@pytest.mark.parametrize("data", [None, 5, "text", []])
def test_what_is_no_object_is_refused(data: object) -> None:
    with pytest.raises(InputError, match="an object is needed"):
        decode(Outer, data)


def test_a_long_value_is_cut() -> None:
    with pytest.raises(InputError) as caught:
        decode(Inner, {"label": list(range(1000))})
    assert len(str(caught.value)) < 100
