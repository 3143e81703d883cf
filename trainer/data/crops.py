"""Crops that are off, as those of found faces are: an option of the encoder and rectifier stages.

Rendered portraits and aligned data sets are framed exactly; a face found in a photo comes with points that are off by a
few percent of its size, and the square made of them is turned, scaled and shifted by as much. Networks that have never
seen such squares lose more on them than they need to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..loop.randomness import Draws

__all__ = ["displace", "shifted"]


def displace(pictures: Tensor, error: float, random: torch.Generator | Draws, count: int = 0) -> Tensor:
    """Pictures [B,3,H,W] in [-1,1] as crops whose points are off would show them.

    `error`: standard deviation of the turn (radians), of the logarithm of the scale, and of the shift along each axis
    (in halves of the picture's side, of which a shift takes half as much); none is beyond two deviations. `count`: how
    many pictures there are of which B / count versions follow each other; all versions of one get the same error.
    Missing borders are mirrored.
    """
    count = count or len(pictures)
    draws = Draws.of(random, count)
    turn, log_scale, dx, dy = (draws.randn(4).clamp(-2, 2) * error).to(pictures.device).unbind(dim=1)
    cos, sin = log_scale.exp() * turn.cos(), log_scale.exp() * turn.sin()
    theta = torch.stack([torch.stack([cos, -sin, 0.5 * dx], 1), torch.stack([sin, cos, 0.5 * dy], 1)], 1)
    places = F.affine_grid(theta.repeat(len(pictures) // count, 1, 1), list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, places, "bicubic", "reflection", align_corners=False).clamp(-1, 1)


def shifted(images: Tensor, limit: int, random: torch.Generator) -> Tensor:
    """The batch, moved together by up to `limit` pixels on each axis, edges repeated."""
    dx, dy = torch.randint(-limit, limit + 1, (2,), generator=random).tolist()
    size = images.shape[-1]
    padded = F.pad(images, (limit,) * 4, mode="replicate")
    return padded[..., limit + dy:limit + dy + size, limit + dx:limit + dx + size]
