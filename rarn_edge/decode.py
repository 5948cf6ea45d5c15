"""JSON to frozen dataclasses by their type hints, and back: the one reader of recorded results.

`decode` is strict: a key that is missing, unknown or holds another type is an error that names its place. A field declared
with `field(metadata=key("name"))` has that name in JSON.
"""

import types
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from rarn_edge.errors import InputError

T = TypeVar("T")


def key(name: str) -> dict[str, str]:
    """The `metadata` of a dataclass field that JSON calls `name`."""
    return {"key": name}


def decode(kind: type[T], data: object) -> T:
    """An instance of the dataclass `kind` from parsed JSON.

    Hints may be dataclasses, `tuple`, `dict` with text keys, `Literal`, `X | None`, enumerations of text, `Path`, `Any`, and
    the types of JSON. A nested class with a `from_dict` of its own is read by that; `float` also takes whole numbers.

    Raises:
        InputError: `rows[3].batch: a whole number is needed, found 'x'`.
    """
    try:
        return cast("T", _dataclass(kind, data))
    except _MismatchError as error:
        place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in reversed(error.path))
        raise InputError(f"{place.lstrip('.')}: {error.reason}" if place else error.reason) from error


def encode(value: Any) -> dict[str, Any]:
    """What `decode` reads: the JSON-ready fields of a dataclass."""
    return {name: _encoded(getattr(value, each.name)) for name, (each, _) in _fields(cast("Any", type(value))).items()}


class _MismatchError(Exception):
    """What is wrong, and where, innermost step first."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []


@cache
def _fields(kind: type) -> dict[str, tuple[Field[Any], Any]]:
    """By JSON key: the field and its resolved hint."""
    hints = get_type_hints(kind)
    return {each.metadata.get("key", each.name): (each, hints[each.name]) for each in fields(kind)}


def _dataclass(kind: type, data: object) -> object:
    if not isinstance(data, dict):
        raise _mismatch("an object", data)
    known = _fields(cast("Any", kind))
    for name in data:
        if name not in known:
            raise _MismatchError(f"unknown key '{name}'; known: {', '.join(known)}")
    values = {}
    for name, (each, hint) in known.items():
        if name in data:
            values[each.name] = _at(name, hint, data[name])
        elif each.default is MISSING and each.default_factory is MISSING:
            raise _MismatchError(f"the key '{name}' is missing")
    return kind(**values)


def _at(step: str | int, hint: Any, data: object) -> object:
    try:
        return _value(hint, data)
    except _MismatchError as error:
        error.path.append(step)
        raise


_NAMES = {
    float: "a number",
    int: "a whole number",
    str: "text",
    bool: "true or false",
    dict: "an object",
    tuple: "a list",
}


def _value(hint: Any, data: Any) -> object:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin in (Union, types.UnionType):  # X | None
        return None if data is None else _value(next(each for each in arguments if each is not type(None)), data)
    if origin is Literal and data not in arguments:
        raise _mismatch(f"one of {', '.join(map(str, arguments))}", data)
    if origin in _NAMES:
        wanted = {float: (int, float), tuple: (list, tuple)}.get(origin, origin)
        if not isinstance(data, wanted) or (isinstance(data, bool) and origin is not bool):
            raise _mismatch(_NAMES[origin], data)
    if origin is float:
        return float(data)
    if origin is tuple:
        if arguments[-1] is not Ellipsis and len(data) != len(arguments):
            raise _mismatch(f"a list of {len(arguments)}", data)
        parts = arguments if arguments[-1] is not Ellipsis else [arguments[0]] * len(data)
        return tuple(_at(index, part, data[index]) for index, part in enumerate(parts))
    if origin is dict:
        return {name: _at(str(name), arguments[1], each) for name, each in data.items()}
    if is_dataclass(origin):
        own = getattr(origin, "from_dict", None)
        return _dataclass(cast("type", origin), data) if own is None else own(data)
    if isinstance(origin, type) and issubclass(origin, Enum | Path):
        try:
            return origin(data)
        except (ValueError, TypeError) as error:
            raise _mismatch("a path" if issubclass(origin, Path) else f"one of {', '.join(origin)}", data) from error
    return data


def _mismatch(wanted: str, data: object) -> _MismatchError:
    text = repr(data)
    return _MismatchError(f"{wanted} is needed, found {text if len(text) <= 60 else f'{text[:57]}...'}")


def _encoded(value: Any) -> Any:
    if is_dataclass(value):
        own = getattr(value, "to_dict", None)
        return encode(value) if own is None else own()
    if isinstance(value, dict):
        return {name: _encoded(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_encoded(each) for each in value]
    return value.value if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value
