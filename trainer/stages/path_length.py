"""Path length regularisation of StyleGAN2 (Karras et al. 2020b, section 3.2, eq. 4).

A step of fixed size in w should change the picture by a fixed amount: |J_w^T y| for random pictures y is drawn towards
its own running mean a. It makes generators easier to invert, and costs a second derivative, so it is done every
`path_length_interval` steps, on half the batch, with a weight multiplied by the interval ("lazily").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["PathLength"]

DECAY = 0.01


class PathLength(nn.Module):
    """Keeps a. Lengths are compared with the mean of the steps before, so that shares of a batch agree on it."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros([]))

    def lengths(self, images: Tensor, ws: Tensor, y: Tensor) -> Tensor:
        """|J_w^T y| [B] per layer, as a root mean square over layers, for images [B,3,R,R] made from ws [B,N,W].

        y: standard normal, like images. Differentiable; divided by R, so that it does not grow with the resolution.
        """
        scale = 1.0 / math.sqrt(images.shape[-1] * images.shape[-2])
        (slope,) = torch.autograd.grad((images * y).sum() * scale, ws, create_graph=True)
        return slope.float().square().sum(dim=2).mean(dim=1).sqrt()

    def penalty(self, lengths: Tensor) -> Tensor:
        """Mean of (length - a)^2."""
        return (lengths - self.mean).square().mean()

    @torch.no_grad()
    def update(self, mean: Tensor) -> None:
        """Move a towards the mean length of a whole batch."""
        self.mean.lerp_(mean.to(self.mean), DECAY)
