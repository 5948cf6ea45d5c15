"""A small MobileNetV2 (Sandler 2018, arXiv:1801.04381) for coloured pictures of 64x64 pixels."""

from torch import Tensor, nn

STEM = 16
STAGES = ((1, 8, 1, 1), (4, 16, 2, 2), (4, 24, 2, 2), (4, 32, 2, 2))  # expansion, channels, blocks, stride of the first
HEAD = 96


def conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and batch normalisation."""
    return [
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(out_channels),
    ]


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project: [N, in, H, W] -> [N, out, H/stride, W/stride]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        expand = [*conv(in_channels, hidden, 1), nn.ReLU6()] if expansion > 1 else []
        depthwise = [*conv(hidden, hidden, 3, stride, groups=hidden), nn.ReLU6()]
        self.body = nn.Sequential(*expand, *depthwise, *conv(hidden, out_channels, 1))
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return x + y if self.skip else y


class Net(nn.Module):
    """[N, in_channels, 64, 64] -> logits [N, num_classes]."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [*conv(in_channels, STEM, 3, stride=2), nn.ReLU6()]  # [N, 16, 32, 32]
        channels = STEM
        for expansion, width, blocks, first in STAGES:  # [N, 32, 4, 4] after the last
            for block in range(blocks):
                layers.append(InvertedResidual(channels, width, first if block == 0 else 1, expansion))
                channels = width
        self.features = nn.Sequential(*layers, *conv(channels, HEAD, 1), nn.ReLU6())  # [N, 96, 4, 4]
        self.classifier = nn.Linear(HEAD, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(x).mean((2, 3)))  # [N, 96] -> [N, num_classes]
        return logits


def build(num_classes: int, in_channels: int) -> Net:
    """What `--model net.py:build` calls."""
    return Net(num_classes, in_channels)
