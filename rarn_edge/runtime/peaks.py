"""How fast this machine multiplies and copies, measured: the limits that a model's own rates are held against."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort

from rarn_edge.assets import asset

LITTLE_GAIN = 1.5  # `Products.integer_gain` below this does not pay for the conversions around 8-bit arithmetic
_PEAK_SIDE = 512  # rows and columns of the constant matrix in assets/peak_*.onnx
_PEAK_ROWS = 128
_PEAK_REPEATS = 200  # of a few milliseconds: on a busy machine some of them run undisturbed
_COPY_BYTES = 32 << 20  # far beyond any cache of a small machine
_COPY_REPEATS = 15


@dataclass(frozen=True)
class Products:
    """Multiply-adds per second of a large matrix product through ONNX Runtime, the best of many."""

    float32_macs_per_s: float
    int8_macs_per_s: float  # u8 x s8

    @property
    def integer_gain(self) -> float:
        """How many times as fast bytes are multiplied: near 1, INT8 cannot make a model much faster here."""
        return self.int8_macs_per_s / self.float32_macs_per_s


def measure_products(threads: int) -> Products:
    """On the CPU; about a second."""
    float32_s = _product_s("peak_float32.onnx", np.dtype(np.float32), threads)
    int8_s = _product_s("peak_int8.onnx", np.dtype(np.uint8), threads)
    work = _PEAK_ROWS * _PEAK_SIDE * _PEAK_SIDE
    return Products(work / float32_s, work / int8_s)


@dataclass(frozen=True)
class Peaks(Products):
    """This machine's measured limits with that number of threads."""

    bytes_per_s: float  # reads plus writes of a large copy


def measure_peaks(threads: int) -> Peaks:
    """The limits of this machine: matrix products and a large copy."""
    products = measure_products(threads)
    return Peaks(products.float32_macs_per_s, products.int8_macs_per_s, _copy_bytes_per_s(threads))


def _product_s(name: str, dtype: np.dtype[Any], threads: int) -> float:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    session = ort.InferenceSession(asset(name), options, providers=["CPUExecutionProvider"])
    left = np.full((_PEAK_ROWS, _PEAK_SIDE), 2, dtype)  # [rows, side]
    times_s = []
    for _ in range(_PEAK_REPEATS):
        start_s = time.perf_counter()
        session.run(None, {"input": left})
        times_s.append(time.perf_counter() - start_s)
    return min(times_s)


def _copy_bytes_per_s(threads: int) -> float:
    """NumPy copies without the interpreter lock, so threads really copy side by side."""
    pairs = [
        (np.ones(_COPY_BYTES // threads, np.uint8), np.empty(_COPY_BYTES // threads, np.uint8)) for _ in range(threads)
    ]
    for source, target in pairs:
        np.copyto(target, source)  # touch every page once
    times_s = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_COPY_REPEATS):
            start_s = time.perf_counter()
            for job in [pool.submit(np.copyto, target, source) for source, target in pairs]:
                job.result()
            times_s.append(time.perf_counter() - start_s)
    return 2 * sum(source.nbytes for source, _ in pairs) / min(times_s)
