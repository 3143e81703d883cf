"""The encoder stage where pictures are rendered: the codes of training pictures are known as well (pairs.py).

That is ours, not e4e's. A face's smile is a small part of a code's variance, and an encoder may never read it; with
`whiten` known codes are compared along w's principal axes, each of them in units of its own variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reganie_core.errors import InputError

from ..classes import map_random
from ..loop.config import option
from ..loop.randomness import Draws, generator_at
from ..stages.encoder import EncoderStage, EncoderStageConfig
from .pairs import PortraitCodes, warn_without_pairs

__all__ = ["FLOOR", "PortraitEncoderConfig", "PortraitEncoderStage", "principal_axes"]

#: Variance that is added to every axis, as a share of their mean: errors along the smallest are mostly noise.
FLOOR = 0.02


def principal_axes(w: Tensor) -> Tensor:
    """Axes [w_dim,w_dim] such that vectors like w [N,w_dim], times these, have a variance of (nearly) 1 along each."""
    variances, axes = torch.linalg.eigh(torch.cov(w.double().T))
    return (axes / (variances + FLOOR * variances.mean()).sqrt()).to(w.dtype)


@dataclass
class PortraitEncoderConfig(EncoderStageConfig):
    pairs: float = option(0.0, "weight of the distance to known codes of training pictures, in units of their variance")
    whiten: bool = option(False, "all axes of w alike: small things (a smile) count as much as large ones (hair)")

    def validate(self) -> None:
        super().validate()
        if self.pairs > 0 and self.images:
            raise InputError("pairs needs pictures with known codes, which only the rendered portraits have; train on "
                             "your own pictures with pairs=0.")


class PortraitEncoderStage(EncoderStage):
    config_class = PortraitEncoderConfig
    config: PortraitEncoderConfig

    def __init__(self, config: PortraitEncoderConfig) -> None:
        super().__init__(config)
        self.pairs = config.pairs
        if config.pairs > 0:
            self.codes = PortraitCodes(config.data_count, config.data_seed, self.G.z_dim)
            warn_without_pairs(self.G, "pairs")
        if config.whiten:
            z = torch.randn(4096, self.G.z_dim, generator=generator_at(0, 0, "variance"))
            with torch.no_grad():
                w = map_random(self.G, z, lambda: torch.rand(4096, generator=generator_at(0, 0, "classes")))
            self.axes = principal_axes(w)

    def codes_of(self, indices: Tensor, mirror: Tensor, draws: Draws) -> list[Tensor]:
        if self.config.pairs <= 0:
            return []
        z = self.codes.batch(indices, mirror, draws.randn(1, self.G.z_dim)[:, 0])
        with torch.no_grad():
            return [self.G.mapping(z.to(self.config.device))]

    def distance(self, codes: Tensor, known: Tensor) -> Tensor:
        if not self.config.whiten:
            return super().distance(codes, known)
        return ((codes - known) @ self.axes).square().mean(dim=(1, 2))
