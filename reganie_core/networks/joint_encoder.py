"""The encoder that learns together with its generator (`trainer/stages/joint.py`): ours, beyond the paper.

A residual trunk down to 4 px, one code for all layers and a small difference for each, as e4e has them. Group
normalisation, because it learns beside an adversary; it keeps no statistics, so single pictures behave as in training.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .inputs import SizedEncoder, fit_images

__all__ = ["JointEncoder", "JointEncoderConfig"]

GROUPS = 8
LAST_SIZE = 4  # the trunk ends at LAST_SIZE x LAST_SIZE


@dataclasses.dataclass(frozen=True)
class JointEncoderConfig:
    """``channels`` from the input's size down to 4 px, one per power of two: (64, 32, 16, 8, 4) px for 64.

    ``features``: what the codes of all layers are made of; without that narrow place the last matrix would be most
    of the file.
    """

    input_resolution: int = 64
    num_ws: int = 10
    w_dim: int = 192
    channels: tuple[int, ...] = (48, 64, 128, 192, 256)
    features: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        levels = int(math.log2(max(self.input_resolution, 1))) - 1
        if self.input_resolution < 8 or self.input_resolution != LAST_SIZE << (levels - 1):
            raise InputError(f"input_resolution must be a power of two from 8 up; found {self.input_resolution}.")
        if len(self.channels) != levels or any(c < 1 or c % GROUPS for c in self.channels):
            raise InputError(f"An input of {self.input_resolution} px needs {levels} widths, multiples of {GROUPS}; "
                             f"found {list(self.channels)}.")
        if min(self.num_ws, self.w_dim, self.features) < 1:
            raise InputError("An encoder needs num_ws, w_dim and features from 1.")


class ResidualBlock(nn.Module):
    """Two normalised 3x3 convolutions beside a skip; halves the size at its end where ``down``."""

    def __init__(self, in_channels: int, out_channels: int, down: bool) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(GROUPS, in_channels), nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2, self.conv2 = nn.GroupNorm(GROUPS, out_channels), nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        """``[B,in,h,w]`` to ``[B,out,h,w]``, or half of h and w."""
        h = self.conv1(F.silu(self.norm1(x)))
        x = self.skip(x) + self.conv2(F.silu(self.norm2(h)))
        return F.avg_pool2d(x, 2) if self.down else x


class JointEncoder(SizedEncoder):
    """``E(images [B,3,H,W] in [-1,1]) -> [B,num_ws,w_dim]``, ``latent_avg`` included.

    ``compute_dtype`` (float32) is the dtype of the trunk's convolutions; codes are float32.
    """

    def __init__(self, config: JointEncoderConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.stem = nn.Conv2d(3, c[0], 3, padding=1)
        self.blocks = nn.ModuleList([*(ResidualBlock(a, b, True) for a, b in pairwise(c)),
                                     ResidualBlock(c[-1], c[-1], False)])
        self.features = nn.Linear(c[-1] * LAST_SIZE * LAST_SIZE, config.features, bias=False)
        self.base = nn.Linear(config.features, config.w_dim)
        self.differences = nn.Linear(config.features, config.num_ws * config.w_dim)
        nn.init.zeros_(self.differences.weight)
        nn.init.zeros_(self.differences.bias)
        self.register_buffer("latent_avg", torch.zeros(config.num_ws, config.w_dim))
        self.compute_dtype = torch.float32

    def trunk(self, images: Tensor) -> Tensor:
        """The features ``[B,features]`` that all codes are made of."""
        x = fit_images(images, self.input_resolution).contiguous(memory_format=torch.channels_last)
        with torch.autocast(x.device.type, self.compute_dtype, enabled=self.compute_dtype != torch.float32):
            x = self.stem(x)
            for block in self.blocks:
                x = block(x)
            x = F.silu(x).flatten(1)
        return self.features(x.to(self.features.weight.dtype))

    def parts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The common code ``[B,1,w_dim]`` without ``latent_avg``, and each layer's difference ``[B,num_ws,w_dim]``."""
        x = self.trunk(images)
        return self.base(x)[:, None], self.differences(x).unflatten(1, (self.num_ws, self.w_dim))

    def forward(self, images: Tensor) -> Tensor:
        """See the class. Raises :class:`InputError` for anything but float pictures ``[B,3,H,W]``."""
        base, differences = self.parts(images)
        return base + differences + self.latent_avg
