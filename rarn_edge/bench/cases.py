"""What is benchmarked: any ONNX file with one input, and the facts about it that its own metadata states.

Foreign files are first-class here: a comparison that only takes our own models proves nothing.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.artifact import METADATA_KEY, Contract, open_unoptimised
from rarn_edge.errors import InputError

_INPUT_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
}


@dataclass(frozen=True)
class BenchCase:
    """One ONNX file to run, with its input and, where its metadata states them, its facts (else None)."""

    label: str  # unique in a run
    path: Path
    file_size_bytes: int  # with the external data file beside it, if any
    input_name: str
    input_dtype: str  # NumPy name
    input_shape: tuple[int | None, ...]  # axis 0 is the batch; None there means any
    contract: Contract | None = None

    def shape(self, batch: int) -> tuple[int, ...]:
        """The input shape at that batch size.

        Raises:
            InputError: batch below 1, or the model has another batch size built in.
        """
        if batch < 1:
            raise InputError(f"batch is at least 1, found {batch}")
        fixed, *rest = self.input_shape
        if fixed is not None and fixed != batch:
            raise InputError(
                f"{self.label}: its batch size is fixed at {fixed}, asked for {batch}; use --batch {fixed}, "
                "or export it with a dynamic batch axis"
            )
        return (batch, *(size for size in rest if size is not None))

    def random_input(self, batch: int, seed: int = 0) -> NDArray[np.generic]:
        """Input of that batch size: standard normal for float inputs, uniform bytes for integer ones."""
        generator = np.random.default_rng(seed)
        dtype = np.dtype(self.input_dtype)
        shape = self.shape(batch)
        if dtype.kind == "f":
            return generator.standard_normal(shape, dtype=np.float32).astype(dtype)
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def load_case(path: Path, label: str | None = None) -> BenchCase:
    """Read an ONNX file's input and metadata; its label defaults to the file's stem.

    Raises:
        InputError: unreadable, several inputs, an input type or shape that cannot be made up, or damaged metadata.
    """
    session = open_unoptimised(path)
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs) or "none"
        raise InputError(f"{path}: has {len(inputs)} inputs ({names}); bench takes models with one image input")
    value = inputs[0]
    if value.type not in _INPUT_TYPES:
        raise InputError(f"{path}: input '{value.name}' is {value.type}; bench makes {', '.join(_INPUT_TYPES)}")
    text = session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
    external = path.with_name(f"{path.name}.data")
    return BenchCase(
        label=path.stem if label is None else label,
        path=path,
        file_size_bytes=path.stat().st_size + (external.stat().st_size if external.is_file() else 0),
        input_name=value.name,
        input_dtype=_INPUT_TYPES[value.type],
        input_shape=_input_shape(path, value),
        contract=None if text is None else Contract.from_json(text, str(path)),
    )


def load_cases(paths: Sequence[Path]) -> tuple[BenchCase, ...]:
    """`load_case` for each file, labelled by stem, or `folder/stem` where files share it; a repeat gets `#2`."""
    files_by_stem = Counter(path.stem for path in {path.resolve() for path in paths})
    seen: Counter[str] = Counter()
    cases = []
    for path in paths:
        whole = path.resolve()
        label = whole.stem if files_by_stem[whole.stem] == 1 else f"{whole.parent.name}/{whole.stem}"
        seen[label] += 1
        cases.append(load_case(path, label if seen[label] == 1 else f"{label} #{seen[label]}"))
    return tuple(cases)


def _input_shape(path: Path, value: ort.NodeArg) -> tuple[int | None, ...]:
    """The declared shape with free axes as None: ONNX Runtime gives names or None for those."""
    if not value.shape:
        raise InputError(f"{path}: input '{value.name}' has no batch axis (shape {value.shape})")
    batch, *rest = value.shape
    if not all(isinstance(size, int) for size in rest):
        raise InputError(
            f"{path}: input '{value.name}' has shape {value.shape}; only the first axis (batch) may be free"
        )
    return (batch if isinstance(batch, int) else None, *rest)
