"""Training recipes as data: everything that decides a run except the model, the images and the seed."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError


@dataclass(frozen=True)
class Augmentation:
    """Random changes of one training image; a range of r means uniform in -r..r. Drawn anew for each image and epoch."""

    flip_horizontal: float = 0.5  # probability
    flip_vertical: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 0.0  # zoom by a factor in 1-r..1+r
    shift_x: float = 0.0  # fraction of the width
    shift_y: float = 0.0  # fraction of the height
    least_area: float = 1.0  # a random crop of at least this share of the area is stretched to the whole image
    most_area: float = 1.0
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"  # of turns, zoom, shifts and crops; bilinear blurs
    brightness: float = 0.0  # factor in 1-r..1+r on the pixel values
    contrast: float = 0.0  # factor in 1-r..1+r on the distance from the image's mean
    erase: float = 0.0  # probability of one rectangle of 2 to 20 % of the area filled with noise


@dataclass(frozen=True)
class Recipe:
    """One way to train."""

    name: str
    epochs: int
    batch: int
    learning_rate: float  # the highest one
    schedule: Literal["step", "cosine"]  # step: x0.9 every three epochs; cosine: to zero, after `warmup_epochs`
    augmentation: Augmentation
    warmup_epochs: float = 0.0
    momentum: float = 0.0  # Nesterov when above 0
    weight_decay: float = 0.0  # on convolution and linear weights only
    label_smoothing: float = 0.0
    ema_decay: float = 0.0  # of the averaged weights that are measured and exported; 0: no averaging
    mixup: float = 0.0  # both parameters of the Beta distribution that mixes pairs of faces; 0: no mixing
    teacher_share: float = 0.0  # of the loss, when there are teachers: the rest is the labels'
    teacher_temperature: float = 1.0
    live_teachers: bool = False  # asked about each batch as the model sees it, instead of once about each face
    crop_px: int = 0  # side of the crops, at the image's own scale, that the first epochs see; 0: whole images
    crop_share: float = 0.0  # of the epochs
    rounded_for: Target | None = None  # weights and activations are rounded as in its INT8 file, statistics stay
    drawn: int = 0  # drawn faces that are learnt beside the others, under the expression that was drawn
    backbone_rate: float = 1.0  # of the learning rate, for every layer but the classifier

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint and a file's header."""
        return {**asdict(self), "rounded_for": None if self.rounded_for is None else self.rounded_for.value}


PAPER = Recipe(
    # Sections 4.2 and 4.3, Table 1. Gray images: random grayscale and hue change nothing. Flips: the table gives no value, 0.5
    # is torchvision's default. Width shift 0.75 and vertical flips harm a face classifier; they are the paper's.
    name="paper",
    epochs=33,
    batch=64,
    learning_rate=0.01,
    schedule="step",
    augmentation=Augmentation(
        flip_horizontal=0.5,
        flip_vertical=0.5,
        rotation_deg=90.0,
        shift_x=0.75,
        shift_y=0.28,
        brightness=0.2,
        contrast=0.2,
    ),
)

EDGE = Recipe(
    name="edge",
    epochs=34,
    batch=64,
    learning_rate=0.05,
    schedule="cosine",
    warmup_epochs=1.0,
    momentum=0.9,
    weight_decay=5e-4,
    label_smoothing=0.1,
    ema_decay=0.999,
    augmentation=Augmentation(
        flip_horizontal=0.5,
        rotation_deg=20.0,
        scale=0.15,
        shift_x=0.1,
        shift_y=0.1,
        interpolation="bicubic",
        brightness=0.2,
        contrast=0.2,
        erase=0.25,
    ),
    teacher_share=0.5,
    teacher_temperature=2.0,
)

EDGE_DISTILLED = replace(
    # A net from random weights that has teachers: their answers smooth the labels, and crops make three of four epochs cheaper.
    EDGE,
    name="edge-distilled",
    epochs=32,
    label_smoothing=0.0,
    augmentation=replace(EDGE.augmentation, rotation_deg=30.0, scale=0.12, erase=0.15),
    crop_px=40,
    crop_share=0.75,
)

EDGE_TAUGHT = replace(
    # A trained net (--init) and teachers, on whole images: their answers count more than the labels; erasing and mixing keep it
    # from learning its faces by heart.
    EDGE,
    name="edge-taught",
    epochs=64,
    label_smoothing=0.0,
    augmentation=replace(EDGE.augmentation, rotation_deg=30.0, scale=0.12),
    mixup=0.2,
    teacher_share=0.7,
)

EDGE_SETTLE = replace(
    # The last epochs of a trained net (--init), at a low rate: faces as it will meet them, turned and otherwise hardly changed.
    EDGE_TAUGHT,
    name="edge-settle",
    epochs=6,
    batch=128,
    learning_rate=0.005,
    warmup_epochs=0.2,
    augmentation=replace(
        EDGE_TAUGHT.augmentation, rotation_deg=40.0, scale=0.05, shift_x=0.05, shift_y=0.05, erase=0.0
    ),
    mixup=0.0,
    teacher_share=0.5,
    teacher_temperature=1.0,
)

