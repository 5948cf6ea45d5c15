"""Inception-v4: exists as the study's baseline of a wide, branched network.

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
2017 (arXiv:1602.07261), figures 3 to 9. The 8x8 average pool of figure 9 is a global one here, so that inputs
other than 299x299 work. Where figure and released code differ, the code (tensorflow/models,
slim/nets/inception_v4.py) decides. Shape comments are for a 75x75 gray input, the smallest that leaves one
pixel at the end: five unpadded stride-2 steps take 75 to 1.
"""

from torch import Tensor, cat, nn

MIN_SIDE_PX = 75
DROPOUT = 0.2  # figure 9: keep 0.8
BN_EPS = 1e-3  # as the released code

_Size = int | tuple[int, int]


class Branches(nn.Module):
    """Run branches on one input and join their channels: [N, C, H, W] -> [N, sum of C_i, H', W']."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch outputs, concatenated in the order given."""
        return cat([branch(x) for branch in self.branches], dim=1)  # [N, sum of C_i, H', W']


class InceptionV4(nn.Module):
    """Inception-v4: [N, in_channels, H, W] float32, H and W at least 75 -> logits [N, num_classes]."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = _stem(in_channels)
        self.blocks_a = nn.Sequential(*[_inception_a() for _ in range(4)])
        self.reduction_a = _reduction_a()
        self.blocks_b = nn.Sequential(*[_inception_b() for _ in range(7)])
        self.reduction_b = _reduction_b()
        self.blocks_c = nn.Sequential(*[_inception_c() for _ in range(3)])
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(DROPOUT)
        self.fc = nn.Linear(1536, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, num_classes]; ValueError where a side of x is below 75 pixels."""
        height_px, width_px = x.shape[-2], x.shape[-1]
        if height_px < MIN_SIDE_PX or width_px < MIN_SIDE_PX:
            raise ValueError(
                f"Inception-v4 got a {height_px}x{width_px} input, expected at least "
                f"{MIN_SIDE_PX}x{MIN_SIDE_PX} (height x width, pixels): resize or pad the images first"
            )
        x = self.stem(x)  # [N, 384, 7, 7]
        x = self.blocks_a(x)  # [N, 384, 7, 7]
        x = self.reduction_a(x)  # [N, 1024, 3, 3]
        x = self.blocks_b(x)  # [N, 1024, 3, 3]
        x = self.reduction_b(x)  # [N, 1536, 1, 1]
        x = self.blocks_c(x)  # [N, 1536, 1, 1]
        x = self.avgpool(x).flatten(1)  # [N, 1536]
        logits: Tensor = self.fc(self.dropout(x))  # [N, num_classes]
        return logits


def inception_v4(num_classes: int, in_channels: int) -> InceptionV4:
    """Build Inception-v4 (Szegedy 2017, figure 9)."""
    return InceptionV4(num_classes, in_channels)


def _stem(in_channels: int) -> nn.Sequential:
    """Figure 3: [N, in_channels, 75, 75] -> [N, 384, 7, 7]."""
    return nn.Sequential(
        _conv(in_channels, 32, 3, stride=2),  # [N, 32, 37, 37]
        _conv(32, 32, 3),  # [N, 32, 35, 35]
        _conv(32, 64, 3, padding=1),  # [N, 64, 35, 35]
        Branches(  # [N, 64 + 96, 17, 17]
            nn.MaxPool2d(3, stride=2),
            _conv(64, 96, 3, stride=2),
        ),
        Branches(  # [N, 96 + 96, 15, 15]
            nn.Sequential(
                _conv(160, 64, 1),
                _conv(64, 96, 3),
            ),
            nn.Sequential(
                _conv(160, 64, 1),
                _conv(64, 64, (1, 7), padding=(0, 3)),
                _conv(64, 64, (7, 1), padding=(3, 0)),
                _conv(64, 96, 3),
            ),
        ),
        Branches(  # [N, 192 + 192, 7, 7]
            _conv(192, 192, 3, stride=2),
            nn.MaxPool2d(3, stride=2),
        ),
    )


