"""Facial-expression models from PyTorch to a device.

What the command line does is one call here: `rarn_edge.export`, `.quantize`, `.parity`, ... return as frozen values what
the commands print. `Classifier` is the device side. All of it is loaded when first asked for, so that `import rarn_edge` itself
costs nothing; a call whose packages are missing names the extra that brings them.

Example:
    >>> import rarn_edge
    >>> rarn_edge.verify(threads=1)[0].passed()
    True
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rarn_edge.device.classifier import Classifier, Prediction
    from rarn_edge.pipeline.inspect import inspect
    from rarn_edge.pipeline.simplify import simplify
    from rarn_edge.pipeline.stamp import stamp
    from rarn_edge.workflow.audit import audit
    from rarn_edge.workflow.bench import benchmark, compare
    from rarn_edge.workflow.bundle import bundle
    from rarn_edge.workflow.evaluate import evaluate
    from rarn_edge.workflow.model_files import export
    from rarn_edge.workflow.parity import parity
    from rarn_edge.workflow.quantize import quantize
    from rarn_edge.workflow.run import run
    from rarn_edge.workflow.train import train
    from rarn_edge.workflow.verdict import verdict
    from rarn_edge.workflow.verify import verify

_CPU, _ONNX, _TORCH = ("onnxruntime", "cpu"), ("onnx", "export"), ("torch", "export")
_PLACES = {
    "Classifier": ("rarn_edge.device.classifier:Classifier", _CPU),
    "Prediction": ("rarn_edge.device.classifier:Prediction", _CPU),
    "run": ("rarn_edge.workflow.run:run", _TORCH),
    "train": ("rarn_edge.workflow.train:train", ("torch", "train")),
    "export": ("rarn_edge.workflow.model_files:export", _TORCH),
    "simplify": ("rarn_edge.pipeline.simplify:simplify", _ONNX),
    "quantize": ("rarn_edge.workflow.quantize:quantize", _ONNX),
    "stamp": ("rarn_edge.pipeline.stamp:stamp", _ONNX),
    "inspect": ("rarn_edge.pipeline.inspect:inspect", _CPU),
    "audit": ("rarn_edge.workflow.audit:audit", _ONNX),
    "verdict": ("rarn_edge.workflow.verdict:verdict", _CPU),
    "parity": ("rarn_edge.workflow.parity:parity", _CPU),
    "verify": ("rarn_edge.workflow.verify:verify", _CPU),
    "evaluate": ("rarn_edge.workflow.evaluate:evaluate", _CPU),
    "benchmark": ("rarn_edge.workflow.bench:benchmark", _CPU),
    "compare": ("rarn_edge.workflow.bench:compare", _CPU),
    "bundle": ("rarn_edge.workflow.bundle:bundle", _CPU),
}
"""Where each name is, and the package it needs with the extra that brings it."""

__all__ = [
    "Classifier", "Prediction", "run", "train", "export", "simplify", "quantize", "stamp", "audit", "verdict", "parity", "verify",
    "evaluate", "benchmark", "compare", "bundle", "inspect",
]  # fmt: skip


def _find(name: str) -> Any:
    from rarn_edge.errors import require_extra

    place, needs = _PLACES[name]
    require_extra(*needs)
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rarn_edge' has no attribute '{name}'")
    found = _find(name)
    # importing the call may have put the part of the package of that name (`audit`, `parity`, `train`) in its place
    return globals().get(name, found)


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})


class _CallablePart(ModuleType):
    """A part that shares its name with a call: `rarn_edge.parity(...)` calls, `rarn_edge.parity.steps` is a module."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return _find(self.__name__.rpartition(".")[2])(*arguments, **options)


class _Package(ModuleType):
    """This package; Python's import sets its parts as attributes, and those that share a name with a call become callable."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in _PLACES and isinstance(value, ModuleType):
            value.__class__ = _CallablePart
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
