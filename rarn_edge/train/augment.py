"""Augmentation of whole batches of uint8 faces: one affine warp for all images instead of a Python transform for each."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rarn_edge.train.recipe import Augmentation


def augment(images: Tensor, recipe: Augmentation, generator: torch.Generator, crop_px: int = 0) -> Tensor:
    """[N, H, W] or [N, H, W, 3] uint8 -> [N, C, H, W] float32 in pixel values 0..255, each image changed by its own draw.

    `crop_px` > 0: only the middle [N, C, crop_px, crop_px] of the changed image is made, at the same scale. What leaves the
    frame is refilled with the border's pixels, as a crop of a larger photograph would be. Images and generator are on one device,
    which is never asked for a value: the whole can be recorded as a CUDA graph.
    """
    pixels = (images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2)).float()  # [N, C, H, W]
    pixels = _warp(pixels, recipe, generator, crop_px)
    pixels = _relight(pixels, recipe, generator)
    return _erase(pixels, recipe.erase, generator) if recipe.erase else pixels


def _uniform(count: int, reach: float, generator: torch.Generator) -> Tensor:
    """[count] in -reach..reach."""
    return (_rand(count, generator) * 2 - 1) * reach


def _rand(count: int, generator: torch.Generator) -> Tensor:
    """[count] in 0..1, on the generator's device."""
    return torch.rand(count, generator=generator, device=generator.device)


def _warp(pixels: Tensor, recipe: Augmentation, generator: torch.Generator, crop_px: int) -> Tensor:
    count, _, height, width = pixels.shape
    out_height, out_width = (crop_px, crop_px) if crop_px else (height, width)
    angle = _uniform(count, math.radians(recipe.rotation_deg), generator)
    zoom = 1 / (1 + _uniform(count, recipe.scale, generator))
    shift_x = _uniform(count, 2 * recipe.shift_x, generator)  # the sampling grid spans -1..1: twice the fraction
    shift_y = _uniform(count, 2 * recipe.shift_y, generator)
    if recipe.least_area < 1:
        area = recipe.least_area + (recipe.most_area - recipe.least_area) * _rand(count, generator)
        side = torch.sqrt(area)  # of the crop, as a fraction of the image's
        zoom = zoom * side
        shift_x = shift_x + _uniform(count, 1.0, generator) * (1 - side)
        shift_y = shift_y + _uniform(count, 1.0, generator) * (1 - side)
    mirror_x = 1 - 2 * (_rand(count, generator) < recipe.flip_horizontal).float()
    mirror_y = 1 - 2 * (_rand(count, generator) < recipe.flip_vertical).float()
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    aspect = height / width  # both sides span -1..1, so a turn of what is not square has to know it
    rows = (mirror_x * cos, -mirror_x * sin * aspect, shift_x, mirror_y * sin / aspect, mirror_y * cos, shift_y)
    theta = torch.stack(rows, dim=1).view(count, 2, 3, 1, 1)
    x = _centres(out_width, width, pixels.device)  # [out W]
    y = _centres(out_height, height, pixels.device).view(-1, 1)  # [out H, 1]
    # torch's affine_grid takes five times as long
    grid = theta[:, :, 0] * x + (theta[:, :, 1] * y + theta[:, :, 2])  # [N, 2, out H, out W]
    grid = grid.permute(0, 2, 3, 1)  # [N, out H, out W, 2]
    return F.grid_sample(pixels, grid, mode=recipe.interpolation, padding_mode="border", align_corners=False)


def _centres(count: int, side_px: int, device: torch.device) -> Tensor:
    """Where the middle `count` pixels of a side lie in its span of -1..1: [count]."""
    return (2 * torch.arange(count, device=device) + 1 - count) / side_px


def _relight(pixels: Tensor, recipe: Augmentation, generator: torch.Generator) -> Tensor:
    count = len(pixels)
    brightness = (1 + _uniform(count, recipe.brightness, generator)).view(-1, 1, 1, 1)
    contrast = (1 + _uniform(count, recipe.contrast, generator)).view(-1, 1, 1, 1)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)  # [N, 1, 1, 1]
    return (((pixels - mean) * contrast + mean) * brightness).clamp_(0, 255)


def _erase(pixels: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    count, _, height, width = pixels.shape
    area = 0.02 + 0.18 * _rand(count, generator)  # fraction of the image
    aspect = torch.exp(_uniform(count, math.log(3.0), generator))
    half_height = (torch.sqrt(area * aspect) * height / 2).view(-1, 1, 1)
    half_width = (torch.sqrt(area / aspect) * width / 2).view(-1, 1, 1)
    centre_y = (_rand(count, generator) * height).view(-1, 1, 1)
    centre_x = (_rand(count, generator) * width).view(-1, 1, 1)
    inside_y = (torch.arange(height, device=pixels.device).view(1, -1, 1) - centre_y).abs() <= half_height  # [N, H, 1]
    inside_x = (torch.arange(width, device=pixels.device).view(1, 1, -1) - centre_x).abs() <= half_width  # [N, 1, W]
    chosen = (_rand(count, generator) < probability).view(-1, 1, 1)
    hole = (inside_y & inside_x & chosen)[:, None]  # [N, 1, H, W], of every channel
    return torch.where(hole, _noise(pixels.shape, generator), pixels)


def _noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """uint8, eight bytes from each draw: a draw for each would be a seventh of the augmentation's time."""
    longs = (math.prod(shape) + 7) // 8
    drawn = torch.randint(-(2**63), 2**63 - 1, (longs,), generator=generator, device=generator.device)
    return drawn.view(torch.uint8)[: math.prod(shape)].view(shape)