def _inception_a() -> Branches:
    """Figure 4: [N, 384, 7, 7] -> the same, as 96 + 96 + 96 + 96."""
    return Branches(
        _conv(384, 96, 1),
        nn.Sequential(
            _conv(384, 64, 1),
            _conv(64, 96, 3, padding=1),
        ),
        nn.Sequential(
            _conv(384, 64, 1),
            _conv(64, 96, 3, padding=1),
            _conv(96, 96, 3, padding=1),
        ),
        _pool_conv(384, 96),
    )


def _reduction_a() -> Branches:
    """Figure 7, table 1: [N, 384, 7, 7] -> [N, 384 + 256 + 384, 3, 3]."""
    return Branches(
        _conv(384, 384, 3, stride=2),
        nn.Sequential(
            _conv(384, 192, 1),
            _conv(192, 224, 3, padding=1),
            _conv(224, 256, 3, stride=2),
        ),
        nn.MaxPool2d(3, stride=2),
    )


def _inception_b() -> Branches:
    """Figure 5: [N, 1024, 3, 3] -> the same, as 384 + 256 + 256 + 128."""
    return Branches(
        _conv(1024, 384, 1),
        nn.Sequential(
            _conv(1024, 192, 1),
            _conv(192, 224, (1, 7), padding=(0, 3)),
            _conv(224, 256, (7, 1), padding=(3, 0)),
        ),
        nn.Sequential(
            _conv(1024, 192, 1),
            _conv(192, 192, (7, 1), padding=(3, 0)),
            _conv(192, 224, (1, 7), padding=(0, 3)),
            _conv(224, 224, (7, 1), padding=(3, 0)),
            _conv(224, 256, (1, 7), padding=(0, 3)),
        ),
        _pool_conv(1024, 128),
    )


def _reduction_b() -> Branches:
    """Figure 8: [N, 1024, 3, 3] -> [N, 192 + 320 + 1024, 1, 1]."""
    return Branches(
        nn.Sequential(
            _conv(1024, 192, 1),
            _conv(192, 192, 3, stride=2),
        ),
        nn.Sequential(
            _conv(1024, 256, 1),
            _conv(256, 256, (1, 7), padding=(0, 3)),
            _conv(256, 320, (7, 1), padding=(3, 0)),
            _conv(320, 320, 3, stride=2),
        ),
        nn.MaxPool2d(3, stride=2),
    )


def _inception_c() -> Branches:
    """Figure 6: [N, 1536, 1, 1] -> the same, as 256 + (256 + 256) + (256 + 256) + 256."""
    return Branches(
        _conv(1536, 256, 1),
        nn.Sequential(
            _conv(1536, 384, 1),
            _fork(384),
        ),
        nn.Sequential(
            _conv(1536, 384, 1),
            _conv(384, 448, (3, 1), padding=(1, 0)),
            _conv(448, 512, (1, 3), padding=(0, 1)),
            _fork(512),
        ),
        _pool_conv(1536, 256),
    )


def _fork(in_channels: int) -> Branches:
    """1x3 beside 3x1, the ends of the middle branches in figure 6: [N, C, H, W] -> [N, 256 + 256, H, W]."""
    return Branches(
        _conv(in_channels, 256, (1, 3), padding=(0, 1)),
        _conv(in_channels, 256, (3, 1), padding=(1, 0)),
    )


def _pool_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """3x3 average pool of stride 1, then 1x1; the border averages real pixels only, as TensorFlow's does."""
    return nn.Sequential(
        nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
        _conv(in_channels, out_channels, 1),
    )


def _conv(in_channels: int, out_channels: int, kernel: _Size, stride: int = 1, padding: _Size = 0) -> nn.Sequential:
    """Convolution, BN, ReLU; unpadded ("V" in the figures) unless `padding` is given."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding, bias=False),
        nn.BatchNorm2d(out_channels, eps=BN_EPS),
        nn.ReLU(),
    )
