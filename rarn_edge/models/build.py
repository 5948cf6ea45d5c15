"""The modules of the catalog, and networks with random weights."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn

from rarn_edge.contract.preprocess import to_input
from rarn_edge.contract.spec import CLASSES
from rarn_edge.data.synthetic import drawn_for
from rarn_edge.models.catalog import find_model
from rarn_edge.models.inception import inception_v4
from rarn_edge.models.mobilenet import mobilenet_v1
from rarn_edge.models.network import Builder, Network
from rarn_edge.models.rarn import rarn_18, rarn_50, rarn_152, rarn_l, rarn_n, rarn_s
from rarn_edge.models.resnet import resnet_18, resnet_50, resnet_152

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
    """The named network of the catalog with fresh weights: [N, in_channels, side, side] float32 -> logits [N, num_classes].

    Raises:
        InputError: no such model.
    """
    return BUILDERS[find_model(name).name](num_classes, in_channels)


def untrained_model(name: str, seed: int) -> nn.Module:
    """The named network of the catalog with seeded random weights, see `fresh_model`."""
    entry = find_model(name)
    return fresh_model(Network(entry.spec, BUILDERS[name], name), seed)


def fresh_model(network: Network, seed: int) -> nn.Module:
    """A network as it is built, random weights seeded, in evaluation mode.

    Batch statistics that no image has touched are taken from synthetic faces: without them the activations of deep nets overflow
    or die away, and denormal numbers would distort the timing.
    """
    faces = to_input(drawn_for(network.spec.preprocess, 16, seed).pixels, network.spec.preprocess)  # [16, C, H, W]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network.build()
        network.check(model)
        if not network.as_it_is and not any(is_measured(layer) for layer in model.modules()):
            estimate_statistics(model, [torch.from_numpy(faces)])
    return model.eval()


def is_measured(layer: nn.Module) -> bool:
    """Whether it is a batch normalisation whose statistics are of images: it has counted them, or they were loaded."""
    if not isinstance(layer, nn.BatchNorm2d) or layer.running_mean is None or layer.running_var is None:
        return False
    fresh = not bool(layer.running_mean.any()) and bool((layer.running_var == 1).all())
    return bool(layer.num_batches_tracked) or not fresh


def estimate_statistics(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the statistics of every batch normalisation by plain means over `batches`, each [N, C, side, side]."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over what follows
    if not layers:
        return
    model.train()
    with torch.no_grad():
        for batch in batches:
            model(batch)
