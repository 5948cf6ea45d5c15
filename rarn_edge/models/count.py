"""Parameters and multiply-adds of a torch module."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def count_parameters(model: nn.Module) -> int:
    """Trainable values, as papers count them (batch statistics excluded)."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, channels: int, height_px: int, width_px: int) -> int:
    """Multiply-adds of all convolutions and matrix products for one image [1, channels, height_px, width_px].

    torch counts them as the network runs, whatever module or function asks for them.
    """
    counted = bake(model).eval()  # a turned kernel multiplies as often as a plain one, however it is made
    with FlopCounterMode(display=False) as counter:  # with gradients: fused attention kernels without are not counted
        counted(torch.zeros(1, channels, height_px, width_px, device=device_of(model)))
    return int(counter.get_total_flops()) // 2


def device_of(model: nn.Module) -> torch.device:
    """Where its parameters lie; the CPU for one without."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def bake(model: nn.Module) -> nn.Module:
    """A copy in which every layer that derives its kernel (such as the turned angle kernels) is one plain convolution."""
    plain = copy.deepcopy(model)
    for parent in list(plain.modules()):
        for name, child in list(parent.named_children()):
            baked = getattr(child, "baked", None)
            if callable(baked):
                setattr(parent, name, baked())
    return plain
