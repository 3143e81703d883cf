"""E_p and E_d of the rectifier: the residual encoder of the swapping autoencoder (Park et al. 2020), as ReGANIE cites.

FromRGB, then one residual block per downsampling with blurred (antialiased) stride-2 convolutions, reflection
padding and equalised learning rate. E_d adds two heads: the spatial code sp and the global vector gl.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import EqualConv2d, EqualLinear, reflect_pad
from .modulation import unit_rms

__all__ = ["DeltaCode", "DeltaEncoder", "GlobalHead", "PictureEncoder", "ResidualDown", "blur_down"]


class DeltaCode(NamedTuple):
    """What E_d says about the difference image: ``sp [B,sp_channels,h,w]`` and ``gl [B,gl_dim]`` (unit RMS).

    One of them is None where the ablation leaves its modulation out. ``delta`` is the difference itself, where the
    rectifier carries it.
    """

    sp: Tensor | None
    gl: Tensor | None
    delta: Tensor | None = None

    def rows(self, rows: slice | Tensor) -> DeltaCode:
        """The codes of some differences."""
        return DeltaCode(*(None if part is None else part[rows] for part in self))

    def to(self, device: torch.device | str) -> DeltaCode:
        """The same on another device."""
        return DeltaCode(*(None if part is None else part.to(device) for part in self))

    @staticmethod
    def cat(codes: Sequence[DeltaCode]) -> DeltaCode:
        """Several as one."""
        return DeltaCode(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*codes, strict=True)))


def blur_down(x: Tensor, kernel: Tensor, pad: tuple[int, int], stride: int) -> Tensor:
    """Depthwise [1,2,1] blur with reflected ``pad`` (before, after) on both axes and ``stride``."""
    x = reflect_pad(x, *pad)
    weight = kernel.to(x.dtype).expand(x.shape[1], 1, 3, 3)
    if stride == 1 or not torch.is_grad_enabled():
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1])
    # The backward pass of a strided depthwise convolution is about ten times slower on CPU than that of a plain one.
    return F.conv2d(x, weight, groups=x.shape[1])[:, :, ::stride, ::stride]


class ResidualDown(nn.Module):
    """Residual block that halves the size: ``(res + skip) / sqrt 2`` with both halves blurred before subsampling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = EqualConv2d(in_channels, in_channels, 3, reflect=True, activation=True)
        # Activation gain sqrt 2 times the residual sum's 1 / sqrt 2.
        self.conv2 = EqualConv2d(in_channels, out_channels, 3, stride=2, padding=0, activation=True, gain=1.0)
        self.skip = EqualConv2d(in_channels, out_channels, 1, bias=False, gain=1.0 / math.sqrt(2.0))
        taps = torch.tensor([1.0, 2.0, 1.0]) / 4.0
        self.kernel: Tensor
        self.register_buffer("kernel", torch.outer(taps, taps)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[B,in,H,W]`` to ``[B,out,H/2,W/2]``."""
        main = self.conv2(blur_down(self.conv1(x), self.kernel, (2, 1), 1))
        skip = self.skip(blur_down(x, self.kernel, (1, 0), 2))
        return main + skip if torch.is_grad_enabled() else main.add_(skip)


class PictureEncoder(nn.Module):
    """Trunk shared by E_p and E_d: ``[B,3,R,R]`` to ``[B,channels[-1],r,r]`` with r = R / 2^(len(channels) - 1)."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.from_rgb = EqualConv2d(3, channels[0], 1, activation=True)
        self.blocks = nn.ModuleList(ResidualDown(a, b) for a, b in pairwise(channels))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        x = self.from_rgb(images)
        for block in self.blocks:
            x = block(x)
        return x


class GlobalHead(nn.Module):
    """gl: stride-2 valid convolutions, mean over space, equalised linear, unit RMS."""

    def __init__(self, in_channels: int, channels: tuple[int, ...], gl_dim: int) -> None:
        super().__init__()
        widths = (in_channels, *channels)
        self.convs = nn.ModuleList(
            EqualConv2d(a, b, 3, stride=2, padding=0, activation=True)
            for a, b in pairwise(widths)
        )
        self.linear = EqualLinear(widths[-1], gl_dim)

    def project(self, features: Tensor) -> Tensor:
        """Pooling and projection ``[B,C,h,w]`` to ``[B,gl_dim]``; the order of the positions does not matter."""
        return unit_rms(self.linear(features.to(self.linear.weight.dtype).mean((2, 3))))

    def forward(self, x: Tensor) -> Tensor:
        """Trunk features ``[B,C,r,r]`` to ``[B,gl_dim]`` in the weights' dtype."""
        for conv in self.convs:
            x = conv(x)
        return self.project(x)


class DeltaEncoder(PictureEncoder):
    """E_d: difference image ``[B,3,R,R]`` in [-2,2], not rescaled, to :class:`DeltaCode`."""

    def __init__(
        self, channels: tuple[int, ...], sp_channels: int | None, gl_channels: tuple[int, ...], gl_dim: int | None
    ) -> None:
        super().__init__(channels)
        top = channels[-1]
        self.sp_head = None
        if sp_channels is not None:
            self.sp_head = nn.Sequential(
                EqualConv2d(top, top, 1, activation=True), EqualConv2d(top, sp_channels, 1)
            )
        self.gl_head = None if gl_dim is None else GlobalHead(top, gl_channels, gl_dim)

    def forward(self, delta: Tensor) -> DeltaCode:
        """sp stays unnormalised and in the activations' dtype, gl has unit RMS and the weights' dtype."""
        x = super().forward(delta)
        sp = None if self.sp_head is None else self.sp_head(x)
        gl = None if self.gl_head is None else self.gl_head(x)
        return DeltaCode(sp, gl)
