"""Where in Y^ does each place of the difference image belong? An option of the rectifier beyond the paper.

A network of convolutions repaints what stays in place almost at once, but learns to move things only slowly, and moves
them blurred. Here it says for each place of Y^ where in dX its difference is to be fetched (a dense flow), and both the
spatial code and the difference itself are carried there before the decoder uses them. The idea of aligning the
difference with the edit is HFGI's (Wang et al. 2022, adaptive distortion alignment); this network is ours.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .modulation import ACTIVATION_GAIN, EqualisedConv
from .rectifier_encoders import ResidualDown

__all__ = ["Carrier", "carry"]

REACH = 4.0  # code pixels per unit of the last layer's output


def carry(images: Tensor, flow: Tensor) -> Tensor:
    """``images [B,C,H,W]`` read at p + flow(p), bilinear, edges repeated.

    ``flow [B,2,h,w]`` holds (x, y) in its own pixels and is enlarged with the pictures' size.
    """
    b, _, h, w = images.shape
    if flow.shape[-1] != w:
        flow = F.interpolate(flow, size=(h, w), mode="bilinear", align_corners=False) * (w / flow.shape[-1])
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    position = torch.stack([(x + flow[:, 0] + 0.5) * (2 / w) - 1, (y + flow[:, 1] + 0.5) * (2 / h) - 1], dim=-1)
    return F.grid_sample(images, position, mode="bilinear", padding_mode="border", align_corners=False)


class Carrier(nn.Module):
    """Flow from E_p's features of Y^ and the spatial code of dX: a small U-Net at the code's size and below.

    ``channels``: widths at the code's size, half of it, a quarter, ... It starts as "nothing moves".
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.first = EqualisedConv(in_channels, channels[0], 3, padding=1, activate=True, gain=ACTIVATION_GAIN)
        self.down = nn.ModuleList(ResidualDown(a, b) for a, b in pairwise(channels))
        self.up = nn.ModuleList(
            EqualisedConv(b + a, a, 3, padding=1, activate=True, gain=ACTIVATION_GAIN)
            for a, b in reversed(list(pairwise(channels)))
        )
        self.last = EqualisedConv(channels[0], 2, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, f_x: Tensor, sp: Tensor) -> Tensor:
        """``[B,C,h,w]`` and ``[B,sp_channels,h,w]`` to a float32 flow ``[B,2,h,w]`` in code pixels."""
        x = self.first(torch.cat([f_x, sp], dim=1))
        finer = []
        for block in self.down:
            finer.append(x)
            x = block(x)
        for conv in self.up:
            skip = finer.pop()
            x = F.interpolate(x, size=tuple(skip.shape[-2:]), mode="bilinear", align_corners=False)
            x = conv(torch.cat([x, skip], dim=1))
        return self.last(x).float() * REACH
