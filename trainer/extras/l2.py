"""The squared error beside L1."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..loop.config import option
from .base import Extra, Made


@dataclass
class L2(Extra):
    weight: float = option(1.0, "of the mean squared error")

    def terms(self, made: Made, picture: Tensor) -> dict[str, Tensor]:
        """See the class."""
        return {"l2": self.weight * (picture - made.triplet.target).square().mean()}
