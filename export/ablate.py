"""Ablations: short runs of one network that differ in one choice, same seed, judged on the same held-out faces.

    python export/ablate.py angle --epochs 30 --data fer2013.zip --votes ferplus.csv --teacher export/teachers/rarn-l-1.npz
    python export/ablate.py recipe --data fer2013.zip    # each choice of the recipe left out or added
    python export/ablate.py settle --epochs 6 --data fer2013.zip    # the last phase of the shipped weights, repeated and changed
    python export/ablate.py paper-rarn-n --epochs 10 --data fer2013.zip    # readings of the paper's Table 1
    python export/ablate.py paper-rarn-n --variant "momentum" --epochs 33 --data fer2013.zip    # one of them, and the printed one

Writes export/ablations/NAME-EPOCHS-SEED.csv and prints a table over the seeds that are there: accuracy upright and turned by 30
degrees, and each seed's difference to the first row on the same faces. With --votes each run learns both label sets at once, one
classifier each on one backbone, and is judged on both (NAME-both-EPOCHS-SEED.csv); not with `settle` and `recipe`, where the
shipped `rarn-s` teaches. Continues where it was stopped.
"""

import argparse
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rarn_edge.assets import shipped_weights
from rarn_edge.boundary.limits import at_least_one
from rarn_edge.contract.spec import FER2013
from rarn_edge.data import Faces, load_faces
from rarn_edge.errors import InputError, run_script
from rarn_edge.evaluation.roll import Predict, turned
from rarn_edge.files import make_folder, write_text
from rarn_edge.host.threads import default_threads
from rarn_edge.models.find import find_network
from rarn_edge.stats.paired import mean_difference
from rarn_edge.train.checkpoint import load_weights
from rarn_edge.train.distill import SoftTargets, mean_answers, soft_targets
from rarn_edge.train.evaluate import torch_logits
from rarn_edge.train.label_sets import LabelSet, both_label_sets, label_sets
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import EDGE_DISTILLED, EDGE_NANO, EDGE_SETTLE, PAPER, Augmentation, Recipe
from rarn_edge.train.run import STATE_FILE, TARGETS_FILE, WEIGHTS_FILE, Run
from rarn_edge.train.workers import ALONE, Workers, one_worker

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
    settled: bool = False  # starts from the shipped weights of `model` instead of random ones


@dataclass(frozen=True)
class Row:
    """One line of a seed's table; fractions of all faces. Differences are to the first row, each on the same faces, with their
    95 % interval; 0 in the first row itself."""

    variant: str
    labels: str
    epochs: int
    seed: int
    faces: int
    upright: float
    turned: float  # mean of both turns by 30 degrees
    upright_difference: float
    upright_low: float
    upright_high: float
    turned_difference: float
    turned_low: float
    turned_high: float


def _augmented(recipe: Recipe = EDGE_NANO, **changes: Any) -> Recipe:
    return replace(recipe, augmentation=replace(recipe.augmentation, **changes))


def _settled(name: str, **changes: Any) -> Variant:
    return Variant(name, recipe=_augmented(EDGE_SETTLE, **changes), taught=True, settled=True)


def _readings(model: str) -> tuple[Variant, ...]:
    """What the paper's Table 1 may mean: its shifts as printed, as the areas of torchvision's random resized crop, as shares of
    faces that are shifted a little (here: all); and the optimizer as printed, or with the usual momentum."""
    crop = {"shift_x": 0.0, "shift_y": 0.0, "least_area": 0.28, "most_area": 0.75}
    little = {"shift_x": 0.1, "shift_y": 0.1}
    momentum = replace(PAPER, momentum=0.9)
    return (
        Variant("as printed", model, PAPER),
        Variant("shifts as a resized crop", model, _augmented(PAPER, **crop)),
        Variant("momentum", model, momentum),
        Variant("momentum and a resized crop", model, _augmented(momentum, **crop)),
        Variant("momentum and shifts of 10 %", model, _augmented(momentum, **little)),
        Variant("momentum, shifts of 10 % and no turns", model, _augmented(momentum, **little, rotation_deg=0.0)),
    )


ANGLE = replace(EDGE_DISTILLED, name="angle", batch=128, weight_decay=EDGE_NANO.weight_decay)

