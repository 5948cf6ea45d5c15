"""What a model expects and what it answers, as data.

Preprocessing and class order that live outside the model file are the field's most repeated source of wrong answers;
so both are one frozen value that is embedded in every file this project writes.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, Literal, get_args

from rarn_edge.boundary.names import printable, unfit_name
from rarn_edge.errors import InputError, first_line

SCHEMA_VERSION = 1

CLASSES = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""The project's one class order. Data sets are mapped to it by name, never by index."""

# What float32 can compute with, far beyond what images need: outside, answers are NaN or all alike.
MAX_MEAN, MIN_STD, MAX_STD = 1e6, 1e-3, 1e6
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0

FERPLUS_CLASSES = (*CLASSES, "contempt")
"""The classes of FER+ (Barsoum 2016, arXiv:1608.01041): FER-2013's seven in the same order, then contempt."""

FER2013 = "fer2013"  # one label a face, as the challenge published it
FERPLUS = "ferplus"  # the majority of ten people's votes
UNKNOWN = "unknown"  # nobody said whose labels they are
MAX_CLASSES = 1000
LABEL_CLASSES: dict[str, tuple[str, ...]] = {FERPLUS: FERPLUS_CLASSES, FER2013: CLASSES}
"""The classes of each label set that models with weights in this package have; the first is the default."""


def are_expressions(classes: Iterable[str]) -> bool:
    """Whether these are classes of faces that this package knows; a model of others may be of any pictures."""
    return set(classes) <= set(FERPLUS_CLASSES)


Output = Literal["logits", "probabilities"]
InputDtype = Literal["float32", "uint8"]
Color = Literal["gray", "rgb", "bgr"]
"""What the channels of a graph are; three channels of `gray` are the same pixels three times."""
Interpolation = Literal["auto", "bilinear"]
"""`auto`: area average when both sides shrink, bilinear otherwise."""
Layout = Literal["NCHW", "NHWC"]


@dataclass(frozen=True)
class Preprocess:
    """How a uint8 picture becomes the network's input: colour, crop, one resize, then `(pixel - mean) / std` per channel.

    `mean` and `std` are in the order of `color`, as the graph takes its channels. The default mean of 128 and deviation of
    64 are FER-2013's (129.5 and 65.0) rounded so that `(pixel - 128) / 64` is exact in float32 and equal to dequantizing the
    raw byte with zero point 128 and scale 1/64.
    """

    height_px: int = 48
    width_px: int = 48
    mean: tuple[float, ...] = (128.0,)  # per channel, in pixel values 0..255
    std: tuple[float, ...] = (64.0,)
    color: Color | None = None  # None becomes `gray` for one channel and `rgb` for three
    interpolation: Interpolation = "auto"  # auto: the area average where the picture shrinks, else bilinear
    crop: float = 0.0  # share of what fits of a centred part of the output's shape; 0: stretch the whole picture

    def __post_init__(self) -> None:
        _require(
            _is_size(self.height_px) and _is_size(self.width_px), "height_px and width_px are whole numbers 1..4096"
        )
        _require(len(self.mean) in (1, 3), "mean has 1 (gray) or 3 (colour) values")
        _require(len(self.mean) == len(self.std), "mean and std have the same number of values")
        if self.color is None:
            object.__setattr__(self, "color", "gray" if self.channels == 1 else "rgb")
        _require(self.color in get_args(Color), f"color is one of {get_args(Color)}")
        _require(self.color == "gray" or self.channels == 3, f"color {self.color!r} needs three values of mean and std")
        _require(self.interpolation in get_args(Interpolation), f"interpolation is one of {get_args(Interpolation)}")
        _require(_is_finite(self.crop) and 0 <= self.crop <= 1, "crop is a share of 0 (stretch) to 1")
        _require(all(_is_finite(value) for value in (*self.mean, *self.std)), "mean and std are finite numbers")
        _require(all(abs(value) <= MAX_MEAN for value in self.mean), f"mean is at most {MAX_MEAN:g} in size")
        _require(all(MIN_STD <= value <= MAX_STD for value in self.std), f"std is {MIN_STD:g} to {MAX_STD:g}")

    @property
    def channels(self) -> int:
        """1 or 3, of the graph's input."""
        return len(self.mean)

    @property
    def in_colour(self) -> bool:
        """Whether pictures keep their colours."""
        return self.color != "gray"

    def describe(self) -> str:
        """What is done to a picture before its pixels are numbers, in words."""
        channels = {"rgb": "red, green, blue", "bgr": "blue, green, red"}.get(str(self.color), "gray")
        repeated = " three times" if self.color == "gray" and self.channels == 3 else ""
        size = f"{self.height_px} x {self.width_px} (height x width)"
        how = "bilinear" if self.interpolation == "bilinear" else "area average, or bilinear where a side grows"
        part = f"the middle {self.crop:g} of it" if self.crop else "the whole"
        return f"{channels}{repeated}; {part}, resized to {size} by {how}"

    @property
    def picture_shape(self) -> tuple[int, ...]:
        """Of one picture ready for the network: (height, width), or (height, width, 3) in colour."""
        size = (self.height_px, self.width_px)
        return (*size, 3) if self.in_colour else size

    @property
    def pixels_alike(self) -> tuple[object, ...]:
        """Two models with the same value here are shown the same pixels (normalisation and channel order come after)."""
        return (*self.picture_shape, self.interpolation, self.crop)


