"""The baselines are the published networks: exact parameter counts, shapes, and what is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from rarn_edge.models.inception import inception_v4
from rarn_edge.models.mobilenet import mobilenet_v1
from rarn_edge.models.resnet import ResNet, resnet_18, resnet_50, resnet_152

Builder = Callable[[int, int], nn.Module]


def on_meta(builder: Builder, num_classes: int, in_channels: int) -> nn.Module:
    """Build without memory or arithmetic: counts and shapes are all these tests read."""
    with torch.device("meta"):
        return builder(num_classes, in_channels).eval()


@pytest.mark.parametrize(
    ("builder", "parameters"),
    [
        (mobilenet_v1, 4_231_976),
        (resnet_18, 11_689_512),
        (resnet_50, 25_557_032),
        (resnet_152, 60_192_808),
        (inception_v4, 42_679_816),
    ],
)
def test_parameter_count_is_the_published_one(builder: Builder, parameters: int) -> None:
    model = on_meta(builder, 1000, 3)
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(
    ("builder", "side_px"),
    [(mobilenet_v1, 48), (resnet_18, 48), (resnet_50, 48), (resnet_152, 48), (inception_v4, 75)],
)
def test_gray_batch_gives_one_row_of_logits_per_image(builder: Builder, side_px: int) -> None:
    model = on_meta(builder, 7, 1)
    assert model(torch.empty(2, 1, side_px, side_px, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("builder", [mobilenet_v1, resnet_18])
def test_initial_logits_are_finite_and_differ_between_images(builder: Builder) -> None:
    torch.manual_seed(0)
    model = builder(7, 1)  # training mode: BN normalises, as in the first step of a training run
    logits = model(torch.randn(2, 1, 48, 48))
    assert torch.isfinite(logits).all()
    assert not torch.allclose(logits[0], logits[1])


@pytest.mark.parametrize(
    ("builder", "channels"),
    [
        (resnet_18, (64, 64, 128, 256, 512)),
        (resnet_50, (64, 256, 512, 1024, 2048)),
        (resnet_152, (64, 256, 512, 1024, 2048)),
    ],
)
def test_forward_features_gives_a1_to_a5(builder: Builder, channels: tuple[int, ...]) -> None:
    model = on_meta(builder, 7, 1)
    assert isinstance(model, ResNet)
    maps = model.forward_features(torch.empty(2, 1, 48, 48, device="meta"))
    assert model.feature_channels == channels
    assert [tuple(a.shape) for a in maps] == [
        (2, c, side, side) for c, side in zip(channels, (24, 12, 6, 3, 2), strict=True)
    ]


def test_bottleneck_strides_in_its_3x3() -> None:
    model = on_meta(resnet_50, 7, 1)
    assert model.get_submodule("stage2.0.conv1").stride == (1, 1)
    assert model.get_submodule("stage2.0.conv2").stride == (2, 2)


@pytest.mark.parametrize(("height_px", "width_px"), [(48, 48), (74, 75), (75, 74)])
def test_inception_refuses_inputs_below_75_px(height_px: int, width_px: int) -> None:
    model = on_meta(inception_v4, 7, 1)
    with pytest.raises(ValueError, match=rf"{height_px}x{width_px} input, expected at least 75x75"):
        model(torch.empty(2, 1, height_px, width_px, device="meta"))
