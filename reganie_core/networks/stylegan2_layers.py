"""The layers of StyleGAN2's synthesis network: modulated convolution, noise, RGB (Karras et al. 2020b, eq. 1-3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import MismatchError
from .layers import SQRT2, EqualLinear, Fir, leaky
from .sharing import once
from .winograd import as_kernel, conv3x3

Generators = torch.Generator | Sequence[torch.Generator] | None
"""Where random noise comes from: torch's own (None), one generator, or one for each sample."""


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, bias: Tensor, up: Fir | None = None) -> Tensor:
    """Demodulated 3x3 convolution and bias, times the activation's gain sqrt(2) (see `layers`).

    x [B,I,H,W], raw weight [O,I,3,3], style [B,I]; `up` is the blur that follows a stride-2 transposed convolution.
    y = d * conv(s x), d = rsqrt(sum_ik (s_i w_oik)^2 + 1e-8), with w scaled by 1/sqrt(fan_in).

    Scale-in / scale-out: one convolution with a shared weight serves the whole batch. For a single picture that is
    larger than the weight, both factors go into the weight instead and the passes over the picture are saved.
    """
    gain = 1.0 / math.sqrt(weight[0].numel())
    if x.dtype == torch.float16:
        # float16 overflows at 65504. Demodulation cancels any common factor, so weight and style are brought to
        # at most 1 / sqrt(fan_in) and 1 beforehand (as NVIDIA's networks do).
        weight = weight * (gain / weight.abs().amax(dim=(1, 2, 3), keepdim=True))
        style = style / style.abs().amax(dim=1, keepdim=True)
    else:
        style = style * gain
    raw = weight
    energy = once("energy", raw, lambda: raw.square().flatten(2) @ raw.new_ones(raw[0, 0].numel()))
    demod = (style.square() @ energy.t() + 1e-8).rsqrt() * SQRT2
    bias = (bias * SQRT2).to(x.dtype)
    fold = x.shape[0] == 1 and x.numel() >= weight.numel()
    if fold:
        weight = weight * (demod[0, :, None] * style[0])[:, :, None, None]
    else:
        x = x * style.to(x.dtype)[:, :, None, None]
    shift = bias if fold else None
    if up is not None:
        kernel = as_kernel(weight.transpose(0, 1), x) if fold else \
            once("kernel", raw, lambda: as_kernel(raw.transpose(0, 1), x))
        x = up(F.conv_transpose2d(x, kernel, stride=2), shift)
    else:
        half = not fold and x.dtype == torch.bfloat16
        x = conv3x3(x, once("kernel", raw, lambda: as_kernel(raw, x)) if half else weight, shift)
    return x if fold else torch.addcmul(bias[:, None, None], x, demod.to(x.dtype)[:, :, None, None])


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, resolution: int, up: bool,
                 clamp: float | None) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros([]))
        self.noise_const: Tensor
        self.register_buffer("noise_const", torch.randn(resolution, resolution))
        self.fir = Fir((1, 1), gain=4.0) if up else None
        self.resolution, self.clamp = resolution, clamp

    def forward(self, x: Tensor, style: Tensor, noise: str, generator: Generators) -> Tensor:
        x = modulated_conv(x, self.weight, style, self.bias, self.fir)
        if noise == "none":
            return leaky(x, self.clamp)
        grid = self.noise_const
        if noise == "random":
            each = generator if isinstance(generator, Sequence) else [generator]  # one per sample
            shape = (x.shape[0] // len(each), 1, self.resolution, self.resolution)
            grid = torch.cat([torch.randn(shape, generator=g, device=x.device if g is None else g.device)
                              for g in each]).to(x.device)
        grid = (grid * (self.noise_strength * SQRT2)).to(x.dtype)
        return leaky(x + grid if torch.is_grad_enabled() else x.add_(grid), self.clamp)


class ToRGB(nn.Module):
    """1x1 modulated convolution to RGB without demodulation.

    The style multiplies the tiny weight instead of the features: one matrix product per sample, no scaled copy.
    """

    def __init__(self, in_channels: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.affine = EqualLinear(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(3, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(3))
        self.gain, self.clamp = 1.0 / math.sqrt(in_channels), clamp

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        b, c, h, w = x.shape
        weight = (self.weight.view(1, 3, c) * (style * self.gain)[:, None, :]).to(x.dtype)      # [B,3,C]
        if x.is_contiguous():
            rgb = torch.bmm(weight, x.reshape(b, c, h * w)).view(b, 3, h, w)
        else:  # channels_last: pixels are rows already
            pixels = x.permute(0, 2, 3, 1).reshape(b, h * w, c)
            rgb = torch.bmm(pixels, weight.transpose(1, 2)).view(b, h, w, 3).permute(0, 3, 1, 2)
        rgb = rgb.float() + self.bias.view(1, 3, 1, 1)
        return rgb if self.clamp is None else rgb.clamp(-self.clamp, self.clamp)


def inject(x: Tensor, maps: Tensor | None) -> Tensor:
    """x (1 + scale) + shift for maps [B,2,C,H,W] = (scale, shift) of a layer's output x [B,C,H,W]; None: x itself."""
    if maps is None:
        return x
    if maps.shape[0] != x.shape[0] or maps.shape[1] != 2 or maps.shape[2:] != x.shape[1:]:
        raise MismatchError(f"Maps of shape {list(maps.shape)} cannot be injected where {list(x.shape)} flows; "
                            f"{[x.shape[0], 2, *x.shape[1:]]} fits. They were made for another generator.")
    scale, shift = maps.to(x.dtype).unbind(1)
    return torch.addcmul(shift, x, 1 + scale)
