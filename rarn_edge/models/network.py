"""A network as everything here builds it: one of the catalog, a function in a file of yours, or an installed package's.

Code of others runs in `Network.build` and nowhere else; what goes wrong in it is told in its own words.
"""

import contextlib
import copy
import inspect
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rarn_edge.boundary.terminal import spoken_into
from rarn_edge.contract.spec import MAX_CLASSES, UNKNOWN, ModelSpec, Preprocess
from rarn_edge.errors import InputError, first_line

if TYPE_CHECKING:  # a device has no torch
    from torch import Tensor, nn

Builder = Callable[..., "nn.Module"]
"""Makes a network with fresh weights; given `num_classes` and `in_channels` by keyword, each if it takes it."""

_PACKAGE = Path(__file__).parents[1]
OFFERED = ("num_classes", "in_channels")


@dataclass(frozen=True)
class Network:
    """What can be built, trained and exported.

    Attributes:
        spec: Its contract; training replaces the classes by those of its data.
        builder: Makes the module.
        reference: What `--model` names it by: `rarn-s`, or `my_net.py:build`.
        own: Not of this package.
        says_classes: Whether anybody named the classes; otherwise they are the seven expressions.
        says_input: Whether the caller said what it takes; otherwise weights say it, over a TOML beside its file.
        as_it_is: A module in memory, whose parameters are what counts; `builder` copies it.
    """

    spec: ModelSpec
    builder: Builder
    reference: str
    own: bool = False
    says_input: bool = False
    says_classes: bool = True
    as_it_is: bool = False

    @property
    def name(self) -> str:
        return self.spec.name

    def for_spec(self, spec: ModelSpec) -> "Network":
        """The same with the classes and the input of its weights.

        Raises:
            InputError: it was said to take another input.
        """
        if self.says_input and spec.preprocess != self.spec.preprocess:
            raise InputError(
                f"the weights of '{spec.name}' were trained on {described(spec.preprocess)}, and {self.reference} is said"
                f" to take {described(self.spec.preprocess)};\nleave out --size, --rgb, --mean and --std, for weights know it"
            )
        return replace(self, spec=spec)

    def with_its_outputs(self) -> "Network":
        """The same with a class for each output, `class 0` and so on, where nobody named any and its code decides how many.

        Raises:
            InputError: as `build`.
        """
        if self.says_classes or "num_classes" in _taken(self.builder, self.reference):
            return self
        import torch

        preprocess = self.spec.preprocess
        shape = (2, preprocess.channels, preprocess.height_px, preprocess.width_px)  # [N, C, H, W]
        module = self.build().eval()
        with torch.no_grad(), _in_their_words(self, f"its network, shown {list(shape)}, raised"):
            answer = module(torch.zeros(shape))
        if not isinstance(answer, torch.Tensor) or answer.ndim != 2 or not 2 <= answer.shape[1] <= MAX_CLASSES:
            return self  # what is wrong with it is said by `check`
        unnamed = tuple(f"class {index}" for index in range(answer.shape[1]))
        return replace(self, spec=replace(self.spec, classes=unnamed, label_source=UNKNOWN))

    def build(self, num_classes: int | None = None, in_channels: int | None = None) -> "nn.Module":
        """The module with fresh weights: [N, in_channels, H, W] float32 -> logits [N, num_classes] (default: as its spec says).

        Raises:
            InputError: code of one's own needs other arguments, raises, or makes no module.
        """
        from torch import nn

        offered = {
            "num_classes": len(self.spec.classes) if num_classes is None else num_classes,
            "in_channels": self.spec.preprocess.channels if in_channels is None else in_channels,
        }
        taken = () if self.as_it_is else _taken(self.builder, self.reference)
        given = ", ".join(f"{name}={offered[name]}" for name in taken)
        with _in_their_words(self, f"given {given}, it raised" if given else "it raised"):
            made = self.builder(**{name: offered[name] for name in taken})
        if not isinstance(made, nn.Module):
            raise InputError(
                f"{self.reference}: it made {_a(type(made).__name__)}, and a torch.nn.Module is needed; return the network"
            )
        self._give_sizes(made, offered["in_channels"])
        return made

    def _give_sizes(self, module: "nn.Module", in_channels: int) -> None:
        """Lazy layers (`nn.LazyLinear`) have no parameters before they meet an image."""
        import torch
        from torch.nn.parameter import is_lazy

        if not any(map(is_lazy, (*module.parameters(), *module.buffers()))):
            return
        shape = (2, in_channels, self.spec.preprocess.height_px, self.spec.preprocess.width_px)  # [N, C, H, W]
        was_training = module.training
        with torch.no_grad(), _in_their_words(self, f"its network, shown {list(shape)}, raised"):
            module.eval()(torch.zeros(shape))
        module.train(was_training)

    def check(self, module: "nn.Module", training: bool = False) -> None:
        """Show a network of one's own two, three and one blank images, so that what it cannot do is said before the work.

        `training`: also as it answers while it trains.

        Raises:
            InputError: it takes other than one image, raises, or answers other than [N, classes] numbers or with probabilities.
        """
        if not self.own:
            return
        import torch

        preprocess, classes = self.spec.preprocess, len(self.spec.classes)
        needed = _needed(module.forward)
        if needed is not None and len(needed) != 1:
            raise InputError(
                f"{self.reference}: its network takes {len(needed)} inputs ({', '.join(needed) or 'none'});"
                " it is shown one tensor of images [N, C, H, W], so make the others attributes of the module"
            )
        for count, mode in ((2, False), (3, False), (1, False), *(((2, True),) if training else ())):
            shape = (count, preprocess.channels, preprocess.height_px, preprocess.width_px)  # [N, C, H, W]
            with _in_their_words(self, "its network cannot be copied (copy.deepcopy):"):
                shown = copy.deepcopy(module).train(mode)  # its statistics stay as they are
            with (
                torch.no_grad(),
                torch.random.fork_rng(),
                _in_their_words(self, f"its network, shown {list(shape)}, raised"),
            ):
                answer = shown(torch.zeros(shape))
            when = " while it trains" if mode else ""
            if not isinstance(answer, torch.Tensor):
                raise InputError(
                    f"{self.reference}: its network answers {_said(answer)}{when}; logits [N, {classes}] are needed"
                )
            if list(answer.shape) != [count, classes] or not answer.is_floating_point():
                raise InputError(
                    f"{self.reference}: its network answers {list(answer.shape)} {_dtype(answer)} to"
                    f" {count} image{'s' if count > 1 else ''}{when};"
                    f" [{count}, {classes}] float32 is needed, one logit for each of: {', '.join(self.spec.classes[:10])}"
                    f"{', ...' if classes > 10 else ''}{self._advice(answer)}"
                )
            if self.spec.output == "logits" and bool((answer >= 0).all()) and _sums_to_one(answer):
                raise InputError(
                    f"{self.reference}: its network answers probabilities{when}, and logits are needed: leave out its softmax"
                )

    def _advice(self, answer: "Tensor") -> str:
        if answer.ndim == 2 and not self.as_it_is and "num_classes" not in _taken(self.builder, self.reference):
            return (
                f"\nGive {self.reference} a parameter num_classes and build its last layer with it, or name its classes in"
                ' the TOML beside it: classes = ["a", "b"]'
            )
        return ""


