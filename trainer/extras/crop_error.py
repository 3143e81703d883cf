"""X and Y are framed a little wrongly, both alike, as faces found in photos are."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..data.crops import displace
from ..loop.config import option
from ..loop.randomness import Draws
from .base import Extra


@dataclass
class CropError(Extra):
    error: float = option(0.02, "how far crops are off, see data/crops.py; found faces: 0.02", share=True)

    def pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        """See the module."""
        return displace(pictures, self.error, draws, len(draws))
