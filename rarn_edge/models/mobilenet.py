"""MobileNetV1 at width 1.0: exists as the study's baseline of a network designed for edge devices.

Source: Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications",
2017 (arXiv:1704.04861), table 1. Its last depthwise layer is printed there with stride 2, but the sizes in
the table need stride 1, which is what the authors' code and this file use. Shape comments are for a 48x48
gray input.
"""

from torch import Tensor, nn


class MobileNetV1(nn.Module):
    """Depthwise separable network: [N, in_channels, H, W] float32 -> logits [N, num_classes]."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_conv_bn_relu(in_channels, 32, kernel=3, stride=2),  # [N, 32, 24, 24]
            _separable(32, 64),  # [N, 64, 24, 24]
            _separable(64, 128, stride=2),  # [N, 128, 12, 12]
            _separable(128, 128),
            _separable(128, 256, stride=2),  # [N, 256, 6, 6]
            _separable(256, 256),
            _separable(256, 512, stride=2),  # [N, 512, 3, 3]
            _separable(512, 512),
            _separable(512, 512),
            _separable(512, 512),
            _separable(512, 512),
            _separable(512, 512),
            _separable(512, 1024, stride=2),  # [N, 1024, 2, 2]
            _separable(1024, 1024),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(1024, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                # PyTorch's fan_out ignores groups: it would start depthwise kernels sqrt(C) too small.
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, num_classes]."""
        features = self.features(x)  # [N, 1024, 2, 2]
        pooled = self.avgpool(features).flatten(1)  # [N, 1024]
        logits: Tensor = self.fc(pooled)  # [N, num_classes]
        return logits


def mobilenet_v1(num_classes: int, in_channels: int) -> MobileNetV1:
    """Build MobileNetV1 at width 1.0 (Howard 2017, table 1)."""
    return MobileNetV1(num_classes, in_channels)


def _separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """Depthwise 3x3, then pointwise 1x1, each with BN and ReLU (Howard 2017, section 3.1, figure 3 right)."""
    return nn.Sequential(
        *_conv_bn_relu(in_channels, in_channels, kernel=3, stride=stride, groups=in_channels),
        *_conv_bn_relu(in_channels, out_channels, kernel=1),
    )


def _conv_bn_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Conv2d, nn.BatchNorm2d, nn.ReLU]:
    """Layers [N, in_channels, H, W] -> [N, out_channels, H/stride, W/stride], sizes rounded up."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(out_channels), nn.ReLU()
