"""What a shape of an edge model costs, and what it learns.

    python benchmarks/shapes.py mini_xception.onnx                                   # latency alone, random weights: two minutes
    python benchmarks/shapes.py mini_xception.onnx --data fer2013.zip --epochs 6     # accuracy as well: minutes for each shape
    python benchmarks/shapes.py mini_xception.onnx --shape 6 --shape 8 --data fer2013.zip --votes ferplus.csv \
        --teacher export/teachers/rarn-l-1.npz --epochs 30 --batch 128 --precision bf16     # on FER+, two shapes and the last
    python benchmarks/shapes.py mini_xception.onnx --data fer2013.zip --seed 0 --seed 1 --seed 2     # three seeds
    python benchmarks/shapes.py mini_xception.onnx --model rarn-s                    # the larger one's

Latency: every shape in float32 and in INT8 for x86-avx2, batch 1, one thread, one interleaved run; ratios to the given float32
file. Accuracy: each shape trained by recipe `edge-nano` with each --seed, its INT8 file judged on the held-out faces as ONNX
Runtime runs it: the mean, and each seed's difference to the last shape, the shipped one, on the same faces, in bold where its
95 % interval, which is shown for a single seed, leaves out 0. A finished shape is not trained again, and a stopped one goes on.
"""

import argparse
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from rarn_edge.bench.cases import load_case, load_cases
from rarn_edge.bench.config import BenchConfig
from rarn_edge.bench.runner import benchmark
from rarn_edge.boundary.limits import at_least_one
from rarn_edge.contract.targets import Target
from rarn_edge.data import Faces, load_faces
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.errors import InputError, run_script
from rarn_edge.models.catalog import find_model
from rarn_edge.models.count import count_multiply_adds, count_parameters
from rarn_edge.models.network import Network
from rarn_edge.models.rarn import edge_model
from rarn_edge.pipeline.calibrate import calibrate
from rarn_edge.pipeline.export import export_weights
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.pipeline.simplify import simplify_model
from rarn_edge.runtime.providers import CPU
from rarn_edge.stats.paired import mean_difference
from rarn_edge.train.checkpoint import fresh_weights
from rarn_edge.train.distill import SoftTargets, mean_answers
from rarn_edge.train.loop import train
from rarn_edge.train.precision import TrainingPrecision
from rarn_edge.train.recipe import EDGE_NANO
from rarn_edge.train.run import STATE_FILE, WEIGHTS_FILE, Run, source_of, split_for_training
from rarn_edge.workflow.inputs import read_subject
from rarn_edge.workflow.model_files import export

CALIBRATION_IMAGES = 512


@dataclass(frozen=True)
class Shape:
    """A shape for `model`, whose name and contract it has; widths, blocks and strides are of the four stages."""

    model: str
    stem: int
    widths: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    strides: tuple[int, int, int, int]
    fuse_to: int = 3  # the map where the fusion stops
    width: int = 48  # of fusion and attention
    angle_channels: int = 8
    dropout: float = 0.0

    def __str__(self) -> str:
        return f"{self.stem} {self.widths} {self.blocks} {self.strides} A{self.fuse_to} {self.width}"

    @property
    def network(self) -> Network:
        return Network(find_model(self.model).spec, self.builder, self.model)

    @property
    def builder(self) -> Callable[..., nn.Module]:
        return partial(
            edge_model,
            self.stem,
            self.widths,
            self.blocks,
            self.strides,
            fuse_to=self.fuse_to,
            width=self.width,
            angle="lifted",
            angle_channels=self.angle_channels,
            dropout=self.dropout,
        )


NANO = partial(Shape, "rarn-n")
SMALL = partial(Shape, "rarn-s", width=64, angle_channels=16, dropout=0.1)

