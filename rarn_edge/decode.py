"""JSON to frozen dataclasses by their type hints, and back: the one reader of recorded results.

`decode` is strict: a key that is missing, unknown or holds another type is an error that names its place. A field declared
with `field(metadata=key("name"))` has that name in JSON.
"""

import types
from collections.abc import Mapping, Sequence
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

    Hints may be dataclasses, `tuple`, `list`, `dict` with text keys, `Literal`, unions, enumerations, `Path`, `Any` and the
    types of JSON. A nested class with a `from_dict` of its own is read by that; `float` also takes whole numbers.

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


_NAMES = {float: "a number", int: "a whole number", str: "text", bool: "true or false"}


def _value(hint: Any, data: object) -> object:
    if hint in _NAMES:
        wanted = (int, float) if hint is float else hint
        if not isinstance(data, wanted) or (isinstance(data, bool) and hint is not bool):
            raise _mismatch(_NAMES[hint], data)
        return float(cast("float", data)) if hint is float else data
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _union(arguments, data)
    if origin is Literal:
        if data not in arguments:
            raise _mismatch(f"one of {', '.join(map(str, arguments))}", data)
        return data
    if origin in (tuple, list):
        if not isinstance(data, list | tuple):
            raise _mismatch("a list", data)
        if origin is list or arguments[-1] is Ellipsis:
            return origin(_at(index, arguments[0], each) for index, each in enumerate(data))
        if len(data) != len(arguments):
            raise _mismatch(f"a list of {len(arguments)}", data)
        return tuple(_at(index, part, each) for index, (part, each) in enumerate(zip(arguments, data, strict=True)))
    if origin in (dict, Mapping):
        if not isinstance(data, dict):
            raise _mismatch("an object", data)
        return {str(name): _at(str(name), arguments[1], each) for name, each in data.items()}
    if is_dataclass(hint):
        own = getattr(hint, "from_dict", None)
        return _dataclass(cast("type", hint), data) if own is None else own(data)
    if isinstance(hint, type) and issubclass(hint, Enum | Path):
        try:
            return hint(cast("str", data))
        except (ValueError, TypeError) as error:
            raise _mismatch("a path" if issubclass(hint, Path) else f"one of {', '.join(hint)}", data) from error
    return data  # Any


def _union(options: Sequence[Any], data: object) -> object:
    """The first option that fits."""
    if data is None and type(None) in options:
        return None
    *others, last = (each for each in options if each is not type(None))
    for option in others:
        try:
            return _value(option, data)
        except _MismatchError:
            continue
    return _value(last, data)


def _mismatch(wanted: str, data: object) -> _MismatchError:
    text = repr(data)
    return _MismatchError(f"{wanted} is needed, found {text if len(text) <= 60 else f'{text[:57]}...'}")


def _encoded(value: Any) -> Any:
    if is_dataclass(value):
        own = getattr(value, "to_dict", None)
        return encode(value) if own is None else own()
    if isinstance(value, Mapping):
        return {name: _encoded(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value
