"""Parameters and multiply-adds of a torch module, counted on the meta device: no memory, no arithmetic."""

import copy

import torch
from torch import Tensor, nn


def count_parameters(model: nn.Module) -> int:
    """Trainable values, as papers count them (batch statistics excluded)."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, channels: int, side_px: int) -> int:
    """Multiply-adds of all convolutions and linear layers for one image [1, channels, side_px, side_px]."""
    total = 0

    def add_conv(layer: nn.Conv2d, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output[0].numel() * layer.weight[0].numel()

    def add_linear(layer: nn.Linear, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        total += output[0].numel() * layer.in_features

    counted = bake(model).to("meta").eval()
    for layer in counted.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add_conv)
        elif isinstance(layer, nn.Linear):
            layer.register_forward_hook(add_linear)
    with torch.no_grad():
        counted(torch.empty(1, channels, side_px, side_px, device="meta"))
    return total


def bake(model: nn.Module) -> nn.Module:
    """A copy in which every layer that derives its kernel (such as the turned angle kernels) is one plain convolution."""
    plain = copy.deepcopy(model)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            baked = getattr(child, "baked", None)
            if callable(baked):
                setattr(parent, name, baked())
    return plain