EDGE_TURNED = replace(
    # The same for turned faces: turns of 55 degrees, for which a net needs more epochs and a higher rate.
    EDGE_SETTLE,
    name="edge-turned",
    epochs=16,
    learning_rate=0.01,
    augmentation=replace(EDGE_SETTLE.augmentation, rotation_deg=55.0, scale=0.08),
    teacher_share=0.7,
)

EDGE_BOTH = replace(
    # A small net from random weights that learns both label sets at once (export/train_both.py).
    EDGE_TURNED,
    name="edge-both",
    epochs=180,
    learning_rate=0.08,
    warmup_epochs=2.0,
    weight_decay=3e-4,
    augmentation=replace(EDGE_TURNED.augmentation, rotation_deg=45.0, scale=0.1, shift_x=0.06, shift_y=0.06),
)

EDGE_PARTED = replace(
    # One label set for a net that learned both (--init).
    EDGE_BOTH,
    name="edge-parted",
    epochs=44,
    learning_rate=0.03,
    warmup_epochs=1.0,
)

EDGE_CROSS_FITTED = replace(
    # A trained net (--init) whose teachers never saw the labels of the faces they answer about (export/cross_fit.py): answers at
    # their own temperature, and turns of 45 degrees.
    EDGE_TAUGHT,
    name="edge-cross-fitted",
    epochs=52,
    batch=128,
    augmentation=replace(EDGE_TAUGHT.augmentation, rotation_deg=45.0),
    teacher_share=0.75,
    teacher_temperature=1.0,
)

EDGE_QUANTIZED = replace(
    # The very last epochs, as the INT8 file answers. Labels count more than teachers, whose smooth answers make a net too modest
    # about faces that it knows and too sure of others; drawn faces keep decisions about such faces away from the rounding.
    EDGE_SETTLE,
    name="edge-quantized",
    teacher_share=0.3,
    rounded_for=Target.X86_AVX2,
    drawn=2048,
)

EDGE_TRANSFER = replace(
    # Other classes for a trained net (--init): a new classifier at a full rate, the rest at a tenth; a few hundred images do.
    EDGE,
    name="edge-transfer",
    epochs=12,
    batch=32,
    backbone_rate=0.1,
    augmentation=replace(EDGE.augmentation, rotation_deg=15.0, scale=0.1, erase=0.0),
)

EDGE_NANO = replace(
    # For nets under half a million parameters, which underfit: every regulariser weaker, the teacher stronger.
    EDGE,
    name="edge-nano",
    epochs=100,
    weight_decay=1e-4,
    label_smoothing=0.0,
    augmentation=replace(EDGE.augmentation, rotation_deg=15.0, scale=0.1, erase=0.0),
    teacher_share=0.7,
)

EDGE_NANO_REFINE = replace(
    # For a trained nano net (--init), which by then knows its faces too well: turns of 25 degrees, more zoom, some erasing.
    EDGE_NANO,
    name="edge-nano-refine",
    epochs=64,
    augmentation=replace(EDGE.augmentation, rotation_deg=25.0, erase=0.15),
)

EDGE_TEACHER = replace(
    # A large net from random weights on a GPU. Three that differ know more together than each.
    EDGE,
    name="edge-teacher",
    epochs=100,
    batch=128,
    learning_rate=0.1,
    warmup_epochs=2.0,
)

EDGE_TEACHER_MIXED = replace(
    EDGE_TEACHER,
    name="edge-teacher-mixed",
    augmentation=replace(EDGE_TEACHER.augmentation, rotation_deg=30.0),
    mixup=0.4,
)

EDGE_TEACHER_STRONG = replace(
    EDGE_TEACHER_MIXED,
    name="edge-teacher-strong",
    augmentation=replace(EDGE_TEACHER_MIXED.augmentation, scale=0.2, shift_x=0.12, shift_y=0.12, erase=0.5),
)

EDGE_PATIENT = replace(
    # A net from random weights on a GPU, where teachers can be asked about every changed and mixed face (Beyer 2021,
    # arXiv:2106.05237): there is always something left to learn from them, and it goes on for hundreds of epochs.
    EDGE_TEACHER_MIXED,
    name="edge-patient",
    epochs=360,
    label_smoothing=0.0,
    teacher_share=0.8,
    teacher_temperature=1.0,
    live_teachers=True,
)

EDGE_NANO_PATIENT = replace(
    # The same for nets under half a million parameters, which underfit: every regulariser weaker.
    EDGE_PATIENT,
    name="edge-nano-patient",
    epochs=380,
    weight_decay=1e-4,
    augmentation=replace(EDGE_PATIENT.augmentation, scale=0.1, erase=0.1),
    mixup=0.2,
)

