"""What the editor stage asks of an edit.

Targets are drawn evenly over each attribute's range, independently of each other and of the code (correlations of the
data would leak otherwise); half of them are asked as changes and half as absolute values. That is ours: DyStyle's paper
does not say how it draws them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.networks.dystyle import DyStyle

from ..data.renderer import known_controls

__all__ = ["ENCODED", "Ranges", "Request", "draw_request", "goals", "measured_ranges"]

ENCODED = 0.5        # share of codes that the encoder gives
MIXING = 0.5         # share of the mapping's codes with two styles
ABSOLUTE = 0.5       # share of requests that name a value instead of a change
MOST_EDITS = 3       # at once, when the schedule is at its end
FIRST_REACH = 0.3    # share of the way to a target that is asked at the start
RANGE_TAIL = 0.01    # share of pictures beyond each end of a measured range


@dataclass
class Request:
    """Everything random of one batch, for all of its rows."""

    z: Tensor            # [2,B,z_dim]
    crossing: Tensor     # [B] first layer of the second style
    indices: Tensor      # [B] of the pictures
    mirror: Tensor       # [B]
    active: Tensor       # [B,K]
    target: Tensor       # [B,K] in 0..1 of the range
    absolute: Tensor     # [B,K]


class Ranges(nn.Module):
    """Trained range of each control [K,2] in its unit; saved with a run, so that resuming does not measure anew."""

    def __init__(self, ends: Tensor) -> None:
        super().__init__()
        self.register_buffer("ends", ends)

    def share(self, values: Tensor) -> Tensor:
        """[B,K] in units -> position in the range, 0..1 inside."""
        low, high = self.ends.unbind(1)
        return (values - low) / (high - low)


def measured_ranges(logits: Tensor, net: DyStyle) -> Tensor:
    """Ranges [K,2] in units: quantiles of what generated pictures show, within what the domain's controls allow."""
    tails = torch.tensor([RANGE_TAIL, 1 - RANGE_TAIL])
    values = (logits * net.std.cpu() + net.mean.cpu()).quantile(tails, dim=0).t()
    known, rows, config = known_controls(), [], net.config
    for name, kind, std, ends in zip(config.names, config.kinds, config.std, values.tolist(), strict=True):
        if kind == "binary":
            ends = [0.0, 1.0]
        elif name in known:
            ends = [max(ends[0], known[name].minimum), min(ends[1], known[name].maximum)]
        step = 10.0 ** torch.tensor(std).log10().floor().item() / 10
        rows.append([round(end / step) * step for end in ends])
    return torch.tensor(rows)


def draw_request(random: torch.Generator, batch: int, count: int, generator: Any, pictures: int,
                 progress: float) -> Request:
    """Requests for `count` controls; the second half of the batch asks for the first half's targets, for the contrast.

    progress: 0 (one attribute at a time) to 1 (up to MOST_EDITS); pictures: how many there are to encode.
    """
    half = batch // 2
    z = torch.randn(2, batch, generator.z_dim, generator=random)
    numbers = torch.rand(batch, 5 + 3 * count, generator=random)
    plain, (order, target, absolute) = numbers[:, :5], numbers[:, 5:].split(count, dim=1)
    mixed = 1 + plain[:, 1] * (generator.num_ws - 1)
    crossing = torch.where(plain[:, 0] < MIXING, mixed, generator.num_ws).int()
    edits = (plain[:, 2] * (1 + (MOST_EDITS - 1) * progress)).floor()
    active = order.argsort(dim=1).argsort(dim=1) <= edits[:, None]
    active[half:], target[half:] = active[:half].clone(), target[:half].clone()
    indices = (plain[:, 3] * pictures).long().clamp_max(pictures - 1)
    return Request(z, crossing, indices, plain[:, 4] < 0.5, active, target, absolute < ABSOLUTE)


def goals(net: DyStyle, ranges: Ranges, logits: Tensor, current: Tensor, active: Tensor, target: Tensor,
          absolute: Tensor, progress: float) -> tuple[Tensor, Tensor]:
    """Changes for the network [B,K] and goals for the loss [B,K] (standardised; binary ones 0 or 1).

    logits [B,K]: read from the unedited pictures; current [B,K]: read by the editor's own head from the codes.
    """
    low, high = ranges.ends.unbind(1)
    shown = logits * net.std + net.mean
    reach = FIRST_REACH + (1 - FIRST_REACH) * progress
    goal = shown + reach * (low + target * (high - low) - shown)
    change = goal - torch.where(absolute, current, shown)
    on = (target > 0.5).to(goal.dtype)
    change = torch.where(net.binary, 2 * on - 1, change) * active
    return change, torch.where(net.binary, on, (goal - net.mean) / net.std)
