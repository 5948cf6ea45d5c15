"""From option texts to values, with errors that name the option."""

from typing import TYPE_CHECKING, get_args

from rarn_edge.boundary.limits import MAX_BATCH
from rarn_edge.boundary.names import one_of
from rarn_edge.errors import InputError

if TYPE_CHECKING:
    from rarn_edge.contract.draft import Said
    from rarn_edge.contract.spec import Color, InputDtype, Layout
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


def read_layout(text: str) -> "Layout":
    """`nchw` or `nhwc`."""
    from rarn_edge.contract.spec import Layout

    layout: Layout = one_of(text.upper(), get_args(Layout), "layout")
    return layout


def read_said(
    classes: str | None,
    name: str | None,
    colours: "dict[Color, bool]",
    mean: str | None,
    std: str | None,
    size: str | None,
    output: str | None,
) -> "Said":
    """What the options say of a foreign file."""
    from rarn_edge.contract.draft import Said
    from rarn_edge.contract.spec import Output

    chosen = [color for color, is_chosen in colours.items() if is_chosen]
    if len(chosen) > 1:
        raise InputError(f"--{' and --'.join(chosen)} contradict each other; give one of them")
    answers: Output | None = None if output is None else one_of(output, get_args(Output), "kind of answers")
    names = () if classes is None else tuple(part.strip() for part in classes.split(","))
    return Said(
        names, name, next(iter(chosen), None), _values(mean, "--mean"), _values(std, "--std"), _size(size), answers
    )


def _values(text: str | None, option: str) -> tuple[float, ...]:
    try:
        return () if text is None else tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} takes a number a channel, such as 127.5 or 123.675,116.28,103.53") from error


def _size(text: str | None) -> tuple[int, int] | None:
    """`224` or `224x192`, height first."""
    if text is None:
        return None
    height, _, width = text.partition("x")
    try:
        return int(height), int(width or height)
    except ValueError as error:
        raise InputError(f"--size takes a side in pixels such as 224, or HEIGHTxWIDTH; found '{text}'") from error


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
