"""The layers that the StyleGAN2-type networks share: equalised layers, the FIR filter, activations.

Weights are kept as the public checkpoints keep them: unit-variance "raw" tensors, scaled at run time by
1/sqrt(fan_in) (equalised learning rate, Karras et al. 2018). Activations of convolutions may run in float32, bfloat16
or float16; a weight is cast to the dtype of the activation where it is used, so parameters and optimiser state stay
float32. Linear layers are small and compute in the dtype of their own weight.

The gain sqrt(2) of a convolution's activation goes into weight and bias: lrelu(c y) = c lrelu(y) for c > 0, which
saves a pass over the picture.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .winograd import as_kernel, conv3x3

SQRT2 = math.sqrt(2.0)
# The filter [1, 3, 3, 1] of StyleGAN2. It is a constant of the architecture: files that drop it lose nothing.
FIR_TAPS = (1.0, 3.0, 3.0, 1.0)


def fir_filter(gain: float = 1.0) -> Tensor:
    """The normalised 4x4 filter outer([1,3,3,1]) / 64, times `gain`."""
    taps = torch.tensor(FIR_TAPS)
    kernel = torch.outer(taps, taps)
    return kernel * (gain / sum(FIR_TAPS) ** 2)


def leaky_relu(x: Tensor) -> Tensor:
    """leaky_relu(x, 0.2) * sqrt(2), which keeps the variance (StyleGAN2, section B)."""
    return F.leaky_relu(x, 0.2) * SQRT2


def leaky(x: Tensor, clamp: float | None = None) -> Tensor:
    """leaky_relu(x, 0.2) and optional clamp; overwrites `x` where no graph is recorded."""
    if torch.is_grad_enabled():
        x = F.leaky_relu(x, 0.2)
        return x if clamp is None else x.clamp(-clamp, clamp)
    x = F.leaky_relu_(x, 0.2)
    return x if clamp is None else x.clamp_(-clamp, clamp)


def reflect_pad(x: Tensor, before: int, after: int) -> Tensor:
    """``F.pad(..., mode="reflect")`` on both axes of ``x [B,C,H,W]``, each with ``before`` and ``after`` (0 to 2).

    torch's own takes three times as long as a copy on a CPU in channels_last; without a graph the picture is copied
    and its border set by hand.
    """
    if torch.is_grad_enabled() or x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        return F.pad(x, (before, after, before, after), mode="reflect")
    batch, channels, height, width = x.shape
    out = torch.empty((batch, channels, height + before + after, width + before + after), dtype=x.dtype,
                      memory_format=torch.channels_last)
    out[:, :, before : before + height, before : before + width] = x
    for axis, size in ((3, width), (2, height)):  # columns of the picture's rows first, then whole rows
        inner = out if axis == 2 else out[:, :, before : before + height]
        for i in range(before):
            inner.select(axis, i).copy_(inner.select(axis, 2 * before - i))
        last = before + size - 1
        for i in range(1, after + 1):
            inner.select(axis, last + i).copy_(inner.select(axis, last - i))
    return out


class Fir(nn.Module):
    """Depthwise 4x4 FIR convolution with constant taps; optional stride for filtered downsampling.

    `pad` is (before, after) on both axes. The buffer is not part of the state dict.
    """

    taps: Tensor

    def __init__(self, pad: tuple[int, int], gain: float = 1.0, stride: int = 1) -> None:
        super().__init__()
        self.pad, self.stride = pad, stride
        self.register_buffer("taps", fir_filter(gain)[None, None], persistent=False)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Filtered `x`, plus `bias` [C]."""
        channels, (before, after) = x.shape[1], self.pad
        weight = self.taps.to(x.dtype).expand(channels, 1, 4, 4)
        if before != after:
            x = F.pad(x, (before, after, before, after))
        padding = before if before == after else 0
        if not torch.is_grad_enabled():
            return F.conv2d(x, weight, bias, stride=self.stride, padding=padding, groups=channels)
        # On CPU the backward pass of a depthwise convolution with a stride or a bias takes about ten times that of a
        # plain one.
        x = F.conv2d(x, weight, padding=padding, groups=channels)
        if self.stride > 1:
            x = x[:, :, ::self.stride, ::self.stride]
        return x if bias is None else x + bias[:, None, None]


