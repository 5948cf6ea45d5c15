"""RARN, the Rotation-Aware Residual Network (Zhu, EMITI 2024): residual stages, top-down fusion, angle-sensitive attention.

    image -> stem A1 -> stage A2 -> stage A3 -> stage A4 -> stage A5 --------------------------+
                |           |           |           |           |                              |
              (1x1)       (1x1)       (1x1)       (1x1)       (1x1)                            |
                +<--- up ---+<--- up ---+<--- up ---+<--- up ---+     (section 3.2, fuse_to)   |
                                        |                                                      |
                            angle map -> mean|max -> conv -> sigmoid -> product (section 3.3)  |
                                        |                                                      |
                                      pool -------------------> concatenate <--------------- pool
                                                                    |
                                                                  linear -> logits

The paper puts this on ResNet-152 and joins all five maps (`rarn_152`; `rarn_50` and `rarn_18` are the same on smaller
ResNets). The edge members `rarn_s` and `rarn_n`, and `rarn_l` that teaches them, have the same three parts on a backbone
made for 48x48 faces and INT8: plain 3x3 convolutions in multiples of 16 channels, and a fusion that stops at A3, because
joining A2 and A1 would cost more time than the stages that made them.
"""

from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rarn_edge.models.resnet import BasicBlock, ResNet, resnet_18, resnet_50, resnet_152

FiveMaps = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
Angle = Literal["conv", "lifted", "cbam", "none"]
"""How the "angle" map is made: `conv`, the literal reading of section 3.3; `lifted`, one kernel bank in four orientations,
which makes the mask turn with the face; `cbam`, no angle map (pool the input itself); `none`, no attention."""


class Backbone(Protocol):
    """Anything that makes the five maps A1..A5, each half the size of the one before, or of the same size."""

    feature_channels: tuple[int, int, int, int, int]

    def forward_features(self, x: Tensor) -> FiveMaps: ...


class EdgeBackbone(nn.Module):
    """Stem and four stages of basic blocks for 48x48 faces; shapes beside the lines are those of `rarn_s`."""

    def __init__(
        self,
        stem: int,
        widths: tuple[int, int, int, int],
        blocks: tuple[int, int, int, int],
        strides: tuple[int, int, int, int],
        in_channels: int,
    ) -> None:
        super().__init__()
        self.feature_channels = (stem, *widths)
        self.stem = nn.Sequential(
            nn.Conv2d(in_channels, stem, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU()
        )
        stages = []
        channels = stem
        for width, count, stride in zip(widths, blocks, strides, strict=True):
            stage = [BasicBlock(channels, width, stride)]
            stage += [BasicBlock(width, width, 1) for _ in range(count - 1)]
            stages.append(nn.Sequential(*stage))
            channels = width
        self.stages = nn.ModuleList(stages)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward_features(self, x: Tensor) -> FiveMaps:
        a1 = self.stem(x)  # [N, 1, 48, 48] -> [N, 32, 24, 24]
        a2 = self.stages[0](a1)  # [N, 32, 24, 24]
        a3 = self.stages[1](a2)  # [N, 64, 12, 12]
        a4 = self.stages[2](a3)  # [N, 128, 6, 6]
        a5 = self.stages[3](a4)  # [N, 192, 3, 3]
        return a1, a2, a3, a4, a5


class TopDownFusion(nn.Module):
    """Join the maps from A5 up to A<fuse_to> (section 3.2): 1x1 laterals to one width, nearest upsampling, addition.

    Nearest, not bilinear: ONNX Runtime has an INT8 kernel for it, and the laterals come after the maps anyway.
    """

    def __init__(self, feature_channels: tuple[int, ...], width: int, fuse_to: int) -> None:
        super().__init__()
        self.fuse_to = fuse_to
        self.laterals = nn.ModuleList(nn.Conv2d(c, width, 1) for c in feature_channels[fuse_to - 1 :])

    def forward(self, maps: FiveMaps) -> Tensor:
        joined = self.laterals[-1](maps[-1])  # [N, 64, 3, 3]
        for level in range(len(maps) - 1, self.fuse_to - 1, -1):  # A4, A3, ... down to A<fuse_to>
            feature = maps[level - 1]
            lateral = self.laterals[level - self.fuse_to](feature)  # [N, 64, 6, 6], then [N, 64, 12, 12]
            joined = _upsample(joined, feature) + lateral
        return F.relu(joined)


def _upsample(x: Tensor, like: Tensor) -> Tensor:
    """Nearest neighbours, to the height and width of `like`; a whole factor stays a constant in the exported graph."""
    if like.shape[-2:] == x.shape[-2:]:
        return x
    if like.shape[-2] == 2 * x.shape[-2] and like.shape[-1] == 2 * x.shape[-1]:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.interpolate(x, size=like.shape[-2:], mode="nearest")


class LiftedConv(nn.Module):
    """A 3x3 convolution whose kernels are one bank in four orientations (turns of 90 degrees, exact on the grid).

    [N, C, H, W] -> [N, 4 * bank, H, W], orientation-major. `baked()` is the same map as one plain convolution, for export.
    """

    def __init__(self, channels: int, bank: int) -> None:
        super().__init__()
        self.bank = nn.Conv2d(channels, bank, 3, padding=1)

    def kernels(self) -> tuple[Tensor, Tensor]:
        """The turned weight [4 * bank, C, 3, 3] and bias [4 * bank]."""
        assert self.bank.bias is not None
        turns = [torch.rot90(self.bank.weight, k, (2, 3)) for k in range(4)]
        return torch.cat(turns), self.bank.bias.repeat(4)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.kernels(), padding=1)

    def baked(self) -> nn.Conv2d:
        return _plain_conv(*self.kernels(), padding=1)


