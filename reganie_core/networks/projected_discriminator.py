"""A discriminator that sees pictures through a frozen network of their domain ("Projected GANs", Sauer et al. 2021).

A discriminator that starts from nothing has to learn what a face is before it can say what is wrong with one, and what
it dislikes meanwhile is what the generator then draws. Features of a network that already reads the domain's pictures,
mixed by fixed random projections over channels and over scales, are a better place to start: every direction of the
features matters, none can be left out, and small heads on several scales judge them patch by patch.

Ours differs from the paper's in its size, in the network (one of the domain in place of one of ImageNet, see
`trainer/portraits/attributes.py`), and in heads without batch normalisation, so that no sample sees another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ..errors import InputError, MismatchError
from .attribute_net import ConvTrunk
from .layers import EqualConv2d, leaky_relu

__all__ = ["ProjectedDiscriminator", "ProjectedDiscriminatorConfig"]


@dataclass(frozen=True)
class ProjectedDiscriminatorConfig:
    """widths: channels of the projections and heads, finest scale first, one for each of the trunk's feature maps."""

    resolution: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(int(w) for w in self.widths))
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"A projected discriminator has at least one channel at each scale; found {self.widths}.")


class _SpectralConv(nn.Conv2d):
    """A 3x3 convolution, strided by 2, that computes in the dtype of its input; spectral_norm scales its weight."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels, 3, stride=2, padding=1)
        nn.init.normal_(self.weight, std=0.25)       # only its direction counts; a small weight turns quickly
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return leaky_relu(F.conv2d(x, self.weight.to(x.dtype), bias, self.stride, self.padding))


class _Head(nn.Module):
    """Features [B,C,S,S] -> logits [B, (S / 2^halvings)^2]: strided convolutions of spectral norm 1 and a last one."""

    def __init__(self, channels: int, halvings: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(spectral_norm(_SpectralConv(channels)) for _ in range(halvings)))
        self.out = EqualConv2d(channels, 1, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.convs(x).float()).flatten(1)


class ProjectedDiscriminator(nn.Module):
    """Images [B,3,R,R] in [-1,1] -> logits [B,N] of patches at all scales; higher means "real".

    `trunk` stays as it is and is no part of the state: its weights come from their own file. It looks at pictures in
    their own size, not shrunk to the size that it was trained for: edges and strands are what there is to judge.

    Raises:
        InputError: as many widths as the trunk has feature maps are needed, or pictures are too small for its scales.
        MismatchError: pictures of another shape.
    """

    def __init__(self, config: ProjectedDiscriminatorConfig, trunk: ConvTrunk) -> None:
        super().__init__()
        channels = trunk.map_channels
        if len(config.widths) != len(channels):
            raise InputError(f"The feature network of a projected discriminator has {len(channels)} feature "
                             f"maps; give as many widths, found {len(config.widths)}.")
        if config.resolution % 2 ** len(channels) or config.resolution < 2 ** (len(channels) + 1):
            raise InputError(f"{config.resolution} px are too few for a network that halves them {len(channels)-1} "
                             f"times; at least {2 ** (len(channels) + 1)} are needed. Use StyleGAN2's discriminator at "
                             "that size (leave projected empty).")
        self.config, self.resolution = config, config.resolution
        self.dtype = torch.float32
        self._trunk = [trunk]                                         # in a list, so that it is no submodule
        for i, (width, found) in enumerate(zip(config.widths, channels, strict=True)):
            self.register_buffer(f"mix{i}", torch.randn(width, found, 1, 1) * math.sqrt(1 / found))
            if i + 1 < len(channels):
                below = config.widths[i + 1]
                self.register_buffer(f"carry{i}", torch.randn(width, below, 3, 3) * math.sqrt(1 / (9 * below)))
        # All heads end at the same size, so that no scale outvotes another.
        self.heads = nn.ModuleList(_Head(width, len(channels) - i) for i, width in enumerate(config.widths))
        self.train()

    def train(self, mode: bool = True) -> ProjectedDiscriminator:
        """As any module's, but norms are measured by `measure_norms` alone, not whenever a picture is looked at: a
        batch then gives the same gradients in one piece and in several."""
        super().train(mode)
        self.heads.eval()
        return self

    @torch.no_grad()
    def measure_norms(self) -> None:
        """One power iteration for each convolution; call it once a step."""
        for conv in (module for module in self.heads.modules() if isinstance(module, _SpectralConv)):
            conv.train()
            conv.weight  # noqa: B018 - reading it iterates
            conv.eval()

    def projections(self, images: Tensor) -> list[Tensor]:
        """Mixed features, finest first: [B,widths[i],R/2^i,R/2^i]; each also holds what the coarser ones say."""
        maps = self._trunk[0].maps(images)
        out: list[Tensor] = []
        for i in reversed(range(len(maps))):
            x = F.conv2d(maps[i].to(self.dtype), getattr(self, f"mix{i}").to(self.dtype))
            if out:
                below = F.interpolate(out[-1], scale_factor=2, mode="nearest")
                x = (x + F.conv2d(below, getattr(self, f"carry{i}").to(self.dtype), padding=1)) * math.sqrt(0.5)
            out.append(x)
        return out[::-1]

    def forward(self, images: Tensor) -> Tensor:
        if images.dim() != 4 or tuple(images.shape[1:]) != (3, self.resolution, self.resolution):
            raise MismatchError(f"Images have shape {tuple(images.shape)}, this discriminator expects "
                                f"[B,3,{self.resolution},{self.resolution}].")
        return torch.cat([head(x) for head, x in zip(self.heads, self.projections(images), strict=True)], dim=1)