EDGE_BOTH_PATIENT = replace(
    # A trained net (--init) that learns both label sets at once on a GPU and asks teachers about every turned and mixed face.
    EDGE_BOTH,
    name="edge-both-patient",
    epochs=300,
    batch=256,
    learning_rate=0.08,
    weight_decay=5e-4,
    augmentation=replace(EDGE_BOTH.augmentation, rotation_deg=40.0, scale=0.12, shift_x=0.08, shift_y=0.08, erase=0.15),
    mixup=0.2,
    teacher_share=0.7,
    live_teachers=True,
)

EDGE_NANO_BOTH_PATIENT = replace(
    # The same for nets under half a million parameters, which underfit: every regulariser weaker.
    EDGE_BOTH_PATIENT,
    name="edge-nano-both-patient",
    weight_decay=3e-4,
    augmentation=replace(EDGE_BOTH.augmentation, rotation_deg=40.0),
    mixup=0.1,
)

EDGE_SETTLE_PATIENT = replace(
    # Its last epochs, at a low rate: faces as it will meet them.
    EDGE_SETTLE,
    name="edge-settle-patient",
    batch=256,
    learning_rate=0.01,
    teacher_share=0.6,
    live_teachers=True,
)

EDGE_TURNED_PATIENT = replace(
    # The same for turned faces.
    EDGE_SETTLE_PATIENT,
    name="edge-turned-patient",
    augmentation=replace(EDGE_SETTLE_PATIENT.augmentation, rotation_deg=55.0),
)

EDGE_NANO_AGAIN_PATIENT = replace(
    # A trained small net (--init) goes on from a middling rate, with better teachers and wider turns.
    EDGE_NANO_BOTH_PATIENT,
    name="edge-nano-again-patient",
    epochs=64,
    batch=128,
    learning_rate=0.03,
    augmentation=replace(EDGE_NANO_BOTH_PATIENT.augmentation, rotation_deg=48.0),
    teacher_share=0.8,
)

EDGE_QUANTIZED_PATIENT = replace(
    # The very last epochs, as the INT8 file answers, with teachers that are asked about each batch.
    EDGE_SETTLE_PATIENT,
    name="edge-quantized-patient",
    batch=128,
    learning_rate=0.005,
    rounded_for=Target.X86_AVX2,
    drawn=2048,
)

RECIPES = {
    recipe.name: recipe
    for recipe in (
        PAPER,
        EDGE,
        EDGE_DISTILLED,
        EDGE_TAUGHT,
        EDGE_SETTLE,
        EDGE_TURNED,
        EDGE_BOTH,
        EDGE_PARTED,
        EDGE_CROSS_FITTED,
        EDGE_QUANTIZED,
        EDGE_TRANSFER,
        EDGE_NANO,
        EDGE_NANO_REFINE,
        EDGE_TEACHER,
        EDGE_TEACHER_MIXED,
        EDGE_TEACHER_STRONG,
        EDGE_PATIENT,
        EDGE_NANO_PATIENT,
        EDGE_BOTH_PATIENT,
        EDGE_NANO_BOTH_PATIENT,
        EDGE_SETTLE_PATIENT,
        EDGE_TURNED_PATIENT,
        EDGE_NANO_AGAIN_PATIENT,
        EDGE_QUANTIZED_PATIENT,
    )
}

GOES_ON = frozenset(
    recipe.name
    for recipe in (
        EDGE_TAUGHT,
        EDGE_SETTLE,
        EDGE_TURNED,
        EDGE_PARTED,
        EDGE_CROSS_FITTED,
        EDGE_QUANTIZED,
        EDGE_TRANSFER,
        EDGE_NANO_REFINE,
        EDGE_BOTH_PATIENT,
        EDGE_NANO_BOTH_PATIENT,
        EDGE_SETTLE_PATIENT,
        EDGE_TURNED_PATIENT,
        EDGE_NANO_AGAIN_PATIENT,
        EDGE_QUANTIZED_PATIENT,
    )
)
"""Recipes for a net that was trained before."""


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InputError: no such recipe.
    """
    if name not in RECIPES:
        raise InputError(f"no recipe '{name}'; one of: {', '.join(RECIPES)}")
    return RECIPES[name]


def learning_rate(recipe: Recipe, epoch_progress: float) -> float:
    """The rate after `epoch_progress` epochs (fractional)."""
    if recipe.schedule == "step":
        return float(recipe.learning_rate * 0.9 ** (int(epoch_progress) // 3))
    warmup = min(recipe.warmup_epochs, recipe.epochs / 2)  # a run of one epoch ends at zero as well
    if epoch_progress < warmup:
        return recipe.learning_rate * (0.05 + 0.95 * epoch_progress / warmup)
    done = (epoch_progress - warmup) / (recipe.epochs - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
