"""Losses shared by the stages."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def generator_loss(logits: Tensor) -> Tensor:
    """Non-saturating loss of a generator, softplus(-D(fake)) (Goodfellow et al. 2014)."""
    return F.softplus(-logits).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-D(real)) + softplus(D(fake))."""
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Mean of |grad_x D(x)|^2 over real samples [B,...] (Mescheder et al. 2018), with a graph for its gradient."""
    real = real.detach().requires_grad_(True)
    logits = discriminator(real)
    (gradient,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean()
