"""Images per second of the sessions alone, on every core: python benchmarks/bare_throughput.py --data fer2013.zip --model rarn-n

What `rarn-edge score` and `rarn-edge predict` are held against: so many processes, each with a session of one thread and the
batches that `score` uses. The inputs are made before the clock starts; with `--decode` the image files are decoded within it.
"""

import argparse
import time
import zipfile
from multiprocessing import get_context
from pathlib import Path
from threading import Barrier

import numpy as np

from rarn_edge.contract.preprocess import decode_gray, model_input
from rarn_edge.device.classifier import Classifier
from rarn_edge.device.model import find_model_file
from rarn_edge.host.threads import default_threads
from rarn_edge.runtime.logits import BATCH
from rarn_edge.runtime.providers import open_session

BATCHES = 16  # other faces in each call, over and over


def images_per_s(data: Path, model: Path, decode: bool, duration_s: float, start: Barrier) -> tuple[float, float]:
    """Of one process, once all have started: by the clock and by its processor time, which differ on a busy machine."""
    classifier = Classifier(model, threads=1)
    spec = classifier.artifact.spec
    session = open_session(model, "cpu", 1)
    with zipfile.ZipFile(data) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][: BATCH * BATCHES]
        files = [archive.read(name) for name in names]
    groups = [files[first : first + BATCH] for first in range(0, len(files), BATCH)]
    inputs = [model_input(classifier.pixels(group), spec) for group in groups]
    done = 0
    start.wait()
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    while (passed_s := time.perf_counter() - start_s) < duration_s:
        number = done // BATCH % BATCHES
        if decode:
            pixels = np.stack([decode_gray(content, "crop") for content in groups[number]])  # [BATCH, H, W]
            inputs[number] = model_input(pixels, spec)
        session.run([spec.output_name], {spec.input_name: inputs[number]})
        done += BATCH
    return done / passed_s, done / (time.process_time() - start_cpu_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="fer2013.zip")
    parser.add_argument("--model", default="rarn-s", help="a shipped model's name, or an ONNX file")
    parser.add_argument("--processes", type=int, default=default_threads())
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--decode", action="store_true", help="decode the image files too")
    arguments = parser.parse_args()
    context = get_context("spawn")
    with context.Manager() as manager, context.Pool(arguments.processes) as pool:
        start = manager.Barrier(arguments.processes)
        job = (arguments.data, find_model_file(arguments.model), arguments.decode, arguments.seconds, start)
        by_clock, by_cpu = zip(*pool.starmap(images_per_s, [job] * arguments.processes, chunksize=1), strict=True)
    print(f"{sum(by_clock):,.0f} images/s; {1e6 * len(by_cpu) / sum(by_cpu):,.0f} us of processor time an image")


if __name__ == "__main__":
    main()
