"""A mapping network for codes that an encoder made: G(mapping(z)) then draws what lies among the encoder's pictures.

The joint stage trains no mapping network; its codes are the encoder's. Their distribution is taken for a normal one:
the mapping is written down, not trained. It has StyleGAN2's own form, two layers with leaky ReLUs, and is linear all
the same. The first layer holds every coordinate of z twice, with both signs, whose difference undoes the ReLU; and w is
moved to where the second layer's ReLU changes nothing, which the layers that read w take back.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reganie_core.networks.stylegan2 import Generator

__all__ = ["AWAY", "move_codes", "normal_mapping"]

AWAY = 5.0          # standard deviations between the mean of w and 0
SLOPE, GAIN = 0.2, math.sqrt(2.0)       # of StyleGAN2's leaky ReLU


@torch.no_grad()
def normal_mapping(generator: Generator, codes: Tensor) -> Tensor:
    """Fill the two mapping layers so that w is as ``codes [N,w_dim]`` are distributed, in their largest axes.

    Every picture of the generator stays as it was when ``shift`` (the returned ``[w_dim]``) is added to its codes, and
    w_avg is the mean of the moved codes. Half of w_dim axes fit, or z_dim where that is less.
    """
    mapping = generator.mapping
    mean, spread = codes.double().mean(0), codes.double().std(0)
    shift = AWAY * spread.clamp_min(1e-4) - mean                    # the mean goes to AWAY deviations above 0
    values, axes = torch.linalg.eigh(torch.cov(codes.double().T))
    first, second = mapping.fc0, mapping.fc1
    count = min(first.weight.shape[0] // 2, first.weight.shape[1])
    scaled = axes.flip(1)[:, :count] * values.flip(0)[:count].clamp_min(0.0).sqrt()
    signs = torch.zeros(first.weight.shape, dtype=torch.float64)
    signs[:count, :count], signs[count:2 * count, :count] = torch.eye(count), -torch.eye(count)
    back = torch.zeros(second.weight.shape, dtype=torch.float64)
    back[:, :count], back[:, count:2 * count] = scaled, -scaled
    back /= GAIN * GAIN * (1.0 + SLOPE)                             # both layers' gains; a - (-SLOPE a) = 1.2 a
    first.weight.copy_(signs / first.weight_gain)
    first.bias.zero_()
    second.weight.copy_(back / second.weight_gain)
    second.bias.copy_((mean + shift) / GAIN / second.bias_gain)
    mapping.w_avg.copy_(mean + shift)
    move_codes(generator, shift)
    return shift.to(codes)


@torch.no_grad()
def move_codes(generator: Generator, shift: Tensor) -> None:
    """Let every picture stay as it is when ``shift [w_dim]`` is added to its codes. w_avg is left alone."""
    for module in generator.synthesis.modules():
        if hasattr(module, "affine"):
            affine = module.affine
            styles = affine.weight.double() * affine.weight_gain @ shift.double()
            affine.bias -= styles.to(affine.bias) / affine.bias_gain
