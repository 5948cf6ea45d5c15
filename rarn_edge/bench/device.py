"""A call whose input and output stay on the GPU: what the network costs without the copies from and to the host."""

from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

DeviceCall = Callable[[], None]


def device_call(
    session: ort.InferenceSession, feed: Mapping[str, NDArray[np.generic]], device: str = "cuda"
) -> DeviceCall:
    """Bind the inputs, copied to the device once, and outputs at fixed addresses (a CUDA graph needs them fixed).

    The call waits for the device: without that, only the launch would be timed.
    """
    binding = session.io_binding()
    for name, array in feed.items():
        binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0))
    session.run_with_iobinding(_bind_outputs(session, binding, device))
    shapes = [(value.shape(), value.data_type()) for value in binding.get_outputs()]
    for output, (shape, kind) in zip(session.get_outputs(), shapes, strict=True):
        place = ort.OrtValue.ortvalue_from_shape_and_type(shape, _NUMPY_TYPES[kind], device, 0)
        binding.bind_ortvalue_output(output.name, place)

    def call() -> None:
        binding.synchronize_inputs()
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return call


_NUMPY_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}


def _bind_outputs(session: ort.InferenceSession, binding: ort.IOBinding, device: str) -> ort.IOBinding:
    """Outputs wherever the runtime allocates them on the device: the first run tells their shapes."""
    for output in session.get_outputs():
        binding.bind_output(output.name, device)
    return binding
