"""The contract of a foreign file, as far as its graph and its user tell; what is missing is named, never guessed.

A user says it by options, or in a TOML file:

name = "my-net"
classes = ["angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]   # in the order of the outputs
output = "logits"                                                               # or "probabilities"
preprocess = { height_px = 64, width_px = 64, mean = [127.5], std = [127.5] }   # three values each for RGB
"""

import json
import re
from dataclasses import dataclass, fields
from shlex import quote
from typing import Any

from rarn_edge.boundary.names import printable, unfit_name
from rarn_edge.contract.interface import Answer, ImageInput, Interface
from rarn_edge.contract.preprocess import check_pixel_values
from rarn_edge.contract.spec import SCHEMA_VERSION, Color, ModelSpec, Output, Preprocess
from rarn_edge.errors import InputError

_KEYS = tuple(each.name for each in fields(ModelSpec))
_PREPROCESS_KEYS = tuple(each.name for each in fields(Preprocess))


@dataclass(frozen=True)
class Said:
    """What a user says of a file; None or nothing: left to the graph, where it tells."""

    classes: tuple[str, ...] = ()  # in the order of the outputs
    name: str | None = None
    color: Color | None = None
    mean: tuple[float, ...] = ()  # a channel, of pixels 0..255
    std: tuple[float, ...] = ()
    size: tuple[int, int] | None = None  # height, width in pixels
    output: Output | None = None


@dataclass(frozen=True)
class Missing:
    """One thing that the graph does not tell."""

    key: str  # of the TOML file
    option: str  # as on a command line, with a placeholder
    why: str


@dataclass(frozen=True)
class Notice:
    """What was recognised in the graph."""

    text: str
    label: str = ""  # `warning`, where it may not be what was meant


@dataclass(frozen=True)
class Draft:
    """A contract in the making: the keys of a `ModelSpec`, what is missing, and what was recognised."""

    data: dict[str, Any]
    missing: tuple[Missing, ...]
    notices: tuple[Notice, ...]
    image: ImageInput
    answer: Answer

    def command(self, file: str) -> str:
        """The `stamp` command that is missing nothing but the placeholders in capitals."""
        words = [f"rarn-edge stamp {quote(file)}", *(each.option for each in self.missing), "-o OUT.onnx"]
        return " ".join(words)

    def spec(self, source: str) -> ModelSpec:
        """The finished contract.

        Raises:
            InputError: what is missing or wrong, by its key.
        """
        if self.missing:
            listed = "; ".join(f"{each.option} ({each.why})" for each in self.missing)
            raise InputError(
                f"{source}: the graph does not tell everything. Still needed: {listed}.\n"
                f"Or write it down: rarn-edge stamp {quote(source)} --init spec.toml"
            )
        return ModelSpec.from_dict({"schema_version": SCHEMA_VERSION, **self.data})

    def to_toml(self, file: str) -> str:
        """The TOML file to edit: complete but for what is missing, which is an empty list or text with a comment."""
        why = {each.key: each.why for each in self.missing}
        size: dict[str, Any] = self.data["preprocess"]
        lines = [f"# What {json.dumps(file)} expects and answers; then: rarn-edge stamp FILE --spec THIS -o OUT.onnx"]
        for key, empty in (("name", ""), ("classes", []), ("output", "logits")):
            lines.append(_line(key, self.data.get(key, empty), why.get(key, "")))
        lines += [f"# {notice.text}" for notice in self.notices]
        lines += [_line(key, self.data[key], "") for key in ("input_name", "output_name")]
        lines += [_line(key, self.data[key], "") for key in ("input_dtype", "layout") if key in self.data]
        lines.append("\n[preprocess]")
        for key, nothing in (("height_px", 0), ("width_px", 0), ("color", ""), ("mean", []), ("std", [])):
            if key in size or key in why:
                lines.append(_line(key, size.get(key, nothing), why.get(key, "")))
        return "\n".join(lines) + "\n"


def draft(interface: Interface, said: Said, output_name: str | None = None) -> Draft:
    """Put together what the graph tells and what a user says.

    Raises:
        InputError: the file takes no pictures or answers no classes, or the two contradict each other.
    """
    image, answer = interface.image(), interface.answer(output_name)
    path = interface.path
    missing: list[Missing] = []
    notices: list[Notice] = []
    data: dict[str, Any] = {"name": said.name or _name_of(path.stem)}
    data |= {"input_name": image.name, "output_name": answer.name}
    if image.dtype != "float32":
        data["input_dtype"] = image.dtype
    if image.layout != "NCHW":
        data["layout"] = image.layout
    count = answer.classes
    if said.classes:
        if count is not None and len(said.classes) != count:
            raise InputError(f"{path}: the graph answers {count} classes, --classes names {len(said.classes)}")
        data["classes"] = list(said.classes)
    else:
        missing.append(Missing("classes", f"--classes {_placeholders(count)}", _names_wanted(answer)))
    data["output"] = said.output or ("probabilities" if answer.ending == "softmax" else "logits")
    notices += _on_ending(answer, said.output)
    preprocess, absent = _preprocess(interface, image, said, notices)
    data["preprocess"] = preprocess
    return Draft(data, (*missing, *absent), tuple(notices), image, answer)


