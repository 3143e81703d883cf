"""How well does an embedding tell people apart?"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError

__all__ = ["equal_error_rate"]


def equal_error_rate(same: Tensor, different: Tensor) -> tuple[float, float]:
    """Equal error rate of similarities of genuine and of impostor pairs -> (rate, threshold).

    At the threshold the share of ``same [N]`` below it and the share of ``different [M]`` at or above it are as equal
    as the samples allow; the rate is their mean.

    Raises:
        InputError: an empty set or values that are not finite.
    """
    if not same.numel() or not different.numel():
        raise InputError("An error rate needs genuine and impostor pairs.")
    same, different = same.double().flatten().sort().values, different.double().flatten().sort().values
    if not bool(same.isfinite().all() and different.isfinite().all()):
        raise InputError("Similarities must be finite.")
    # Both error shares are steps that move only at observed similarities: these are all thresholds there are.
    thresholds = torch.cat([same, different, different[-1:] + 1])
    rejected = torch.searchsorted(same, thresholds).double() / len(same)
    accepted = 1 - torch.searchsorted(different, thresholds).double() / len(different)
    best = int((rejected - accepted).abs().argmin())
    return float((rejected[best] + accepted[best]) / 2), float(thresholds[best])