def _taken(builder: Builder, reference: str) -> tuple[str, ...]:
    """Which of the offered arguments a callable takes.

    Raises:
        InputError: it needs others.
    """
    try:
        parameters = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):  # a callable written in C says nothing of itself
        return OFFERED
    named = [p for p in parameters if p.kind is not p.VAR_POSITIONAL]
    missing = [
        p.name
        for p in named
        if p.default is p.empty
        and p.kind is not p.VAR_KEYWORD
        and (p.name not in OFFERED or p.kind is p.POSITIONAL_ONLY)
    ]
    if missing:
        raise InputError(
            f"{reference}: it needs the argument{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it is given"
            f" {' and '.join(OFFERED)} by keyword and nothing else, so give the others a default"
        )
    if any(p.kind is p.VAR_KEYWORD for p in named):
        return OFFERED
    return tuple(name for name in OFFERED if name in {p.name for p in named})


def _needed(forward: Callable[..., Any]) -> list[str] | None:
    """The names of the arguments that must be given; None where it takes any number."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):  # of TorchScript, which says nothing of itself
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    optional = [p.name for p in parameters if p.default is not p.empty and p.kind is not p.KEYWORD_ONLY]
    return needed or optional[:1]


@contextlib.contextmanager
def _in_their_words(network: Network, what: str) -> Iterator[None]:
    """What code of others raises becomes one line; what it prints goes to stderr, for stdout is for results."""
    if not network.own:
        yield
        return
    with their_code(f"{network.reference}: {what}"):
        yield


@contextlib.contextmanager
def their_code(what: str) -> Iterator[None]:
    """As above, for code that is no network yet; `what` happened begins the message.

    Raises:
        InputError: the code raised, or ended the program.
    """
    try:
        with spoken_into(None):
            yield
    except (InputError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # any kind: it is not our code
        raise InputError(f"{what} {type(error).__name__}: {first_line(error)}{_place(error)}") from error


def _place(error: BaseException) -> str:
    """Where in code of one's own: the last place that is of no installed package."""
    places = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not Path(frame.filename).is_relative_to(_PACKAGE) and "site-packages" not in frame.filename
    ]
    return f" ({Path(places[-1].filename).name}, line {places[-1].lineno})" if places else ""


def described(takes: Preprocess) -> str:
    """The pictures that a network takes, in words: `64x64 rgb, mean 123.7,116.3,103.5, std 58.4,57.1,57.4`."""
    mean, std = (",".join(f"{value:g}" for value in values) for values in (takes.mean, takes.std))
    return f"{takes.height_px}x{takes.width_px} {takes.color}, mean {mean}, std {std}"


def _sums_to_one(answer: "Tensor") -> bool:
    """Each row: a softmax at the end, which neither a loss nor `predict` expects."""
    return bool(((answer.sum(dim=1) - 1).abs() < 1e-4).all())


def _a(kind: str) -> str:
    return "None" if kind == "NoneType" else f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"


def _dtype(answer: "Tensor") -> str:
    return str(answer.dtype).removeprefix("torch.")


def _said(answer: object) -> str:
    if isinstance(answer, tuple | list):
        return f"{len(answer)} values in {_a(type(answer).__name__)}"
    return _a(type(answer).__name__)
