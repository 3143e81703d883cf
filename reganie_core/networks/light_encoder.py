"""A small encoder with e4e's interface and code layout for domains of 64 to 256 pixels.

Residual trunk without normalisation layers (no batch statistics, so single images and bf16 behave as in training),
taps at three scales, one base code w0 and one offset per further layer, released coarse to fine as e4e does.
"""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from ..errors import InputError
from .inputs import SizedEncoder, fit_images
from .layers import SQRT2, EqualConv2d, EqualLinear, leaky
from .rectifier_encoders import ResidualDown

__all__ = ["LightEncoder", "LightEncoderConfig"]

TAP_SIZE = 4  # every tap is brought to TAP_SIZE x TAP_SIZE before it is flattened


@dataclasses.dataclass(frozen=True)
class LightEncoderConfig:
    """``channels`` from full size down to 4 px, one per power of two: (64, 32, 16, 8, 4) px for 64.

    ``tap_channels`` is the width of the three flattened maps (16, 8 and 4 px), ``features`` of the vectors made of
    them. ``coarse`` and ``middle`` are the first layers whose codes come from the 8 and the 16 px tap (e4e: 3, 7).
    """

    input_resolution: int = 64
    num_ws: int = 10
    w_dim: int = 128
    channels: tuple[int, ...] = (32, 64, 96, 160, 224)
    tap_channels: int = 64
    features: int = 256
    coarse: int = 3
    middle: int = 7

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))
        levels = int(math.log2(max(self.input_resolution, 1))) - 1
        if self.input_resolution < 16 or self.input_resolution != 4 << (levels - 1):
            raise InputError(f"input_resolution must be a power of two from 16 up; found {self.input_resolution}.")
        if len(self.channels) != levels:
            raise InputError(
                f"An input of {self.input_resolution} px has {levels} sizes down to 4 px; found {len(self.channels)} "
                "channels. Give one width per size."
            )
        if min(*self.channels, self.num_ws, self.w_dim, self.tap_channels, self.features) < 1:
            raise InputError("Every size in an encoder configuration must be at least 1.")


class Tap(nn.Module):
    """A map of ``TAP_SIZE * 2^halvings`` px, strided down to ``TAP_SIZE``, flattened (positions matter), projected."""

    def __init__(self, in_channels: int, channels: int, features: int, halvings: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [EqualConv2d(in_channels, channels, 1, activation=True)]
        blocks += [ResidualDown(channels, channels) for _ in range(halvings)]
        self.blocks = nn.Sequential(*blocks)
        self.linear = EqualLinear(channels * TAP_SIZE * TAP_SIZE, features, gain=SQRT2)

    def forward(self, x: Tensor) -> Tensor:
        """``[B,in,s,s]`` to ``[B,features]`` in the weights' dtype."""
        return leaky(self.linear(self.blocks(x).flatten(1)))


class LightEncoder(SizedEncoder):
    """``E(images [B,3,H,W] in [-1,1]) -> [B,num_ws,w_dim]``, ``latent_avg`` included.

    ``stage`` is how many offsets are released: at 0 every layer gets w0, at ``num_ws - 1`` (the default, and
    inference) each layer i > 0 gets w0 + delta_i. Offsets start at zero. ``compute_dtype`` (float32) is the dtype of
    the trunk's activations; heads and codes stay in the weights' dtype.
    """

    latent_avg: Tensor
    in_channels = 3  # subclasses take several pictures at once

    def __init__(self, config: LightEncoderConfig) -> None:
        super().__init__()
        self.config = config
        c = config
        self.stem = EqualConv2d(self.in_channels, c.channels[0], 3, reflect=True, activation=True)
        self.blocks = nn.ModuleList(ResidualDown(a, b) for a, b in pairwise(c.channels))
        # Coarse to fine: 4, 8 and 16 px.
        self.taps = nn.ModuleList(Tap(c.channels[-1 - i], c.tap_channels, c.features, i) for i in range(3))
        self.base = EqualLinear(c.features, c.w_dim)
        # Finer layers also see the coarse vectors: an offset is relative to what w0 already explains.
        self.deltas = nn.ModuleList(
            EqualLinear(c.features * (1 + self._tap_of(i)), c.w_dim, init=0.0) for i in range(1, c.num_ws)
        )
        self.register_buffer("latent_avg", torch.zeros(c.num_ws, c.w_dim))
        self.stage = c.num_ws - 1
        self.compute_dtype = torch.float32
        self.memory_format = torch.channels_last

    def _tap_of(self, layer: int) -> int:
        return 0 if layer < self.config.coarse else 1 if layer < self.config.middle else 2

    def offsets(self, images: Tensor, stage: int | None = None) -> tuple[Tensor, Tensor]:
        """w0 ``[B,w_dim]`` without ``latent_avg``, and the released offsets ``[B,stage,w_dim]`` (for their penalty)."""
        stage = self.stage if stage is None else stage
        if not 0 <= stage < self.num_ws:
            raise InputError(f"The stage must lie in 0..{self.num_ws - 1}; found {stage}.")
        x = fit_images(images, self.input_resolution, self.in_channels)
        x = self.stem(x.to(dtype=self.compute_dtype, memory_format=self.memory_format))
        maps = [x]
        for block in self.blocks:
            maps = [*maps[-2:], block(maps[-1])]
        taps_needed = 1 + (self._tap_of(stage) if stage else 0)
        vectors = [tap(maps[-1 - i]) for i, tap in enumerate(self.taps[:taps_needed])]
        base = self.base(vectors[0])
        if stage == 0:
            return base, base.new_zeros(base.shape[0], 0, self.w_dim)
        joined = [torch.cat(vectors[: i + 1], 1) for i in range(taps_needed)]
        deltas = [head(joined[self._tap_of(i)]) for i, head in enumerate(self.deltas[:stage], start=1)]
        return base, torch.stack(deltas, 1)

    def forward(self, images: Tensor) -> Tensor:
        """See the class. Raises :class:`InputError` for anything but float pictures ``[B,3,H,W]``."""
        return self.relative_codes(images) + self.latent_avg

    def relative_codes(self, images: Tensor) -> Tensor:
        """Codes without ``latent_avg``."""
        base, deltas = self.offsets(images)
        pad = base.new_zeros(base.shape[0], self.num_ws - 1 - deltas.shape[1], self.w_dim)
        return base[:, None] + torch.cat([base.new_zeros(base.shape[0], 1, self.w_dim), deltas, pad], 1)
