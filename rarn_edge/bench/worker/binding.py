"""Calls on a GPU by bound inputs and outputs: with the copies from and to the host, and without them.

The addresses never change between calls, as a CUDA graph needs it; each batch size is a graph of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from rarn_edge.errors import InputError
from rarn_edge.runtime.types import NUMPY_NAMES


@dataclass(frozen=True)
class BoundCalls:
    """Two ways to time one model."""

    host_to_host: Callable[[], list[NDArray[np.generic]]]  # input copied to the device, answer copied back
    on_device: Callable[[], None]  # input and output stay there


def bind(session: ort.InferenceSession, feed: Mapping[str, NDArray[np.generic]], device: Any = "cuda") -> BoundCalls:
    """Bind every input and output of a session at fixed addresses on the device, as `device_memory` names it.

    Both calls wait for the device: without that, only the launch would be timed. A plug-in's `synchronize_outputs` may
    return at once (WebGPU's does), so there the answer is read back: a few numbers an image.

    Raises:
        InputError: an output with a free axis besides the batch, whose size cannot be known before a run.
    """
    binding = session.io_binding()
    arrays = {name: np.ascontiguousarray(array) for name, array in feed.items()}
    batch = len(next(iter(arrays.values())))
    inputs = {name: _allocate(array.shape, array.dtype, device) for name, array in arrays.items()}
    for name, value in inputs.items():
        value.update_inplace(arrays[name])
    outputs = [_room(value, batch, device) for value in session.get_outputs()]
    for name, value in inputs.items():
        binding.bind_ortvalue_input(name, value)
    for output, value in zip(session.get_outputs(), outputs, strict=True):
        binding.bind_ortvalue_output(output.name, value)
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(batch))

    def on_device() -> None:
        session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()
        if not isinstance(device, str):
            for value in outputs:
                value.numpy()

    def host_to_host() -> list[NDArray[np.generic]]:
        for name, value in inputs.items():
            value.update_inplace(arrays[name])
        binding.synchronize_inputs()
        on_device()
        return [value.numpy() for value in outputs]

    return BoundCalls(host_to_host, on_device)


def _allocate(shape: Sequence[int], dtype: np.dtype[Any], device: Any) -> ort.OrtValue:
    if isinstance(device, str):
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, device, 0)
    return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, memory_info=device)


def _room(output: ort.NodeArg, batch: int, device: Any) -> ort.OrtValue:
    """Memory for an output; its first axis is the batch where it is free."""
    first, *rest = output.shape or [None]
    sizes = [size for size in rest if isinstance(size, int)]
    if len(sizes) != len(rest) or output.type not in NUMPY_NAMES:
        raise InputError(
            f"output '{output.name}' is {output.type} of shape {output.shape}; only its first axis may be free"
        )
    shape = [first if isinstance(first, int) else batch, *sizes]
    return _allocate(shape, np.dtype(NUMPY_NAMES[output.type]), device)
