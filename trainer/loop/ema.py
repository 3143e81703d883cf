"""Exponential moving average of weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


def make_average(module: nn.Module) -> nn.Module:
    """A frozen copy that will follow `module`."""
    return copy.deepcopy(module).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, batch: int, half_life_kimg: float, seen: int) -> None:
    """average <- lerp(module, average, 0.5^(batch / half-life)); the half-life is shorter at the very start."""
    half_life = max(min(half_life_kimg * 1000.0, seen * 0.05), 1e-8)
    weight = 1.0 - 0.5 ** (batch / half_life)
    mine = [p for p in average.parameters()]
    torch._foreach_lerp_(mine, [p for p in module.parameters()], weight)
    for a, b in zip(average.buffers(), module.buffers(), strict=True):
        a.copy_(b)
