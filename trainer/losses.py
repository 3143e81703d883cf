"""Losses shared by the stages."""

from __future__ import annotations

from collections.abc import Callable

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


def equation_9(picture: Tensor, target: Tensor, distance: Callable[[Tensor, Tensor], Tensor],
               discriminator: nn.Module | None,
               weights: tuple[float, float, float]) -> tuple[Tensor, dict[str, Tensor]]:
    """The rectifier's loss of ReGANIE, equation 9, and its three terms: L1 + perceptual + adversarial.

    `picture` I_r and `target` I are [B,3,R,R] in [-1,1]; `distance` gives LPIPS [B]; the paper's weights are 1, 1, 1.
    """
    l1 = (picture - target).abs().mean()                                                     # |I_r - I|_1
    lpips = distance(picture, target).mean()                                                 # LPIPS(I_r, I)
    adversarial = l1.new_zeros(()) if discriminator is None else generator_loss(discriminator(picture))
    loss = weights[0] * l1 + weights[1] * lpips + weights[2] * adversarial                   # equation 9
    return loss, {"l1": l1, "perceptual": lpips, **({} if discriminator is None else {"G": adversarial})}
