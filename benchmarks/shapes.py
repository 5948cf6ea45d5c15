"""What a shape of the smallest edge model costs: python benchmarks/shapes.py mini_xception.onnx [--rounds 500]

Every shape with random weights in float32 and in INT8 for x86-avx2, batch 1, one thread, one interleaved run; times are ratios
to the given float32 file. Accuracy is not measured here: it takes a training run each.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

from rarn_edge.bench.cases import load_cases
from rarn_edge.bench.request import Request
from rarn_edge.bench.run import benchmark
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.models import build
from rarn_edge.models.catalog import find_model
from rarn_edge.models.count import count_multiply_adds, count_parameters
from rarn_edge.models.rarn import edge_model
from rarn_edge.pipeline.calibrate import calibrate
from rarn_edge.pipeline.quantize import quantize
from rarn_edge.pipeline.simplify import simplify
from rarn_edge.pipeline.to_onnx import export_untrained
from rarn_edge.targets import Target

MODEL = "rarn-n"  # whose name, contract and attention the shapes have
SHAPES = (  # stem, widths, blocks and strides of the four stages
    (32, (32, 48, 64, 96), (1, 1, 1, 1), (2, 1, 2, 2)),
    (32, (48, 64, 96, 64), (1, 1, 1, 1), (2, 1, 2, 2)),
    (32, (48, 64, 80, 80), (1, 1, 1, 1), (2, 2, 1, 2)),
    (32, (32, 64, 96, 88), (1, 1, 1, 1), (2, 2, 2, 1)),
    (32, (48, 64, 88, 80), (1, 1, 1, 1), (2, 2, 2, 1)),
    (16, (32, 64, 88, 80), (2, 1, 1, 1), (2, 2, 2, 1)),
    (16, (32, 64, 80, 80), (1, 2, 1, 1), (2, 2, 2, 1)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rival", type=Path, help="ONNX file that ratios refer to")
    parser.add_argument("--rounds", type=int, default=500)
    arguments = parser.parse_args()
    spec = find_model(MODEL).spec
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (stem, widths, blocks, strides) in enumerate(SHAPES):
            build.BUILDERS[MODEL] = partial(
                edge_model, stem, widths, blocks, strides, width=48, angle="lifted", angle_channels=8, dropout=0.0
            )
            model = build.build_model(MODEL)
            counts = (count_parameters(model), count_multiply_adds(model, 1, spec.preprocess.height_px))
            raw = export_untrained(MODEL, Path(folder) / f"{number}.raw.onnx")
            float32 = simplify(raw, Path(folder) / f"{number}.onnx").artifact
            ranges = calibrate(float32, synthetic_faces(64, seed=0))
            quantize(float32, Target.X86_AVX2, ranges, Path(folder) / f"{number}.int8.onnx")
            rows.append((f"{stem} {widths} {blocks} {strides}", *counts))
        files = [Path(folder) / f"{number}{end}" for number in range(len(rows)) for end in (".onnx", ".int8.onnx")]
        request = Request(threads=(1,), rounds=arguments.rounds, memory=False, reference_label=arguments.rival.stem)
        report = benchmark(load_cases([*files, arguments.rival]), request)
    print("| stem, widths, blocks, strides | parameters | multiply-adds | float32 | INT8 |\n|---|--:|--:|--:|--:|")
    ratio = {row.label: row.latency_ratio for row in report.rows}
    for number, (shape, parameters, multiply_adds) in enumerate(rows):
        times = (ratio[f"{number}"], ratio[f"{number}.int8"])
        cells = " | ".join(f"{t.value:.2f} [{t.low:.2f}, {t.high:.2f}]" if t else "failed" for t in times)
        print(f"| {shape} | {parameters:,} | {multiply_adds / 1e6:.1f} M | {cells} |")


if __name__ == "__main__":
    main()
