"""Ablations: short runs of rarn-n that differ in one choice, same seed, judged on the same held-out faces.

    python export/ablate.py angle --data fer2013.zip     # the angle-sensitive attention against its alternatives
    python export/ablate.py recipe --data fer2013.zip    # each choice of the recipe left out or added

Writes export/ablations/NAME.csv and prints it as a table: accuracy upright and turned by 30 degrees, and the difference to the
first row on the same faces with a 95 % interval. Continues where it was stopped.
"""

import argparse
import csv
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rarn_edge.assets import shipped_weights
from rarn_edge.data import Faces, load_faces
from rarn_edge.evaluation.roll import turned
from rarn_edge.files import make_folder, write_text
from rarn_edge.paired import compare_decisions
from rarn_edge.threads import default_threads
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.distill import SoftTargets, soft_targets
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.loop import train
from rarn_edge.train.recipe import EDGE_NANO, Augmentation, Recipe
from rarn_edge.train.run import STATE_FILE, TARGETS_FILE, WEIGHTS_FILE, Run, split_for_training

RESULTS = Path(__file__).parent / "ablations"
TURN_DEG = 30
VIEWS = 2


@dataclass(frozen=True)
class Variant:
    """One run; the first of a list is what the others are compared with."""

    name: str
    model: str = "rarn-n"
    recipe: Recipe = EDGE_NANO
    taught: bool = False  # by the shipped rarn-s


@dataclass(frozen=True)
class Row:
    """One line of the table; fractions of all faces, differences to the first row."""

    variant: str
    epochs: int
    seed: int
    faces: int
    upright: float
    turned_left: float  # by 30 degrees
    turned_right: float
    difference: float  # upright
    difference_low: float  # 95 %
    difference_high: float
    p_value: float  # McNemar


def _augmented(**changes: float) -> Recipe:
    return replace(EDGE_NANO, augmentation=replace(EDGE_NANO.augmentation, **changes))


VARIANTS = {
    "angle": (
        Variant("lifted"),
        Variant("none", "rarn-n-none"),
        Variant("cbam", "rarn-n-cbam"),
        Variant("conv", "rarn-n-conv"),
    ),
    "recipe": (
        Variant("edge-nano"),
        Variant("with a teacher", taught=True),
        Variant("no averaged weights", recipe=replace(EDGE_NANO, ema_decay=0.0)),
        Variant("no augmentation but flips", recipe=replace(EDGE_NANO, augmentation=Augmentation())),
        Variant("no turns", recipe=_augmented(rotation_deg=0.0)),
        Variant("no shifts and zoom", recipe=_augmented(shift_x=0.0, shift_y=0.0, scale=0.0)),
        Variant("no light changes", recipe=_augmented(brightness=0.0, contrast=0.0)),
        Variant("with erasing", recipe=_augmented(erase=0.25)),
        Variant("with label smoothing", recipe=replace(EDGE_NANO, label_smoothing=0.1)),
        Variant("with mixup", recipe=replace(EDGE_NANO, mixup=0.2)),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=VARIANTS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="where the runs are kept")
    arguments = parser.parse_args()
    training, held_out = split_for_training(load_faces(arguments.data), arguments.seed)
    folder = make_folder(arguments.runs / f"{arguments.name}-{arguments.epochs}-{arguments.seed}")
    rows: list[Row] = []
    plan = Plan(arguments.epochs, arguments.seed, arguments.threads, folder)
    for row in ablate(VARIANTS[arguments.name], training, held_out, plan):
        rows.append(row)
        write_text(
            make_folder(RESULTS) / f"{arguments.name}.csv", as_csv(rows)
        )  # after every run: each is minutes of work
        print(as_table(rows[-1:], head=len(rows) == 1), flush=True)


@dataclass(frozen=True)
class Plan:
    """What all variants share."""

    epochs: int
    seed: int
    threads: int
    folder: Path


def ablate(variants: tuple[Variant, ...], training: Faces, held_out: Faces, plan: Plan) -> Iterator[Row]:
    """Train each variant in a folder of its own and judge it; a finished one is only judged again."""
    reference: NDArray[np.bool_] | None = None
    for variant in variants:
        targets = _taught(training, plan.folder) if variant.taught else None
        recipe = replace(variant.recipe, epochs=plan.epochs)
        folder = plan.folder / variant.name.replace(" ", "-")
        run = Run(variant.model, recipe, plan.seed, training, held_out, folder, plan.threads, targets)
        train(run, resume=(run.folder / STATE_FILE).exists())
        right = {angle: _right(run, angle) for angle in (0, -TURN_DEG, TURN_DEG)}
        reference = right[0] if reference is None else reference
        found = compare_decisions(reference, right[0])
        yield Row(
            variant=variant.name,
            epochs=plan.epochs,
            seed=plan.seed,
            faces=found.faces,
            upright=float(right[0].mean()),
            turned_left=float(right[TURN_DEG].mean()),
            turned_right=float(right[-TURN_DEG].mean()),
            difference=found.accuracy_difference,
            difference_low=found.difference_low,
            difference_high=found.difference_high,
            p_value=found.p_value,
        )


def _taught(training: Faces, folder: Path) -> SoftTargets:
    teacher = load_weights(shipped_weights("rarn-s"))
    return soft_targets([teacher], training, training.sha256(), folder / TARGETS_FILE, VIEWS)


def _right(run: Run, roll_deg: int) -> NDArray[np.bool_]:
    weights = load_weights(run.folder / WEIGHTS_FILE)
    logits = torch_logits(weights.model(), weights.spec.preprocess, turned(run.test.images, roll_deg))
    answer: NDArray[np.bool_] = logits.argmax(axis=1) == run.test.labels
    return answer


def as_csv(rows: list[Row]) -> str:
    """With a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(asdict(rows[0])), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(row).items()}
        for row in rows
    )
    return text.getvalue()


def as_table(rows: list[Row], head: bool = True) -> str:
    """Markdown."""
    lines = []
    if head:
        lines += [
            f"| variant | upright | +{TURN_DEG} | -{TURN_DEG} | difference upright, points | p |",
            "|---|--:|--:|--:|--:|--:|",
        ]
    for row in rows:
        interval = f"[{row.difference_low * 100:+.2f}, {row.difference_high * 100:+.2f}]"
        lines.append(
            f"| {row.variant} | {row.upright:.2%} | {row.turned_left:.2%} | {row.turned_right:.2%} | "
            f"{row.difference * 100:+.2f} {interval} | {row.p_value:.2g} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
