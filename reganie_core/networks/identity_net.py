"""A small identity embedder for a domain without a public face recogniser, trained with an ArcFace head."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from .attribute_net import ConvTrunk
from .layers import EqualLinear

__all__ = ["IdentityNet", "IdentityNetConfig"]


@dataclass(frozen=True)
class IdentityNetConfig:
    """channels: one width per halving of the picture, finest first. dim: length of the embedding."""

    resolution: int
    channels: tuple[int, ...]
    dim: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(int(c) for c in self.channels))


class IdentityNet(ConvTrunk):
    """Images [B,3,R,R] in [-1,1] -> [B,dim], unit vectors; the dot product of two is their similarity.

    The trunk's last map is flattened, so positions count.
    """

    def __init__(self, config: IdentityNetConfig) -> None:
        super().__init__(config.resolution, config.channels)
        self.config = config
        self.out = EqualLinear(self.flat_features, config.dim)

    def forward(self, images: Tensor) -> Tensor:
        """Unit vectors [B,dim], float32. Raises :class:`MismatchError` for pictures of another size."""
        return F.normalize(self.out(self.features(images)[-1].float().flatten(1)), dim=1)