def merge(made: Draft, written: dict[str, Any], source: str) -> dict[str, Any]:
    """The keys of a TOML file over those that the graph tells.

    Raises:
        InputError: an unknown or missing key, or values that cannot be right.
    """
    preprocess = written.get("preprocess", {})
    if not isinstance(preprocess, dict):
        raise InputError(f"{source}: preprocess is a table such as {{ mean = [127.5], std = [127.5] }}")
    for table, keys, known in (("", written, _KEYS), ("preprocess.", preprocess, _PREPROCESS_KEYS)):
        for key in keys:
            if key not in known:
                raise InputError(f"{source}: no key '{table}{printable(key)[:40]}'; known: {', '.join(known)}")
    told: dict[str, Any] = made.data["preprocess"]
    whole: dict[str, Any] = {key: told[key] for key in ("height_px", "width_px") if key in told}
    whole |= preprocess
    if made.image.dtype != "float32":  # the graph normalises pixels itself
        whole = {"mean": told.get("mean"), "std": told.get("std")} | whole
    for key in ("mean", "std", "height_px", "width_px"):
        if whole.get(key) is None:
            raise InputError(f"{source}: preprocess.{key} is missing{_EXAMPLES.get(key, '')}")
    if not written.get("classes"):
        raise InputError(f"{source}: classes is missing: {_names_wanted(made.answer)}")
    check_pixel_values(whole["mean"], whole["std"], source, as_keys=True)
    return {**made.data, **written, "preprocess": whole}


_EXAMPLES = {
    "mean": ", such as mean = [127.5] for gray or mean = [123.675, 116.28, 103.53] for RGB, of pixels 0..255",
    "std": ", such as std = [127.5] for gray or std = [58.395, 57.12, 57.375] for RGB, of pixels 0..255",
    "height_px": ": the graph leaves it free",
    "width_px": ": the graph leaves it free",
}


def _preprocess(
    interface: Interface, image: ImageInput, said: Said, notices: list[Notice]
) -> tuple[dict[str, Any], list[Missing]]:
    path = interface.path
    found: dict[str, Any] = {}
    missing: list[Missing] = []
    height, width = said.size or (image.height_px, image.width_px)
    for name, asked, declared in (("height", height, image.height_px), ("width", width, image.width_px)):
        if declared is not None and asked != declared:
            raise InputError(f"{path}: the graph takes a {name} of {declared}, --size says {asked}")
    if height is None or width is None:
        missing.append(
            Missing("height_px", "--size SIDE", "height and width are free in the graph; such as 224, or 224x192")
        )
    found |= {key: side for key, side in (("height_px", height), ("width_px", width)) if side is not None}
    channels = (
        image.channels
        or (3 if len(said.mean) == 3 else None)
        or _channels_of(said.color)
        or (1 if len(said.mean) == 1 else None)
    )
    if channels == 1 and said.color in ("rgb", "bgr"):
        raise InputError(f"{path}: the graph has 1 channel, so its pictures are gray, not {said.color.upper()}")
    if said.color is not None and (said.color != "rgb" or channels is None) and (said.color != "gray" or channels != 1):
        found["color"] = said.color  # gray of one channel and RGB of three need no key
    if said.color is None and channels != 1:
        missing.append(
            Missing(
                "color",
                "--rgb",
                "--rgb or --bgr is the order of the channels; --gray: one channel, or gray three times",
            )
        )
    if image.dtype == "uint8":  # the graph takes the pixels and normalises them itself
        found |= {"mean": [0.0] * (channels or 1), "std": [1.0] * (channels or 1)}
        if said.mean or said.std:
            raise InputError(
                f"{path}: the graph takes uint8 pixels and normalises them itself; leave out --mean and --std"
            )
        notices.append(Notice("takes uint8 pixels, which it normalises itself"))
        return found, missing
    for key, values in (("mean", said.mean), ("std", said.std)):
        if values and channels is not None and len(values) not in (1, channels):
            raise InputError(
                f"{path}: --{key} has {len(values)} values, the graph has {channels} channel"
                f"{'' if channels == 1 else 's'}: give {'1' if channels == 1 else f'1 for all or {channels}'}"
            )
        if values:
            found[key] = list(values) * (channels or 1) if len(values) == 1 else list(values)
        else:
            letters = ",".join([key[0].upper()] * (channels or 1))
            why = "the training's, a channel, of pixels 0..255; x / 255 is --mean 0 --std 255"
            missing.append(Missing(key, f"--{key} {letters}", why if key == "mean" else "likewise"))
    if said.mean and said.std:
        check_pixel_values(said.mean, said.std, str(path))
        if set(said.mean) == {0.0} and set(said.std) == {1.0}:
            notices.append(Notice("takes the pixels as they are, 0..255; a network that takes 0..1 has --std 255"))
    return found, missing


def _on_ending(answer: Answer, said: Output | None) -> list[Notice]:
    if answer.ending == "softmax" and said == "logits":
        text = "ends in a softmax, so its answers are probabilities, not logits: a second softmax would blur them"
        return [Notice(text, "warning")]
    if answer.ending == "softmax":
        return [Notice("ends in a softmax: its answers are probabilities")]
    if answer.ending == "log-softmax":
        return [Notice("ends in a log-softmax, whose answers serve as logits")]
    if answer.ending == "sigmoid":
        text = "ends in a sigmoid, one yes or no a class; here the highest class is taken, its share is no probability"
        return [Notice(text, "warning")]
    return []


def _names_wanted(answer: Answer) -> str:
    return f"{'' if answer.classes is None else f'{answer.classes} '}names, in the order of the outputs"


def _placeholders(count: int | None) -> str:
    if count is None or count > 4:
        return "A,B,C,..."
    return ",".join("ABCD"[:count])


def _channels_of(color: Color | None) -> int | None:
    return {None: None, "gray": 1, "rgb": 3, "bgr": 3}[color]


def _name_of(stem: str) -> str:
    """A file's stem as the name of a model."""
    name = re.sub(r"[/\\]|\.\.+", "-", printable(stem))[:60]
    return name if unfit_name(name) is None else "model"


def _line(key: str, value: object, why: str) -> str:
    return f"{key} = {json.dumps(value, ensure_ascii=False)}" + (f"  # fill in: {why}" if why else "")
