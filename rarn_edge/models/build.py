"""From a catalog name to a torch module."""

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn

from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.synthetic import synthetic_faces
from rarn_edge.models.catalog import find_model
from rarn_edge.models.inception import inception_v4
from rarn_edge.models.mobilenet import mobilenet_v1
from rarn_edge.models.rarn import rarn_18, rarn_50, rarn_152, rarn_l, rarn_n, rarn_s
from rarn_edge.models.resnet import resnet_18, resnet_50, resnet_152

Builder = Callable[[int, int], nn.Module]  # (num_classes, in_channels)

BUILDERS: dict[str, Builder] = {
    "rarn-s": rarn_s,
    "rarn-n": rarn_n,
    "rarn-n-none": partial(rarn_n, angle="none"),
    "rarn-n-cbam": partial(rarn_n, angle="cbam"),
    "rarn-n-conv": partial(rarn_n, angle="conv"),
    "rarn-l": rarn_l,
    "rarn-18": rarn_18,
    "rarn-50": rarn_50,
    "rarn-152": rarn_152,
    "resnet-18": resnet_18,
    "resnet-50": resnet_50,
    "resnet-152": resnet_152,
    "inception-v4": inception_v4,
    "mobilenet-v1": mobilenet_v1,
}


def build_model(name: str, num_classes: int = len(CLASSES), in_channels: int = 1) -> nn.Module:
    """The named network with fresh weights: [N, in_channels, side, side] float32 -> logits [N, num_classes].

    Raises:
        InputError: no such model.
    """
    return BUILDERS[find_model(name).name](num_classes, in_channels)


def untrained_model(name: str, seed: int) -> nn.Module:
    """The named network with seeded random weights, in evaluation mode.

    Batch statistics are taken from synthetic faces: without them the activations of deep nets overflow or die away, and
    denormal numbers would distort the timing.
    """
    faces = to_input(synthetic_faces(16, seed).pixels, find_model(name).spec.preprocess)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build_model(name)
        estimate_statistics(model, [torch.from_numpy(faces)])
    return model.eval()


def estimate_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the statistics of every batch normalisation by plain means over `batches`, each [N, C, side, side]."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # a plain mean over what follows
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
