"""The alternating spatial / global modulation (ReGANIE eq. 7-8).

Both modulations scale the *input* of one ordinary convolution whose weight is shared by the whole batch, so they
are correct for every batch size and cost no grouped convolution:

* spatial: ``f1 = (f . sp) * w + b`` with ``s = 1 + W sp`` per pixel, unit RMS over the channels of each pixel;
* global: ``f2 = (f1 . gl) * w + b`` with ``s = 1 + W gl`` per sample, unit RMS over the channels.

Together with a weight of unit norm per output channel the RMS takes the place of StyleGAN2's demodulation, which
cannot be written as one convolution when every pixel has its own style.

Gains are folded into weights: ``lrelu(sqrt 2 (conv + b)) = sqrt 2 lrelu(conv + b)`` for a positive factor, so
neither the activation's gain nor the ``1 / sqrt 2`` of a residual sum needs a pass over the picture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import SQRT2, EqualLinear, Fir, leaky, scale_in
from .winograd import as_kernel, conv3x3

__all__ = [
    "ACTIVATION_GAIN",
    "GlobalModulation",
    "SpatialModulation",
    "UnitConv",
    "unit_rms",
]

ACTIVATION_GAIN = SQRT2
MODULATION_INIT = 0.1
EPS = 1e-8


def unit_rms(x: Tensor, dim: int = 1) -> Tensor:
    """``x`` divided by its root mean square over ``dim`` (epsilon 1e-8 under the root)."""
    return x * (x.square().mean(dim, keepdim=True) + EPS).rsqrt()


class SpatialModulation(nn.Module):
    """``f . sp``: the code, carried to the feature's channels by a 1x1 convolution and to its size bilinearly.

    The convolution runs at the code's own resolution: linear maps commute with interpolation (its weights sum to 1,
    so the bias does too), which is exact and up to 256 times cheaper. The RMS is taken after the interpolation.
    ``sp`` itself is not normalised: where the difference image is empty it must stay empty, and ``s`` stays 1.
    """

    def __init__(self, sp_channels: int, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(channels, sp_channels, 1, 1) * MODULATION_INIT)
        self.bias = nn.Parameter(torch.zeros(channels))
        self.weight_gain = 1.0 / math.sqrt(sp_channels)

    def style(self, sp: Tensor, size: tuple[int, int]) -> Tensor:
        """Unit-RMS factors ``[B,channels,*size]`` for a code ``[B,sp_channels,h,w]``."""
        style = F.conv2d(sp, (self.weight * self.weight_gain).to(sp.dtype), (1.0 + self.bias).to(sp.dtype))
        if tuple(style.shape[-2:]) != size:
            style = F.interpolate(style, size=size, mode="bilinear", align_corners=False)
        if torch.is_grad_enabled():
            return unit_rms(style)
        norm = torch.linalg.vector_norm(style, dim=1, keepdim=True)
        return style.mul_(math.sqrt(style.shape[1]) / norm.clamp_(min=EPS))

    def forward(self, x: Tensor, sp: Tensor) -> Tensor:
        """``x [B,channels,H,W]`` times the factors of ``sp [B,sp_channels,h,w]``."""
        style = self.style(sp, (x.shape[-2], x.shape[-1]))
        return x * style if torch.is_grad_enabled() else style.mul_(x)


class GlobalModulation(nn.Module):
    """``f . gl``: one factor per sample and channel, unit RMS over the channels unless ``normalise`` is off.

    The factors go to the convolution that follows (its ``style`` argument).
    """

    def __init__(self, gl_dim: int, channels: int, *, normalise: bool = True) -> None:
        super().__init__()
        self.affine = EqualLinear(gl_dim, channels, init=MODULATION_INIT)
        self.normalise = normalise

    def style(self, gl: Tensor) -> Tensor:
        """Factors ``[B,channels]`` for a code ``[B,gl_dim]``."""
        style = 1.0 + self.affine(gl)
        return unit_rms(style) if self.normalise else style


class UnitConv(nn.Module):
    """3x3 convolution with static demodulation: the weight has norm ``gain`` per output channel; bias, leaky ReLU.

    ``up`` doubles the size: transposed convolution with stride 2, then the 4-tap FIR [1,3,3,1] (StyleGAN2).
    """

    def __init__(self, in_channels: int, out_channels: int, *, up: bool = False, gain: float = ACTIVATION_GAIN) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.gain = gain
        self.fir = Fir((1, 1), gain=4.0) if up else None  # gain 4 makes up for the zeros between the pixels

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """``[B,in,H,W]``, scaled by ``style [B,in]``, to ``[B,out,H,W]``, or ``[B,out,2H,2W]`` with ``up``."""
        norm = self.gain / (torch.linalg.vector_norm(self.weight, dim=(1, 2, 3)) + EPS)
        weight = self.weight * norm[:, None, None, None]
        x, weight = scale_in(x, weight, style)
        bias = (self.bias * self.gain).to(x.dtype)
        if self.fir is None:
            return leaky(conv3x3(x, weight, bias))
        return leaky(self.fir(F.conv_transpose2d(x, as_kernel(weight.transpose(0, 1), x), stride=2), bias))