class FirUpsample(nn.Module):
    """Doubles height and width: zero insertion, FIR with gain 4, padding (2, 1), as one transposed convolution."""

    taps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("taps", fir_filter(4.0)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        weight = self.taps.to(x.dtype).expand(channels, 1, 4, 4)
        return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=channels)


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


class EqualLinear(nn.Module):
    """Linear layer with equalised learning rate.

    y = x (W * lr_multiplier / sqrt(in))^T + b * lr_multiplier, then leaky ReLU * sqrt(2) if `activation`.
    The stored weight has standard deviation `init` / lr_multiplier at initialisation; `gain` multiplies both at use.
    """

    def __init__(self, in_features: int, out_features: int, *, init: float = 1.0, bias_init: float = 0.0,
                 lr_multiplier: float = 1.0, gain: float = 1.0, activation: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * (init / lr_multiplier))
        self.bias = nn.Parameter(torch.full((out_features,), float(bias_init)))
        self.weight_gain = gain * lr_multiplier / math.sqrt(in_features)
        self.bias_gain = gain * lr_multiplier
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """``[...,in]`` to ``[...,out]`` in the weight's dtype."""
        bias = self.bias if self.bias_gain == 1.0 else self.bias * self.bias_gain
        x = F.linear(x.to(self.weight.dtype), self.weight * self.weight_gain, bias)
        return leaky_relu(x) if self.activation else x


class GroupedLinear(nn.Module):
    """One linear layer per group, equalised learning rate.  x [B,G,in] -> [B,G,out]."""

    def __init__(self, groups: int, in_features: int, out_features: int, zero: bool = False) -> None:
        super().__init__()
        weight = torch.zeros if zero else torch.randn
        self.weight = nn.Parameter(weight(groups, out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(groups, out_features))
        self.weight_gain = 1.0 / math.sqrt(in_features)

    def forward(self, x: Tensor) -> Tensor:
        # [G,B,in] x [G,in,out]: one batched product for all groups.
        y = torch.bmm(x.transpose(0, 1), self.weight.transpose(1, 2) * self.weight_gain)
        return y.transpose(0, 1) + self.bias


class EqualConv2d(nn.Module):
    """Convolution with equalised learning rate; optional bias, leaky ReLU, clamp, filtered downsampling by 2.

    `padding` keeps the size unless it is given; `reflect` pads with the picture instead of zeros, which keeps the
    border free of a dark frame. `gain` multiplies the output, sqrt(2) by default where there is an activation.
    With `down`, a FIR blur comes first (pad (2,2) for 3x3, (1,1) for 1x1), then the convolution with stride 2;
    for 1x1 the blur itself strides, which gives the same numbers for a quarter of the work.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1,
                 padding: int | None = None, reflect: bool = False, bias: bool = True, activation: bool = False,
                 gain: float | None = None, down: bool = False, clamp: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.bias_gain = (SQRT2 if activation else 1.0) if gain is None else gain
        self.weight_gain = self.bias_gain / math.sqrt(in_channels * kernel_size * kernel_size)
        self.padding = (0 if down else kernel_size // 2) if padding is None else padding
        self.stride = 2 if down and kernel_size > 1 else stride
        self.reflect, self.activation, self.clamp = reflect, activation, clamp
        self.fir = None
        if down:
            self.fir = Fir((2, 2)) if kernel_size == 3 else Fir((1, 1), stride=2)

    def forward(self, x: Tensor, style: Tensor | None = None) -> Tensor:
        """``[B,in,H,W]``, scaled by ``style [B,in]`` where given, to ``[B,out,H',W']`` in the dtype of ``x``."""
        if self.fir is not None:
            x = self.fir(x)
        padding = self.padding
        if self.reflect and padding:
            x, padding = reflect_pad(x, padding, padding), 0
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
            x = conv3x3(x, weight, bias, padding=padding)
        else:
            x = F.conv2d(x, as_kernel(weight, x), bias, stride=self.stride, padding=padding)
        if self.activation:
            return leaky(x, self.clamp)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)