VARIANTS = {
    "angle": (  # the angle-sensitive attention against its alternatives
        Variant("lifted", recipe=ANGLE),
        *(Variant(name, f"rarn-n-{name}", ANGLE) for name in ("none", "cbam", "conv")),
    ),
    "recipe": (
        Variant("edge-nano"),
        Variant("with a teacher", taught=True),
        Variant("no averaged weights", recipe=replace(EDGE_NANO, ema_decay=0.0)),
        Variant("no augmentation but flips", recipe=replace(EDGE_NANO, augmentation=Augmentation())),
        Variant("no turns", recipe=_augmented(rotation_deg=0.0)),
        Variant("no shifts and zoom", recipe=_augmented(shift_x=0.0, shift_y=0.0, scale=0.0)),
        Variant("bilinear turns, shifts and zoom", recipe=_augmented(interpolation="bilinear")),
        Variant("no light changes", recipe=_augmented(brightness=0.0, contrast=0.0)),
        Variant("with erasing", recipe=_augmented(erase=0.25)),
        Variant("with label smoothing", recipe=replace(EDGE_NANO, label_smoothing=0.1)),
        Variant("with mixup", recipe=replace(EDGE_NANO, mixup=0.2)),
    ),
    "settle": (
        _settled("edge-settle"),
        _settled("bilinear turns, shifts and zoom", interpolation="bilinear"),
        _settled("turns of 15 degrees", rotation_deg=15.0),
        _settled("no turns", rotation_deg=0.0),
    ),
    # On one core an epoch takes two minutes for mobilenet-v1 (float32) and five for rarn-18 (bfloat16, AMX).
    **{
        f"paper-{model}": _readings(model)
        for model in ("rarn-n", "rarn-18", "rarn-152", "inception-v4", "mobilenet-v1")
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=VARIANTS)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--votes", type=Path, help="FER+: learn and judge by these votes as well")
    parser.add_argument(
        "--teacher",
        type=Path,
        action="append",
        default=[],
        help="kept answers (export/teachers) that all variants learn from",
    )
    parser.add_argument("--variant", action="append", metavar="NAME", help="only this one, and the first; repeat it")
    parser.add_argument("--without-first", action="store_true", help="only the variants of --variant")
    parser.add_argument("--epochs", type=at_least_one, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=at_least_one, default=default_threads())
    parser.add_argument("--precision", choices=list(map(str, TrainingPrecision)), help="as for rarn-edge train")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablations"), help="where the runs are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the tables are kept")
    arguments = parser.parse_args()
    worker = one_worker()
    variants = chosen(VARIANTS[arguments.name], arguments.variant, not arguments.without_first)
    sets = read_label_sets(arguments.data, arguments.votes)
    table = f"{arguments.name}{'-both' if len(sets) > 1 else ''}-{arguments.epochs}"
    folder = make_folder(arguments.runs / f"{table}-{arguments.seed}")
    results = make_folder(arguments.results)
    path = results / f"{table}-{arguments.seed}.csv"
    before = from_csv(path) if path.exists() else []
    check_reference(path, before, variants)
    rows: list[Row] = []
    precision = TrainingPrecision.asked(arguments.precision, worker.device.type)
    plan = Plan(
        arguments.epochs, arguments.seed, arguments.threads, folder, precision, worker, tuple(arguments.teacher)
    )
    check_alone(variants, sets, plan)
    for row in ablate(variants, sets, plan):
        rows.append(row)
        # after every run: each is minutes of work
        write_text(path, as_csv(merged(rows, before, VARIANTS[arguments.name])))
        print(f"{row.variant}, {row.labels}: {row.upright:.2%} upright, {row.turned:.2%} turned", flush=True)
    print(as_table([from_csv(path) for path in sorted(results.glob(f"{table}-*.csv"))]))


def chosen(variants: tuple[Variant, ...], names: list[str] | None, with_first: bool = True) -> tuple[Variant, ...]:
    """The variants of those names and, asked for, the first, which they are compared with; all without names.

    Raises:
        InputError: a name that none has; no names and not the first.
    """
    if not names and not with_first:
        raise InputError("--without-first needs the variants to run: add --variant NAME")
    known = [variant.name for variant in variants]
    for name in names or ():
        if name not in known:
            raise InputError(f"no variant '{name}'; one of: {'; '.join(known)}")
    if not names:
        return variants
    asked = [known[0], *names] if with_first else names
    return tuple(variant for variant in variants if variant.name in asked)


def read_label_sets(data: Path, votes: Path | None) -> tuple[LabelSet, ...]:
    """FER-2013's labels, and with votes FER+'s."""
    if votes is None:
        return label_sets(load_faces(data))
    both, pairing = both_label_sets(data, votes)
    print(pairing, flush=True)
    return both


def check_reference(path: Path, rows: list[Row], variants: tuple[Variant, ...]) -> None:
    """Raises InputError if the table's rows are compared with a variant that is not among these: no row would be comparable."""
    if rows and rows[0].variant not in {variant.name for variant in variants}:
        raise InputError(
            f"{path} compares with '{rows[0].variant}'; leave out --without-first, or give another folder with --results"
        )


def merged(rows: list[Row], before: list[Row], variants: tuple[Variant, ...]) -> list[Row]:
    """These rows and, of an earlier table, those that they do not replace, in the order of the variants.

    The others stay when only some variants are run, and when a repeated run is stopped.
    """
    made = {(row.variant, row.labels) for row in rows}
    order = {variant.name: number for number, variant in enumerate(variants)}
    kept = [row for row in before if (row.variant, row.labels) not in made]
    return sorted([*rows, *kept], key=lambda row: order.get(row.variant, len(order)))


@dataclass(frozen=True)
class Plan:
    """What all variants share."""

    epochs: int
    seed: int
    threads: int
    folder: Path
    precision: TrainingPrecision = TrainingPrecision.FLOAT32
    worker: Workers = ALONE
    answers: tuple[Path, ...] = ()  # kept answers of teachers that all variants learn from


def check_alone(variants: Sequence[Variant], sets: Sequence[LabelSet], plan: Plan) -> None:
    """Before any training. Raises InputError if a variant cannot learn both label sets or from other teachers."""
    alone = next((variant.name for variant in variants if variant.taught), None)
    if alone is not None and (len(sets) > 1 or plan.answers):
        raise InputError(f"'{alone}' learns from the shipped rarn-s; leave out --votes and --teacher")


def ablate(variants: tuple[Variant, ...], sets: Sequence[LabelSet], plan: Plan) -> Iterator[Row]:
    """Train each variant in a folder of its own and judge it on each label set; a finished one is only judged again."""
    firsts: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    first, *others = sets
    for variant in variants:
        recipe = replace(variant.recipe, epochs=plan.epochs)
        folder = plan.folder / variant.name.replace(" ", "-")
        start = load_weights(shipped_weights(variant.model, FER2013)) if variant.settled else None
        run = Run(
            find_network(variant.model), recipe, plan.seed, first.training, first.held_out, folder, plan.threads,
            _targets(variant, sets, plan), start, plan.precision, also=tuple(each.training for each in others),
        )  # fmt: skip
        train(run, resume=(run.folder / STATE_FILE).exists(), workers=plan.worker)
        trained = load_weights(run.folder / WEIGHTS_FILE)
        judged = partial(torch_logits, trained.model(), trained.spec.preprocess)
        column = 0  # of the label set's first class in the logits
        for each in sets:
            upright = _right(judged, each.held_out, column, 0)
            sides = [_right(judged, each.held_out, column, deg) for deg in (-TURN_DEG, TURN_DEG)]
            turned_by = (sides[0] + sides[1]) / 2
            compared = firsts.setdefault(each.source, (upright, turned_by))
            column += len(each.training.classes)
            yield Row(
                variant.name,
                each.source,
                plan.epochs,
                plan.seed,
                len(each.held_out),
                float(upright.mean()),
                float(turned_by.mean()),
                *astuple(mean_difference(compared[0], upright)),
                *astuple(mean_difference(compared[1], turned_by)),
            )


def _targets(variant: Variant, sets: Sequence[LabelSet], plan: Plan) -> SoftTargets | None:
    training = sets[0].training
    if variant.taught:
        teachers = [load_weights(shipped_weights("rarn-s", FER2013))]
        cache, device = plan.folder / TARGETS_FILE, plan.worker.device
        return soft_targets(
            teachers, training, training.sha256(), cache, VIEWS, precision=plan.precision, device=device
        )
    if not plan.answers:
        return None
    return mean_answers(training, training.sha256(), plan.answers, [each.source for each in sets])


def _right(predict: Predict, faces: Faces, column: int, roll_deg: int) -> NDArray[np.float64]:
    """1 where a face was answered rightly: [faces]. The classes' logits start at `column`."""
    logits = predict(turned(faces.pixels, roll_deg))  # [faces, outputs]
    answers = logits[:, column : column + len(faces.classes)].argmax(axis=1)
    return np.asarray(answers == faces.labels, np.float64)


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


def from_csv(path: Path) -> list[Row]:
    """What `as_csv` wrote."""
    whole = ("epochs", "seed", "faces")
    with path.open(encoding="utf-8", newline="") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for row in rows:
        for name in set(row) - {"variant", "labels"}:
            row[name] = int(row[name]) if name in whole else float(row[name])
    return [Row(**row) for row in rows]


def as_table(seeds: list[list[Row]]) -> str:
    """Markdown: means over the seeds, and the difference of each seed in points; those whose interval leaves out 0 in bold."""
    lines = [
        f"| labels | variant | upright | turned by {TURN_DEG} degrees | difference upright, each seed |"
        " difference turned, each seed |",
        "|---|---|--:|--:|--:|--:|",
    ]
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in (row for seed in seeds for row in seed):
        groups.setdefault((row.labels, row.variant), []).append(row)
    reference = seeds[0][0].variant if seeds else ""
    compared = {seed[0].seed for seed in seeds if seed[0].variant == reference}  # the others ran without the first
    shown: set[str] = set()  # label sets whose first variant, the reference, has its line
    for (labels, variant), rows in sorted(groups.items(), key=lambda group: group[0][0]):
        upright, turned_by = (
            float(np.mean(values)) for values in ([r.upright for r in rows], [r.turned for r in rows])
        )
        cells = ["reference", "reference"]
        if labels in shown:
            judged = [r for r in rows if r.seed in compared]
            cells = [
                ", ".join(_points(r.upright_difference, r.upright_low, r.upright_high) for r in judged),
                ", ".join(_points(r.turned_difference, r.turned_low, r.turned_high) for r in judged),
            ]
        shown.add(labels)
        lines.append(f"| {labels} | {variant} | {upright:.2%} | {turned_by:.2%} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _points(value: float, low: float, high: float) -> str:
    text = f"{100 * value:+.2f}"
    return text if low <= 0 <= high else f"**{text}**"


if __name__ == "__main__":
    run_script(main)
