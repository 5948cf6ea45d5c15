"""What is done to trained weights before release: a mean of several, class scaling, the grid of an INT8 file, float16."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from rarn_edge.contract.targets import Target
from rarn_edge.errors import InputError
from rarn_edge.models.classifier import classifier_of
from rarn_edge.train.checkpoint import Weights
from rarn_edge.train.quantization_aware import QuantizationAware

SIGNIFICANT_BITS = 7  # of a stored weight, one fewer than bfloat16 has: a relative error of at most 0.8 %


def mean_of(
    run: Weights, start: Weights, others: Sequence[Weights] = (), with_start: bool = True
) -> tuple[Weights, dict[str, Any]]:
    """The mean of a run's weights, of those it started from (or not) and of other runs that started there (Wortsman 2022,
    arXiv:2203.05482), and its provenance.

    Raises:
        InputError: another run started elsewhere.
    """
    for other in others:
        if other.provenance["started_from"] != start.sha256:
            raise InputError(f"a mean is of runs that started from the same weights, here sha256 {start.sha256[:12]}")
    parts = (run, start, *others) if with_start else (run, *others)
    tensors = {
        key: torch.stack([part.tensors[key].double() for part in parts]).mean(0).float()  # whatever their order
        if tensor.is_floating_point()
        else tensor
        for key, tensor in run.tensors.items()
    }
    said: list[dict[str, Any]] = [{"weights_sha256": start.sha256}] if with_start else []
    said += [{"weights_sha256": other.sha256, "recipe": other.provenance["recipe"]} for other in others]
    return replace(run, tensors=tensors), {**run.provenance, "averaged_with": said}


def class_scaled(weights: Weights, factors: NDArray[Any], offsets: NDArray[Any]) -> Weights:
    """The weights with a factor and an offset [classes] for each class's logit in the last layer.

    Raises:
        InputError: the last layer has no offset for each class.
    """
    network = weights.model()
    last = classifier_of(network, len(weights.spec.classes))
    if not isinstance(last.weight, Tensor) or not isinstance(last.bias, Tensor):
        raise InputError(f"{weights.spec.name}: its last layer has no bias to take the scaling of each class")
    scale, offset = (torch.from_numpy(values).float() for values in (factors, offsets))  # each [classes]
    with torch.no_grad():
        last.weight.mul_(scale.view(-1, *[1] * (last.weight.ndim - 1)))
        last.bias.mul_(scale).add_(offset)
    return replace(weights, tensors=dict(network.state_dict()))


def on_grid(weights: Weights, target: Target) -> Weights:
    """The weights with the values that the target's INT8 file multiplies by."""
    network, preprocess = weights.model(), weights.spec.preprocess
    example = torch.zeros(2, preprocess.channels, preprocess.height_px, preprocess.width_px)
    QuantizationAware(network, example, target).put_on_grid()
    return replace(weights, tensors=dict(network.state_dict()))


def compacted(tensor: Tensor, exact: bool = False) -> Tensor:
    """Weights of convolutions and linear layers as float16 rounded to `SIGNIFICANT_BITS`; float32 when loaded.

    Half the size in a repository, and the zeros at the end of each let a wheel compress the rest. With `exact` they keep all bits
    of float16: weights on the grid of an INT8 file then still lie on it.
    """
    if tensor.dtype != torch.float32 or tensor.ndim <= 1:
        return tensor
    if exact:
        return tensor.half()
    mantissa, exponent = torch.frexp(tensor)  # mantissa in 0.5..1
    return torch.ldexp(torch.round(mantissa * 2**SIGNIFICANT_BITS) / 2**SIGNIFICANT_BITS, exponent).half()