SHAPES = {  # the last of each is the shipped one
    "rarn-n": (
        NANO(32, (32, 48, 64, 96), (1, 1, 1, 1), (2, 1, 2, 2)),
        NANO(32, (48, 64, 96, 64), (1, 1, 1, 1), (2, 1, 2, 2)),
        NANO(32, (48, 64, 80, 80), (1, 1, 1, 1), (2, 2, 1, 2)),
        NANO(32, (32, 64, 96, 88), (1, 1, 1, 1), (2, 2, 2, 1)),
        NANO(32, (48, 64, 88, 80), (1, 1, 1, 1), (2, 2, 2, 1)),
        NANO(16, (32, 64, 88, 80), (2, 1, 1, 1), (2, 2, 2, 1)),
        NANO(16, (32, 64, 80, 80), (1, 2, 1, 1), (2, 2, 2, 1), fuse_to=2),
        NANO(16, (32, 64, 80, 80), (1, 2, 1, 1), (2, 2, 2, 1), width=32),
        NANO(16, (32, 64, 80, 80), (1, 2, 1, 1), (2, 2, 2, 1)),
        NANO(16, (32, 64, 96, 80), (2, 1, 1, 1), (2, 2, 2, 1)),
    ),
    "rarn-s": (
        SMALL(32, (32, 64, 128, 192), (2, 2, 2, 1), (1, 2, 2, 2)),
        SMALL(32, (32, 96, 128, 160), (1, 2, 2, 1), (1, 2, 2, 2)),
        SMALL(32, (64, 96, 128, 160), (2, 2, 2, 1), (2, 2, 2, 1)),
        SMALL(32, (32, 64, 128, 192), (1, 2, 2, 2), (1, 2, 2, 2)),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rival", type=Path, help="ONNX file that ratios refer to")
    parser.add_argument("--rounds", type=at_least_one, default=500)
    parser.add_argument("--data", type=Path, help="measure accuracy as well, on this data set")
    parser.add_argument("--votes", type=Path, help="FER+: learn and judge by these votes instead of FER-2013's labels")
    parser.add_argument("--teacher", type=Path, action="append", default=[], help="kept answers to learn from")
    parser.add_argument("--model", choices=list(SHAPES), default="rarn-n", help="whose shapes")
    parser.add_argument("--shape", type=int, action="append", help="only these, counted from 1, and the last")
    parser.add_argument("--epochs", type=at_least_one, default=6)
    parser.add_argument("--seed", type=int, action="append", help="of training; repeat it (default 0)")
    parser.add_argument("--batch", type=at_least_one, default=EDGE_NANO.batch)
    parser.add_argument("--threads", type=at_least_one, default=1, help="of training")
    parser.add_argument("--precision", choices=list(map(str, TrainingPrecision)), default="float32", help="of training")
    parser.add_argument("--runs", type=Path, default=Path("runs/shapes"), help="where the training runs are kept")
    arguments = parser.parse_args()
    known = SHAPES[arguments.model]
    chosen = arguments.shape or range(1, len(known))
    if not set(chosen) <= set(range(1, len(known) + 1)):
        raise InputError(f"--shape is 1 to {len(known)}")
    shapes = [shape for number, shape in enumerate(known, 1) if number in {*chosen, len(known)}]
    rival = load_case(arguments.rival, "the given file")  # before the training; no shape's file is called so
    if rival.broken is not None:
        raise InputError(f"{arguments.rival}: cannot be measured: {rival.broken}")
    rival.shape(1)
    splits = targets = None
    if arguments.data is not None:
        splits = split_for_training(load_faces(arguments.data, votes=arguments.votes))
        if arguments.teacher:
            source = source_of(splits[0])
            targets = mean_answers(splits[0], splits[0].sha256(), arguments.teacher, [source])
    seeds = list(dict.fromkeys(arguments.seed or [0]))
    right: list[list[NDArray[np.float64]]] = []  # by shape and seed, 1 for each face that its INT8 file answers rightly
    with tempfile.TemporaryDirectory() as temporary:
        files = [Path(temporary) / f"{number}{end}" for number in range(len(shapes)) for end in (".onnx", ".int8.onnx")]
        pairs = list(zip(shapes, files[::2], files[1::2], strict=True))
        for shape, float32, int8 in pairs:
            if splits is None:
                untrained_files(shape, float32, int8)
            else:
                right.append([])
                for seed in seeds:  # the files of the last one are timed
                    answers = trained_files(shape, *splits, targets, arguments, seed, float32, int8)
                    right[-1].append(answers)
                    print(f"{shape}, seed {seed}: {answers.mean():.2%}", flush=True)
        config = BenchConfig(threads=(1,), rounds=arguments.rounds, memory=False, reference_label=rival.label)
        report = benchmark([*load_cases(files), rival], config)
    ratio = {row.label: row.latency_ratio for row in report.rows}
    print(
        "| stem, widths, blocks, strides, fusion to, its width | parameters | multiply-adds | float32 | INT8 |", end=""
    )
    print(
        " accuracy, INT8 | to the last, each seed |\n|---|--:|--:|--:|--:|--:|--:|"
        if right
        else "\n|---|--:|--:|--:|--:|"
    )
    for number, (shape, float32, int8) in enumerate(pairs):
        model = shape.builder(len(find_model(shape.model).spec.classes), 1)
        times = (ratio[float32.stem], ratio[int8.stem])
        cells = [f"{t.value:.2f} [{t.low:.2f}, {t.high:.2f}]" if t else "failed" for t in times]
        if right:
            cells.append(f"{np.mean(right[number]):.2%}")
            cells.append("reference" if number == len(pairs) - 1 else differences(right[-1], right[number]))
        counts = f"{count_parameters(model):,} | {count_multiply_adds(model, 1, 48, 48) / 1e6:.1f} M"
        print(f"| {shape} | {counts} | {' | '.join(cells)} |")


def differences(reference: list[NDArray[np.float64]], other: list[NDArray[np.float64]]) -> str:
    """Of each seed, in points; in bold where the 95 % interval leaves out 0. Both: by seed, 1 for each face answered rightly."""
    cells = []
    for first, second in zip(reference, other, strict=True):
        difference = mean_difference(first, second)
        text = f"{100 * difference.value:+.2f}"
        if len(reference) == 1:
            text += f" [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
        cells.append(text if difference.low <= 0 <= difference.high else f"**{text}**")
    return ", ".join(cells)


def untrained_files(shape: Shape, float32: Path, int8: Path) -> None:
    """Write both files with random weights."""
    simplified = simplify_model(export_weights(fresh_weights(shape.network))).model.save(float32)
    quantize(simplified, Target.X86_AVX2, calibrate(simplified, synthetic_faces(64, seed=0)), int8)


def trained_files(
    shape: Shape,
    training: Faces,
    held_out: Faces,
    targets: SoftTargets | None,
    plan: argparse.Namespace,
    seed: int,
    float32: Path,
    int8: Path,
) -> NDArray[np.float64]:
    """Train the shape, write both files, and say for each held-out face whether the INT8 file is right: 1 or 0, [faces]."""
    labels = source_of(training)
    folder = plan.runs / re.sub(r"\W+", "-", f"{shape} {labels} {plan.epochs} {plan.batch} {plan.precision} {seed}")
    recipe = replace(EDGE_NANO, epochs=plan.epochs, batch=plan.batch)
    precision = TrainingPrecision(plan.precision)
    run = Run(shape.network, recipe, seed, training, held_out, folder, plan.threads, targets, precision=precision)
    train(run, resume=(folder / STATE_FILE).exists())
    simplified = export(float32, shape.network, weights=folder / WEIGHTS_FILE).artifact
    ranges = calibrate(simplified, training.balanced_sample(CALIBRATION_IMAGES, seed=0))
    quantize(simplified, Target.X86_AVX2, ranges, int8)
    logits = read_subject(int8, CPU, None).predict(held_out.images)
    return np.asarray(logits.argmax(axis=1) == held_out.labels, np.float64)


if __name__ == "__main__":
    run_script(main)
