"""Facial-expression models from PyTorch to a device.

`from rarn_edge import Classifier` is the device side: numpy, OpenCV and ONNX Runtime, loaded when first asked for, so that
`import rarn_edge` itself costs nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rarn_edge.device.classifier import Classifier, Prediction

__all__ = ["Classifier", "Prediction"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'rarn_edge' has no attribute '{name}'")
    from rarn_edge.errors import require_extra

    require_extra("onnxruntime", "cpu")
    from rarn_edge.device import classifier

    return getattr(classifier, name)
