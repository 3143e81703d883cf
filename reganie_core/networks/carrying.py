"""Where in Y^ does each place of the difference image belong? An option of the rectifier beyond the paper.

A network of convolutions repaints what stays in place almost at once, but learns to move things only late and moves
them blurred. X^ and Y^ are both known, so the optical flow between them says what went where; the difference and its
spatial code are carried along it before the decoder uses them. The network here corrects the flow, which is wrong where
the edit changes how things look (grey hair, glasses). Aligning the difference with the edit is HFGI's idea (Wang et al.
2022, adaptive distortion alignment); how it is done here is ours.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import EqualConv2d
from .rectifier_encoders import ResidualDown

__all__ = ["FlowCorrection"]


class FlowCorrection(nn.Module):
    """A small U-Net at the code's size and below, from E_p's features of Y^ and the carried spatial code of dX.

    ``channels``: widths at the code's size, half of it, a quarter, ... It starts as "the flow is right".
    """

    def __init__(self, in_channels: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.first = EqualConv2d(in_channels, channels[0], 3, reflect=True, activation=True)
        self.down = nn.ModuleList(ResidualDown(a, b) for a, b in pairwise(channels))
        self.up = nn.ModuleList(
            EqualConv2d(b + a, a, 3, reflect=True, activation=True)
            for a, b in reversed(list(pairwise(channels)))
        )
        self.last = EqualConv2d(channels[0], 2, 3, reflect=True)
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
        return self.last(x).float()
