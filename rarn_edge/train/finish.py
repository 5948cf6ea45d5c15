"""What is done to trained weights before release: a mean of several, class scaling, the grid of an INT8 file, float16."""

from collections import Counter
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

SMALLEST = 64 * 2.0**-14  # of a channel's largest weight: 1/64 of it, a step of 7 bits, has all bits of float16
SIGNIFICANT_BITS = 7  # of a stored weight, one fewer than bfloat16 has: a relative error of at most 0.8 %


def mean_of(run: Weights, lineage: Sequence[Weights], others: Sequence[Weights]) -> tuple[Weights, dict[str, Any]]:
    """The mean of a run's weights and of others (Wortsman 2022, arXiv:2203.05482), and its provenance. Who is named twice counts
    twice.

    Args:
        run: What the mean is released as.
        lineage: What the run, and what it started from, went through before.
        others: Of the run, of its lineage, or of runs that started there: others are not near enough to take a mean with.

    Raises:
        InputError: none, or another run.
    """
    if not others:
        raise InputError("there is nothing to take the mean with: the run started from random weights")
    near = {run.sha256, *(each.sha256 for each in lineage)}
    for other in others:
        if other.sha256 not in near and other.provenance.get("started_from") not in near:
            raise InputError(
                "a mean is of weights that come from the same ones;"
                f" sha256 {other.sha256[:12]} started elsewhere than the run and what it started from"
            )
    parts = (run, *others)
    tensors = dict(run.tensors)
    for key, tensor in tensors.items():
        if tensor.is_floating_point():  # in double precision, so that their order does not matter
            tensors[key] = torch.stack([part.tensors[key].double() for part in parts]).mean(0).float()
    times = Counter(each.sha256 for each in parts)
    distinct = {each.sha256: each for each in parts}
    said = [
        {"weights_sha256": sha256, "recipe": each.provenance.get("recipe"), "times": times[sha256]}
        for sha256, each in distinct.items()
    ]
    return replace(run, tensors=tensors), {**run.provenance, "mean_of": said}


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
    of float16, and float32 where a channel is too small for it: weights on the grid of an INT8 file then still lie on it.
    """
    if tensor.dtype != torch.float32 or tensor.ndim <= 1:
        return tensor
    if exact:
        largest = tensor.abs().flatten(1).amax(dim=1)  # of each channel
        return tensor if bool(((largest > 0) & (largest < SMALLEST)).any()) else tensor.half()
    mantissa, exponent = torch.frexp(tensor)  # mantissa in 0.5..1
    return torch.ldexp(torch.round(mantissa * 2**SIGNIFICANT_BITS) / 2**SIGNIFICANT_BITS, exponent).half()
