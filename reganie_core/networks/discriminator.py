"""The residual StyleGAN2 discriminator (Karras et al. 2020b), with minibatch standard deviation.

Parameter names follow the NVIDIA PyTorch files; the FIR filters are constants and not stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor, nn

from ..errors import InputError, MismatchError
from .layers import EqualConv2d, EqualLinear


@dataclass(frozen=True)
class DiscriminatorConfig:
    """channels: feature maps at 4, 8, ..., resolution pixels (the order of the generator's config)."""

    resolution: int
    channels: tuple[int, ...]
    mbstd_group: int = 4
    mbstd_channels: int = 1
    clamp: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        if len(self.channels) != int(math.log2(self.resolution)) - 1:
            raise InputError(f"{self.resolution} px needs {int(math.log2(self.resolution)) - 1} channel counts, "
                             f"found {len(self.channels)}.")


def minibatch_std(x: Tensor, group: int, channels: int) -> Tensor:
    """Append `channels` maps with the standard deviation over groups of samples (ProGAN, section 3).

    A batch that the group size does not divide uses the largest group that does, so any batch works.
    """
    b, _, h, w = x.shape
    group = next(g for g in range(min(group, b), 0, -1) if b % g == 0)
    y = rearrange(x.float(), "(group n) (map c) h w -> group n map c h w", group=group, map=channels)
    y = (y - y.mean(dim=0)).square().mean(dim=0).add(1e-8).sqrt()
    y = reduce(y, "n map c h w -> n map", "mean")
    y = repeat(y, "n map -> (group n) map 1 1", group=group).expand(-1, -1, h, w)
    return torch.cat([x, y.to(x.dtype)], dim=1)


class DiscriminatorBlock(nn.Module):
    """[fromrgb,] two 3x3 layers, the second downsampling; (residual + skip) / sqrt 2."""

    def __init__(self, in_channels: int, out_channels: int, first: bool, clamp: float | None) -> None:
        super().__init__()
        if first:
            self.fromrgb = EqualConv2d(3, in_channels, 1, activation=True, clamp=clamp)
        self.conv0 = EqualConv2d(in_channels, in_channels, 3, activation=True, clamp=clamp)
        self.conv1 = EqualConv2d(in_channels, out_channels, 3, activation=True, down=True, clamp=clamp)
        self.skip = EqualConv2d(in_channels, out_channels, 1, bias=False, down=True)

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "fromrgb"):
            x = self.fromrgb(x)
        return (self.conv1(self.conv0(x)) + self.skip(x)) * math.sqrt(0.5)


class DiscriminatorEpilogue(nn.Module):
    """The 4x4 end: minibatch std, 3x3 layer, two linear layers."""

    def __init__(self, channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.group, self.std_channels = config.mbstd_group, config.mbstd_channels
        self.conv = EqualConv2d(channels + config.mbstd_channels, channels, 3, activation=True, clamp=config.clamp)
        self.fc = EqualLinear(channels * 16, channels, activation=True)
        self.out = EqualLinear(channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.std_channels > 0:
            x = minibatch_std(x, self.group, self.std_channels)
        return self.out(self.fc(self.conv(x).flatten(1)))


class Discriminator(nn.Module):
    """Images [B,3,R,R] in [-1,1] -> logits [B,1]; higher means "real". Runs in float32 unless `dtype` is changed."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config, self.resolution = config, config.resolution
        self.dtype = torch.float32
        widths = config.channels
        for i in range(len(widths) - 1, 0, -1):
            block = DiscriminatorBlock(widths[i], widths[i - 1], i == len(widths) - 1, config.clamp)
            setattr(self, f"b{4 * 2**i}", block)
        self.b4 = DiscriminatorEpilogue(widths[0], config)

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or tuple(images.shape[1:]) != (3, self.resolution, self.resolution):
            raise MismatchError(f"Images have shape {tuple(images.shape)}, this discriminator expects "
                                f"[B,3,{self.resolution},{self.resolution}].")
        x = images.to(self.dtype)      # the memory layout follows the weights: net.to(memory_format=...)
        for i in range(len(self.config.channels) - 1, 0, -1):
            x = getattr(self, f"b{4 * 2**i}")(x)
        return self.b4(x.float())
