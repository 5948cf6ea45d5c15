"""ResNet-18, -50 and -152: exists because the study's teacher and its heavy baselines are residual networks.

Source: He et al., "Deep Residual Learning for Image Recognition", 2015 (arXiv:1512.03385), table 1; the
bottleneck strides in its 3x3 convolution ("v1.5", as torchvision), not in its first 1x1. Unlike the usual
class, `ResNet.forward_features` hands out the five maps A1..A5 that a decoder or a distillation loss needs.
Shape comments are for a 48x48 gray input, channels for ResNet-18.
"""

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [N, in_channels, H, W] -> [N, channels, H/stride, W/stride].

    H/stride and W/stride round up. Source: He 2015, section 4.1, figure 5 left, shortcut option B.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut = _shortcut(in_channels, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        out = F.relu(self.bn1(self.conv1(x)))  # [N, channels, H/stride, W/stride]
        out = self.bn2(self.conv2(out))
        return F.relu(out + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut.

    [N, in_channels, H, W] -> [N, 4 channels, H/stride, W/stride], sizes rounded up.
    Source: He 2015, section 4.1, figure 5 right, shortcut option B.
    """

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        out_channels = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return relu(residual(x) + shortcut(x))."""
        out = F.relu(self.bn1(self.conv1(x)))  # [N, channels, H, W]
        out = F.relu(self.bn2(self.conv2(out)))  # [N, channels, H/stride, W/stride]
        out = self.bn3(self.conv3(out))  # [N, 4 channels, H/stride, W/stride]
        return F.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    """Residual network: [N, in_channels, H, W] float32 -> logits [N, num_classes].

    `blocks` counts the blocks of the four stages, `feature_channels` gives the channels of A1..A5.
    """

    feature_channels: tuple[int, int, int, int, int]

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: tuple[int, int, int, int],
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        e = block.expansion
        self.feature_channels = (64, 64 * e, 128 * e, 256 * e, 512 * e)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage1 = _stage(block, 64, 64, blocks[0], stride=1)
        self.stage2 = _stage(block, 64 * e, 128, blocks[1], stride=2)
        self.stage3 = _stage(block, 128 * e, 256, blocks[2], stride=2)
        self.stage4 = _stage(block, 256 * e, 512, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512 * e, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return A1 (stem output, before the max-pool) and A2..A5 (stage outputs), at strides 2 to 32."""
        a1 = F.relu(self.bn1(self.conv1(x)))  # [N, 64, 24, 24]
        pooled = self.maxpool(a1)  # [N, 64, 12, 12]
        a2 = self.stage1(pooled)  # [N, 64, 12, 12]
        a3 = self.stage2(a2)  # [N, 128, 6, 6]
        a4 = self.stage3(a3)  # [N, 256, 3, 3]
        a5 = self.stage4(a4)  # [N, 512, 2, 2]
        return a1, a2, a3, a4, a5

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, num_classes]."""
        a5 = self.forward_features(x)[-1]  # [N, 512, 2, 2]
        pooled = self.avgpool(a5).flatten(1)  # [N, 512]
        logits: Tensor = self.fc(pooled)  # [N, num_classes]
        return logits


def resnet_18(num_classes: int, in_channels: int) -> ResNet:
    """Build ResNet-18 (He 2015, table 1)."""
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes, in_channels)


def resnet_50(num_classes: int, in_channels: int) -> ResNet:
    """Build ResNet-50 v1.5 (He 2015, table 1)."""
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes, in_channels)


def resnet_152(num_classes: int, in_channels: int) -> ResNet:
    """Build ResNet-152 v1.5 (He 2015, table 1)."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes, in_channels)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, channels: int, count: int, stride: int
) -> nn.Sequential:
    """Chain `count` blocks; only the first strides and changes the channels."""
    first = block(in_channels, channels, stride)
    rest = [block(channels * block.expansion, channels) for _ in range(count - 1)]
    return nn.Sequential(first, *rest)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """Identity, or a 1x1 projection where the block changes the shape (He 2015, section 3.3)."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )
