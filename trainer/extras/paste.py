"""Shapes that the generator has never made, pasted into X and carried to Y; see data/pasted_shapes.py."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..data.pasted_shapes import paste_shapes
from ..loop.config import option
from ..loop.randomness import Draws
from .base import Extra


@dataclass
class Paste(Extra):
    share: float = option(0.5, "of the pictures", share=True)
    below: float = option(0.5, "share of these whose shapes lie below what the edit adds, as paint below glasses; half "
                               "of them are seen through it", share=True)

    def pictures(self, pictures: Tensor, draws: Draws) -> Tensor:
        """See the module."""
        return paste_shapes(pictures, len(draws), self.share, draws, self.below)
