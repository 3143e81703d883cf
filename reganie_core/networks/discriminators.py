"""Several discriminators that count alike, as one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["Discriminators"]


class Discriminators(nn.Module):
    """Images [B,3,R,R] -> logits [B,N]: each part's, repeated until all parts have as many (counts divide the largest).

    A frozen network's features say at once what belongs into a picture, and overlook what its own task never needed: a
    pale rim around a head. A discriminator on pixels learns slowly and overlooks nothing.
    """

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    def forward(self, images: Tensor) -> Tensor:
        logits = [part(images) for part in self.parts.values()]
        most = max(x.shape[1] for x in logits)
        return torch.cat([x.repeat(1, most // x.shape[1]) for x in logits], dim=1)
