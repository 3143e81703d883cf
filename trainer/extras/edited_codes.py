"""The inverted edit is sometimes G(Editor(E(X))), which is what the rectifier sees in use, instead of G(E(Y))."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..loop.config import option
from ..loop.randomness import Draws
from .base import Extra

if TYPE_CHECKING:
    from ..stages.edits import DrawnEdit


@dataclass
class EditedCodes(Extra):
    share: float = option(0.5, "of the batches of triplet 2", share=True)

    def codes(self, codes: Tensor, draws: Draws, t: int, edit: DrawnEdit) -> Tensor:
        """See the module."""
        if t != 2 or float(torch.rand(1, generator=draws.random)) >= self.share:
            return codes
        x = codes[:len(draws)]
        return torch.cat([x, edit(x)])
