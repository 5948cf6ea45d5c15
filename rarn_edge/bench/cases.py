"""What is benchmarked: any ONNX file with one input, and the facts about it that its own metadata states.

Foreign files are first-class here: a comparison that only takes our own models proves nothing. They are read in a worker
process, so that a large file leaves no trace in this one and a file that crashes the runtime ends nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rarn_edge.bench.worker.client import Worker, WorkerError
from rarn_edge.boundary.names import names_apart
from rarn_edge.boundary.paths import MODEL_HINT, require_file
from rarn_edge.contract.artifact import Contract, size_bytes
from rarn_edge.errors import InputError
from rarn_edge.runtime.types import NUMPY_NAMES

_INPUT_TYPES = {name: dtype for name, dtype in NUMPY_NAMES.items() if dtype not in ("int32", "int64")}


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
    broken: str | None = None  # reading it crashed the runtime: it is reported, and the others are measured

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

    def input_of(self, batch: int) -> dict[str, Any]:
        """What a worker is told to make its input of that batch size, see `worker.process.prepare`."""
        return {"input_name": self.input_name, "dtype": self.input_dtype, "shape": self.shape(batch)}


def load_case(path: Path, label: str | None = None) -> BenchCase:
    """Read an ONNX file's input and metadata; its label defaults to the file's stem.

    Raises:
        InputError: unreadable, several inputs, an input type or shape that cannot be made up, or damaged metadata.
    """
    (case,) = load_cases([path])
    return replace(case, label=path.stem if label is None else label)


def load_cases(paths: Sequence[Path]) -> tuple[BenchCase, ...]:
    """`load_case` for each file, labelled by its stem as `names_apart` says."""
    for path in paths:
        require_file(path, MODEL_HINT)
    cases = []
    worker = Worker()
    try:
        for path, label in zip(paths, names_apart(paths, [path.stem for path in paths]), strict=True):
            cases.append(_read(worker, path, label))
            if not worker.alive:  # the file crashed the runtime: the next one is read by another process
                worker.close()
                worker = Worker()
    finally:
        worker.close()
    return tuple(cases)


def _read(worker: Worker, path: Path, label: str) -> BenchCase:
    require_file(path)
    size = size_bytes(path)
    try:
        return _case(path, label, size, worker.ask("describe", path=str(path)))
    except WorkerError as failed:
        if worker.alive:
            raise InputError(str(failed)) from failed
        return BenchCase(label, path, size, "", "float32", (), broken=f"while it was read, {failed}")


def _case(path: Path, label: str, size: int, answer: dict[str, Any]) -> BenchCase:
    inputs = answer["inputs"]
    if len(inputs) != 1:
        names = ", ".join(value["name"] for value in inputs) or "none"
        raise InputError(f"{path}: has {len(inputs)} inputs ({names}); bench takes models with one image input")
    (value,) = inputs
    if value["type"] not in _INPUT_TYPES:
        raise InputError(f"{path}: input '{value['name']}' is {value['type']}; bench makes {', '.join(_INPUT_TYPES)}")
    text = answer["metadata"]
    contract = None if text is None else Contract.of_file(text, path)
    return BenchCase(
        label=label,
        path=path,
        file_size_bytes=size,
        input_name=value["name"],
        input_dtype=_INPUT_TYPES[value["type"]],
        input_shape=_input_shape(path, value["name"], value["shape"], contract),
        contract=contract,
    )


def _input_shape(
    path: Path, name: str, shape: list[int | str | None], contract: Contract | None
) -> tuple[int | None, ...]:
    """The declared shape with a free batch as None: ONNX Runtime gives names or None for free axes; others are the contract's."""
    if not shape:
        raise InputError(f"{path}: input '{name}' has no batch axis (shape {shape})")
    batch, *rest = shape
    said = contract.spec.input_shape if contract is not None and len(rest) == 3 else rest
    either = (size if isinstance(size, int) else told for size, told in zip(rest, said, strict=True))
    sizes = [size for size in either if isinstance(size, int)]
    if len(sizes) != len(rest):
        raise InputError(
            f"{path}: input '{name}' has shape {shape}; only the first axis (batch) may be free; say the others by"
            f" rarn-edge stamp {path} --size HEIGHTxWIDTH"
        )
    return (batch if isinstance(batch, int) else None, *sizes)
