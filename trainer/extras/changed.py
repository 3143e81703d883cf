"""L1 within the region that the edit changes, small regions as much as large ones."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from reganie_core.metrics import changed_region

from ..loop.config import option
from .base import Extra, Made

__all__ = ["Changed", "regional_mean"]

SMALLEST_REGION = 0.01      # share of the picture: what changes less than that does not count more


def regional_mean(error: Tensor, region: Tensor) -> Tensor:
    """Mean over pictures of the mean of error [B,3,H,W] within each picture's region [B,1,H,W] of 0 and 1."""
    area = region.mean(dim=(1, 2, 3)).clamp_min(SMALLEST_REGION)
    return ((error * region).mean(dim=(1, 2, 3)) / area).mean()


@dataclass
class Changed(Extra):
    weight: float = option(1.0, "of the L1 where X and Y differ")

    def terms(self, made: Made, picture: Tensor) -> dict[str, Tensor]:
        """See the module; triplet 3 and training pictures have no edit."""
        delta, _, target, source = made.triplet
        if made.number > 2:
            return {}
        region = changed_region(delta + source, target)
        return {"changed": self.weight * regional_mean((picture - target).abs(), region)}
