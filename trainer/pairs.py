"""Pictures with known codes: a rendered portrait and the z that stands for it.

What is drawn for a portrait has independent normal scores (`portraits.scores`), and a generator's z is a vector of
independent normal numbers. So the first entries of z can be the portrait: a generator trained on such pairs learns the
renderer by regression, which needs a fraction of the pictures that a discriminator alone needs. The other entries are
random and say nothing. z keeps its distribution, so sampling, inversion and editing are those of any generator.

Neither StyleGAN2 nor ReGANIE do this; it is possible only because the domain's pictures are rendered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reganie_core import portraits
from reganie_core.errors import InputError
from reganie_core.portraits.parameters import DRAWN, MIRRORED

__all__ = ["PortraitCodes"]


class PortraitCodes:
    """z of the portraits with seeds seed ... seed + count - 1.

    The mapping network divides z by its root mean square. The random entries are scaled so that this is 1 and what the
    network sees is the scores themselves.
    """

    def __init__(self, count: int, seed: int, z_dim: int) -> None:
        if z_dim < 2 * len(DRAWN):
            raise InputError(f"A portrait is {len(DRAWN)} numbers; pairs need z_dim of at least {2 * len(DRAWN)}, "
                             f"found {z_dim}.")
        self.z_dim = z_dim
        self.scores = portraits.scores(count, seed).float()
        self.sign = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in DRAWN])

    def batch(self, indices: Tensor, mirror: Tensor | None, free: Tensor) -> Tensor:
        """z [B,z_dim] of these portraits, flipped where `mirror` is true; `free` [B,z_dim] fills the rest."""
        scores = self.scores[indices]
        if mirror is not None:
            scores = torch.where(mirror[:, None], scores * self.sign, scores)
        free = free[:, scores.shape[1]:]
        room = (self.z_dim - scores.square().sum(dim=1)).clamp_min(1.0)
        return torch.cat([scores, free * (room / free.square().sum(dim=1)).sqrt()[:, None]], dim=1)

    @staticmethod
    @torch.no_grad()
    def look_only_at_scores(mapping: nn.Module) -> None:
        """Let the first layer start with no weight on the random entries. They outnumber the scores, and what a score
        says about a small thing (a collar, the eyes' colour) would have to be found under their noise."""
        mapping.fc0.weight[:, len(DRAWN):] = 0.0
