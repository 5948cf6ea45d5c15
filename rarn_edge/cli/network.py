"""The options that say what a network of one's own takes, for every command that builds one."""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rarn_edge.cli.inputs import one_colour, read_size, read_values
from rarn_edge.errors import InputError, require_extra

if TYPE_CHECKING:
    from rarn_edge.models.find import NetworkInput
    from rarn_edge.models.network import Network

TAKES = "takes"
PANEL = "A network of your own (or a TOML beside its file)"


def _option(kind: Any, *names: str, text: str) -> Any:
    return Annotated[kind, typer.Option(*names, help=text, rich_help_panel=PANEL)]


_OPTIONS: dict[str, tuple[Any, object]] = {
    "size": (_option(str | None, "--size", text="Its images: 224, or 224x160 (height x width)"), None),
    "gray": (_option(bool, "--gray", text="One channel"), False),
    "rgb": (_option(bool, "--rgb", text="Three channels: red, green, blue"), False),
    "bgr": (_option(bool, "--bgr", text="Three channels: blue, green, red"), False),
    "mean": (_option(str | None, "--mean", text="Per channel, in pixel values 0..255: 123.7,116.3,103.5"), None),
    "std": (_option(str | None, "--std", text="The same of the deviation: 58.4,57.1,57.4"), None),
}


def says_input(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options above; it is called with their meaning, a `NetworkInput`, as `takes`."""

    @wraps(command)
    def called(**options: Any) -> None:
        command(**{TAKES: read_input(**{name: options.pop(name) for name in _OPTIONS})}, **options)

    signature = inspect.signature(command)
    kept = [parameter for parameter in signature.parameters.values() if parameter.name != TAKES]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _OPTIONS.items()
    ]
    called.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]  # typer reads it
    called.__annotations__ = {each.name: each.annotation for each in (*kept, *added)}
    return called


def chosen_network(model: str, takes: "NetworkInput") -> "Network":
    """The network that `--model` and the options above name."""
    require_extra("torch", "export")
    from rarn_edge.models.find import find_network

    return find_network(model, takes)


def network_if_named(model: str | None, takes: "NetworkInput") -> "Network | None":
    """The same; None where `--model` is absent and weights may tell.

    Raises:
        InputError: no such network, or options that describe none.
    """
    if model is None and not takes.says_nothing:
        raise InputError("--size, --rgb, --mean and the like say what a network takes; name it with --model")
    return None if model is None else chosen_network(model, takes)


def read_input(size: str | None, gray: bool, rgb: bool, bgr: bool, mean: str | None, std: str | None) -> "NetworkInput":
    """From texts to values.

    Raises:
        InputError: naming the option to mend.
    """
    from rarn_edge.models.find import NetworkInput

    color = one_colour({"gray": gray, "rgb": rgb, "bgr": bgr})
    given = ((mean, "--mean"), (std, "--std"))
    means, stds = (None if text is None else read_values(text, name) for text, name in given)
    for name, values in (("--mean", means), ("--std", stds)):
        needed = 1 if color == "gray" else 3
        if values is not None and color is not None and len(values) != needed:
            raise InputError(f"{name} has {len(values)} value{'s' * (len(values) > 1)}, and --{color} needs {needed}")
    if means is not None and stds is not None and len(means) != len(stds):
        raise InputError(f"--mean has {len(means)} values and --std {len(stds)}; give one for each channel in both")
    height_px, width_px = (None, None) if size is None else read_size(size)
    return NetworkInput(height_px, width_px, color, means, stds)
