"""The codes of X^ and Y^ get the same error, as those of a real picture have before and after an edit."""

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
class Jitter(Extra):
    most: float = option(0.5, "largest error of the codes, as a share of the way to another code", share=True)

    def codes(self, codes: Tensor, draws: Draws, t: int, edit: DrawnEdit) -> Tensor:
        """The error leads towards another mapped code, in the layers from a random one up or down: like that of a real
        picture it is an error of content, and the edit does not change it.
        """
        G, batch = self.stage.G, len(draws)
        z, u = draws.randn(G.z_dim), draws.rand(3)
        cut, rising = (u[:, :1] * G.num_ws).long(), u[:, 1:2] < 0.5
        layer = torch.arange(G.num_ws)[None]
        share = torch.where((layer >= cut) == rising, u[:, 2:].square() * self.most, 0.0)
        error = share[:, :, None].to(codes.device) * (G.mapping(z.to(codes.device)) - codes[:batch])
        return codes + error.repeat(len(codes) // batch, 1, 1)
