"""Equalised layers and the alternating spatial / global modulation (ReGANIE eq. 7-8).

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

from .ops import SQRT2, Fir, leaky, reflect_pad
from .winograd import as_kernel, conv3x3

__all__ = [
    "ACTIVATION_GAIN",
    "EqualisedConv",
    "EqualisedLinear",
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


def scale_in(x: Tensor, weight: Tensor, style: Tensor | None) -> tuple[Tensor, Tensor]:
    """Multiply ``style [B,in]`` onto ``x [B,in,H,W]``, or onto ``weight [out,in,k,k]`` where one picture allows it.

    The weight keeps its dtype.
    """
    if style is not None:
        if x.shape[0] == 1 and x.numel() >= weight.numel():
            weight = weight * style[0][:, None, None]
        else:
            x = x * style.to(x.dtype)[:, :, None, None]
    return x, weight


class EqualisedConv(nn.Module):
    """Convolution with equalised learning rate: raw weight N(0, 1), scaled by ``gain / sqrt(fan_in)`` at use.

    ``padding`` is reflected, which keeps the border of a picture free of a dark frame. ``activate`` adds the leaky
    ReLU; the gain then also multiplies the bias, so that ``gain`` means the gain of the activation's output.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        activate: bool = False,
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.stride, self.padding, self.activate = stride, padding, activate
        self.bias_gain = gain
        self.weight_gain = gain / math.sqrt(in_channels * kernel * kernel)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """``[B,in,H,W]``, scaled by ``style [B,in]`` where given, to ``[B,out,H',W']`` in the dtype of ``x``."""
        if self.padding:
            x = reflect_pad(x, self.padding, self.padding)
        weight = self.weight
        if x.numel() < weight.numel():  # a wide layer on a small map: scale the map
            x = x * self.weight_gain
        else:
            weight = weight * self.weight_gain
        x, weight = scale_in(x, weight, style)
        bias = None if self.bias is None else (self.bias * self.bias_gain).to(x.dtype)
        if weight.shape[-1] == 1 and self.stride == 1 and not torch.is_grad_enabled():
            # A product over the channels; oneDNN's convolution is not used for it on one thread.
            x = F.linear(x.permute(0, 2, 3, 1), weight[:, :, 0, 0].to(x.dtype), bias).permute(0, 3, 1, 2)
        elif self.stride == 1:
            x = conv3x3(x, weight, bias, padding=0)
        else:
            x = F.conv2d(x, as_kernel(weight, x), bias, stride=self.stride)
        return leaky(x) if self.activate else x


class EqualisedLinear(nn.Module):
    """Linear layer with equalised learning rate; computes in the dtype of its own weight (small, kept precise)."""

    def __init__(self, in_features: int, out_features: int, *, init: float = 1.0, activate: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * init)
        self.bias = nn.Parameter(torch.zeros(out_features))
        self.activate = activate
        self.gain = ACTIVATION_GAIN if activate else 1.0
        self.weight_gain = self.gain / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        """``[...,in]`` to ``[...,out]`` in the weight's dtype."""
        x = F.linear(x.to(self.weight.dtype), self.weight * self.weight_gain, self.bias * self.gain)
        return leaky(x) if self.activate else x


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
        self.affine = EqualisedLinear(gl_dim, channels, init=MODULATION_INIT)
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