@dataclass(frozen=True)
class ModelSpec:
    """The contract of one model: its name, input, output and class order."""

    name: str
    classes: tuple[str, ...] = CLASSES
    preprocess: Preprocess = field(default_factory=Preprocess)
    output: Output = "logits"
    input_name: str = "input"
    output_name: str = "logits"
    temperature: float = 1.0  # logits are divided by it before the softmax
    input_dtype: InputDtype = "float32"  # uint8: the graph takes the pixels and normalises them itself
    label_source: str = ""  # `fer2013`, `ferplus` or another; not said: by the classes, or `unknown`
    layout: Layout = "NCHW"  # the order of the graph's input axes

    def __post_init__(self) -> None:
        if self.label_source == "":
            object.__setattr__(self, "label_source", FER2013 if self.classes == CLASSES else UNKNOWN)
        _require((why := unfit_name(self.name)) is None, f"name is {why}")
        for key in ("input_name", "output_name", "label_source"):  # a graph's names may hold '/'
            value = getattr(self, key)
            fits = isinstance(value, str) and 0 < len(value) <= 200 and printable(value) == value
            _require(fits, f"{key} is a printable text of 1 to 200 characters")
        _require(
            isinstance(self.classes, tuple) and 2 <= len(self.classes) <= MAX_CLASSES,
            f"classes is a list of 2 to {MAX_CLASSES} names",
        )
        for name in self.classes:
            _require((why := unfit_name(name)) is None, f"each class is {why}")
        _require(len(set(self.classes)) == len(self.classes), "class names are unique")
        _require(self.output in get_args(Output), f"output is one of {get_args(Output)}")
        _require(self.input_dtype in get_args(InputDtype), f"input_dtype is one of {get_args(InputDtype)}")
        _require(self.layout in get_args(Layout), f"layout is one of {get_args(Layout)}")
        _require(
            _is_finite(self.temperature) and MIN_TEMPERATURE <= self.temperature <= MAX_TEMPERATURE,
            f"temperature is {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}",
        )

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary with the schema version; what was not there in its first files is left out at its default."""
        found = asdict(self)
        preprocess = found["preprocess"]
        usual = Preprocess(mean=self.preprocess.mean, std=self.preprocess.std)
        for key in ("color", "interpolation", "crop"):
            if preprocess[key] == getattr(usual, key):
                del preprocess[key]
        if self.layout == "NCHW":
            del found["layout"]
        return {"schema_version": SCHEMA_VERSION, **found}

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Of one picture in the graph: (C, H, W), or (H, W, C) for NHWC."""
        size = self.preprocess
        if self.layout == "NHWC":
            return size.height_px, size.width_px, size.channels
        return size.channels, size.height_px, size.width_px

    @classmethod
    def from_dict(cls, data: object) -> "ModelSpec":
        """Read what `to_dict` wrote.

        Raises:
            InputError: another schema version, a missing or unknown key, or a value out of range.
        """
        _require(isinstance(data, dict), "the spec is a JSON object")
        assert isinstance(data, dict)
        fields = dict(data)
        version = fields.pop("schema_version", None)
        _require(version == SCHEMA_VERSION, f"schema_version is {SCHEMA_VERSION}, found {version!r}")
        preprocess = fields.pop("preprocess", None)
        _require(isinstance(preprocess, dict), "preprocess is an object with height_px, width_px, mean and std")
        assert isinstance(preprocess, dict)
        for holder, key in ((fields, "classes"), (preprocess, "mean"), (preprocess, "std")):
            _require(isinstance(holder.get(key), list | tuple), f"{key} is a list")
        unknown = [key for key in (*fields, *preprocess) if key not in _KEYS]
        _require(
            not unknown, f"no key {', '.join(repr(printable(key)[:40]) for key in unknown)}; known: {', '.join(_KEYS)}"
        )
        _require("name" in fields, "name is missing")
        try:
            whole: dict[str, Any] = {
                key: tuple(value) if isinstance(value, list) else value for key, value in preprocess.items()
            }
            return cls(preprocess=Preprocess(**whole), **{**fields, "classes": tuple(fields["classes"])})
        except (
            TypeError,
            ValueError,
            OverflowError,
        ) as error:  # a key in the wrong place, a value that cannot be compared
            raise InputError(f"not a valid model spec: {first_line(error)}") from error

    def to_json(self) -> str:
        return json.dumps(self.to_dict())


_KEYS = tuple(
    each.name for kind in (ModelSpec, Preprocess) for each in dataclass_fields(kind) if each.name != "preprocess"
)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 4096


def _is_finite(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) < 10**18  # float() of a longer one overflows
    return isinstance(value, float) and math.isfinite(value)


def _require(condition: bool, rule: str) -> None:
    if not condition:
        raise InputError(f"not a valid model spec: {rule}")
