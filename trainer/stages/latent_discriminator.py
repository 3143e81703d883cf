"""e4e's latent discriminator (Tov et al. 2021, section 4.1): codes of pictures should look like mapped codes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reganie_core.networks.layers import EqualLinear

__all__ = ["LatentDiscriminator"]


class LatentDiscriminator(nn.Module):
    """Single style vectors [N,w_dim] -> logits [N]; `centre` and `spread` standardise them."""

    centre: Tensor
    spread: Tensor

    def __init__(self, w_dim: int, width: int = 256, layers: int = 4) -> None:
        super().__init__()
        widths = [w_dim] + [width] * (layers - 1)
        self.hidden = nn.ModuleList(EqualLinear(a, b, activation=True)
                                    for a, b in zip(widths[:-1], widths[1:], strict=True))
        self.out = EqualLinear(width, 1)
        self.register_buffer("centre", torch.zeros(w_dim))
        self.register_buffer("spread", torch.ones(w_dim))

    def forward(self, w: Tensor) -> Tensor:
        x = (w - self.centre) / self.spread
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)[:, 0]
