"""From option texts to values, with errors that name the option."""

from typing import TYPE_CHECKING, Any, get_args

from rarn_edge.boundary.limits import MAX_BATCH
from rarn_edge.errors import InputError

if TYPE_CHECKING:
    from rarn_edge.contract.spec import InputDtype
    from rarn_edge.stats.histograms import Method


def read_method(text: str) -> "Method":
    """A calibration method by name."""
    from rarn_edge.stats.histograms import Method

    method: Method = one_of(text, get_args(Method), "calibration method")
    return method


def read_input_dtype(text: str) -> "InputDtype":
    """`float32` or `uint8`."""
    from rarn_edge.contract.spec import InputDtype

    dtype: InputDtype = one_of(text, get_args(InputDtype), "input type")
    return dtype


def one_of(text: str, choices: tuple[Any, ...], what: str) -> Any:
    """`text` as the choice it is, whose literal type `get_args` loses."""
    if text not in choices:
        raise InputError(f"no {what} '{text}'; one of: {', '.join(choices)}")
    return text


def read_numbers(text: str, option: str) -> tuple[int, ...]:
    """`1,8,32` -> (1, 8, 32)."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} takes whole numbers such as 1,8,32; found '{text}'") from error
    if max(numbers) > MAX_BATCH:
        raise InputError(f"{option} takes numbers of at most {MAX_BATCH:,}")
    if min(numbers) < 1:
        raise InputError(f"{option} takes numbers of at least 1; found {min(numbers)}")
    return numbers