class TurnInvariantConv(nn.Module):
    """The mask's 7x7 convolution with its kernel averaged over four turns: turning the maps turns the mask."""

    def __init__(self, channels: int, kernel_px: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, kernel_px, padding=kernel_px // 2)

    def kernel(self) -> tuple[Tensor, Tensor]:
        assert self.conv.bias is not None
        turns = [torch.rot90(self.conv.weight, k, (2, 3)) for k in range(4)]
        return torch.stack(turns).mean(0), self.conv.bias

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, *self.kernel(), padding=self.conv.kernel_size[0] // 2)

    def baked(self) -> nn.Conv2d:
        return _plain_conv(*self.kernel(), padding=self.conv.kernel_size[0] // 2)


def _plain_conv(weight: Tensor, bias: Tensor, padding: int) -> nn.Conv2d:
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], weight.shape[2], padding=padding)
    conv.weight = nn.Parameter(weight.detach().clone())
    conv.bias = nn.Parameter(bias.detach().clone())
    return conv


class AngleAttention(nn.Module):
    """The angle-sensitive spatial attention (section 3.3), its six phases numbered as in the paper."""

    def __init__(self, channels: int, angle: Angle, angle_channels: int) -> None:
        super().__init__()
        self.angle: nn.Module
        self.mask: nn.Module
        if angle == "lifted":
            self.angle = LiftedConv(channels, angle_channels // 4)
            self.mask = TurnInvariantConv(2, 7)
        else:
            self.angle = nn.Conv2d(channels, angle_channels, 3, padding=1) if angle == "conv" else nn.Identity()
            self.mask = nn.Conv2d(2, 1, 7, padding=3)

    def attention(self, x: Tensor) -> Tensor:
        """The mask [N, 1, H, W] in 0..1."""
        angle = self.angle(x)  # (1) [N, 64, 12, 12] -> [N, 16, 12, 12]
        mean = angle.mean(dim=1, keepdim=True)  # (2) [N, 1, 12, 12]
        peak = angle.amax(dim=1, keepdim=True)  # (2) [N, 1, 12, 12]
        pooled = torch.cat((mean, peak), dim=1)  # (3) [N, 2, 12, 12]
        return torch.sigmoid(self.mask(pooled))  # (4, 5) [N, 1, 12, 12]

    def forward(self, x: Tensor) -> Tensor:
        return x * self.attention(x)  # (6) [N, 64, 12, 12]


class RARN(nn.Module):
    """Backbone, fusion, attention and classifier: [N, C, 48, 48] float32 -> logits [N, num_classes]."""

    def __init__(
        self,
        backbone: nn.Module,
        feature_channels: tuple[int, int, int, int, int],
        num_classes: int,
        *,
        width: int,
        fuse_to: int,
        angle: Angle,
        angle_channels: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fusion = TopDownFusion(feature_channels, width, fuse_to)
        self.attention = nn.Identity() if angle == "none" else AngleAttention(width, angle, angle_channels)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(width + feature_channels[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        maps: FiveMaps = self.backbone.forward_features(x)  # type: ignore[operator]  # nn.Module hides the method's type
        attended = self.attention(self.fusion(maps))  # [N, 64, 12, 12]
        fused = F.adaptive_avg_pool2d(attended, 1).flatten(1)  # [N, 64]
        deep = F.adaptive_avg_pool2d(maps[-1], 1).flatten(1)  # [N, 192]
        logits: Tensor = self.classifier(self.dropout(torch.cat((fused, deep), dim=1)))  # [N, 7]
        return logits


def edge_model(
    stem: int,
    widths: tuple[int, int, int, int],
    blocks: tuple[int, int, int, int],
    strides: tuple[int, int, int, int],
    num_classes: int,
    in_channels: int,
    *,
    width: int,
    angle: Angle,
    angle_channels: int,
    dropout: float,
    fuse_to: int = 3,
) -> RARN:
    backbone = EdgeBackbone(stem, widths, blocks, strides, in_channels)
    return RARN(
        backbone,
        backbone.feature_channels,
        num_classes,
        width=width,
        fuse_to=fuse_to,
        angle=angle,
        angle_channels=angle_channels,
        dropout=dropout,
    )


def rarn_l(num_classes: int, in_channels: int) -> RARN:
    """The teacher of the other two: `rarn_s` twice as wide and deeper."""
    return edge_model(64, (64, 128, 256, 384), (2, 2, 2, 2), (1, 2, 2, 2), num_classes, in_channels,
                      width=128, angle="lifted", angle_channels=16, dropout=0.2)  # fmt: skip


def rarn_s(num_classes: int, in_channels: int) -> RARN:
    """The edge model: 1.95 M parameters, 62 M multiply-adds."""
    return edge_model(32, (32, 64, 128, 192), (1, 2, 2, 2), (1, 2, 2, 2), num_classes, in_channels,
                      width=64, angle="lifted", angle_channels=16, dropout=0.1)  # fmt: skip


def rarn_n(num_classes: int, in_channels: int, angle: Angle = "lifted") -> RARN:
    """The smallest: under 0.4 M parameters; few wide layers at few pixels, because each node has a fixed cost.

    Another `angle` is for the question what the lifted map is worth: everything else is then the same.
    """
    return edge_model(16, (32, 64, 96, 80), (2, 1, 1, 1), (2, 2, 2, 1), num_classes, in_channels,
                      width=48, angle=angle, angle_channels=8, dropout=0.0)  # fmt: skip


def _on_resnet(backbone: ResNet, num_classes: int) -> RARN:
    """The paper's form: all five maps joined at 256 channels, as feature pyramids are; literal angle convolution."""
    channels = backbone.feature_channels
    backbone.fc = nn.Identity()  # type: ignore[assignment]  # RARN classifies; the backbone's own layer must not count
    return RARN(backbone, channels, num_classes, width=256, fuse_to=1, angle="conv", angle_channels=64, dropout=0.0)


def rarn_18(num_classes: int, in_channels: int) -> RARN:
    """RARN on ResNet-18."""
    return _on_resnet(resnet_18(num_classes, in_channels), num_classes)


def rarn_50(num_classes: int, in_channels: int) -> RARN:
    """RARN on ResNet-50."""
    return _on_resnet(resnet_50(num_classes, in_channels), num_classes)


def rarn_152(num_classes: int, in_channels: int) -> RARN:
    """The paper's model: RARN on ResNet-152."""
    return _on_resnet(resnet_152(num_classes, in_channels), num_classes)
