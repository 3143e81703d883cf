"""IR-SE-50: the ArcFace backbone with squeeze-and-excitation that the e4e / pSp encoders are built on.

Module names follow the public files (``input_layer``, ``body.{i}.res_layer.{j}``), so conversion is a prefix removal.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["IRSE50", "BottleneckIR", "BottleneckIRSE"]

# (in, out, units) of the four stages; the first unit of each halves the size, also the very first one.
STAGES = ((64, 64, 3), (64, 128, 4), (128, 256, 14), (256, 512, 3))
SE_RATIO = 16


class SqueezeExcitation(nn.Module):
    """Channel gate: mean over space, two 1x1 convolutions without bias, sigmoid."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // SE_RATIO, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // SE_RATIO, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B,C,H,W]``, gated."""
        gate = self.fc2(self.fc1(x.mean((2, 3), keepdim=True)).relu_())
        return x * gate.sigmoid_()


class BottleneckIR(nn.Module):
    """BN, 3x3, PReLU, 3x3 with stride, BN; plus a shortcut that subsamples, or projects where channels change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.shortcut_layer: nn.Module | None = None
        if in_channels != out_channels:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(in_channels),
            nn.Conv2d(in_channels, out_channels, 3, 1, 1, bias=False),
            nn.PReLU(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[B,in,H,W]`` to ``[B,out,H/stride,W/stride]``."""
        if self.shortcut_layer is not None:
            shortcut = self.shortcut_layer(x)
        else:  # the original's max-pool with window 1
            shortcut = x[:, :, :: self.stride, :: self.stride]
        return self.res_layer(x) + shortcut


class BottleneckIRSE(BottleneckIR):
    """The same with squeeze-and-excitation at the end of its residual branch."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.res_layer.append(SqueezeExcitation(out_channels))


def irse_input(channels: int = 3, width: int = 64) -> nn.Sequential:
    """``input_layer``: 3x3 convolution to ``width`` channels, BN, PReLU."""
    return nn.Sequential(nn.Conv2d(channels, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width))


def irse_body() -> nn.Sequential:
    """``body``: the 24 units; unit 6 ends at 1/4, 20 at 1/8 and 23 at 1/16 of the input's size."""
    units = []
    for in_channels, out_channels, count in STAGES:
        units.append(BottleneckIRSE(in_channels, out_channels, 2))
        units.extend(BottleneckIRSE(out_channels, out_channels, 1) for _ in range(count - 1))
    return nn.Sequential(*units)


class IRSE50(nn.Module):
    """The trunk as a base class: ``input_layer`` and ``body`` at the top level, as the public files name them."""

    def __init__(self, in_channels: int = 3) -> None:
        super().__init__()
        self.input_layer = irse_input(in_channels)
        self.body = irse_body()

    def pyramid(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """c1 128 channels at 1/4, c2 256 at 1/8, c3 512 at 1/16 of ``x [B,in_channels,H,W]``."""
        x = self.input_layer(x)
        taps = {}
        for i, unit in enumerate(self.body):
            x = unit(x)
            if i in (6, 20):
                taps[i] = x
        return taps[6], taps[20], x
