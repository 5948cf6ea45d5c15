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

    color = one_colour(colours)
    answers: Output | None = None if output is None else one_of(output, get_args(Output), "kind of answers")
    names = () if classes is None else tuple(part.strip() for part in classes.split(","))
    means, stds = (
        () if text is None else read_values(text, option) for text, option in ((mean, "--mean"), (std, "--std"))
    )
    return Said(names, name, color, means, stds, None if size is None else read_size(size), answers)


def one_colour(colours: "dict[Color, bool]") -> "Color | None":
    """Of --gray, --rgb and --bgr the one that was given.

    Raises:
        InputError: several.
    """
    chosen = [color for color, is_chosen in colours.items() if is_chosen]
    if len(chosen) > 1:
        raise InputError(f"--{' and --'.join(chosen)} contradict each other; give one of them")
    return chosen[0] if chosen else None


def read_values(text: str, option: str) -> tuple[float, ...]:
    """`127.5` or one number a channel: `123.7,116.3,103.5`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option} takes a number for each channel, such as 127.5 or 123.7,116.3,103.5; found '{text}'"
        ) from error


def read_size(text: str) -> tuple[int, int]:
    """`224` or `224x160`, height first."""
    height, cross, width = text.lower().partition("x")
    sides = [height, width if cross else height]
    if not all(side.isascii() and side.isdigit() and 1 <= int(side[:9]) <= 4096 for side in sides):
        raise InputError(f"--size takes 1 to 4096 pixels, such as 224 or 224x160 (height x width); found '{text}'")
    return int(sides[0]), int(sides[1])


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
