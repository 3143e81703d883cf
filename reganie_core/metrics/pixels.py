"""Distances between pixels, one number per image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import MismatchError

__all__ = ["changed_region", "check_pair", "l2", "masked_l2", "psnr"]


def check_pair(a: Tensor, b: Tensor) -> None:
    """Raise :class:`MismatchError` unless two batches have one shape [B,C,H,W]."""
    if a.shape != b.shape or a.ndim != 4:
        raise MismatchError(
            f"Two batches of the same shape [B,C,H,W] are compared, found {list(a.shape)} and "
            f"{list(b.shape)}."
        )


def l2(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared error of ``[B,3,H,W]`` in [-1,1] -> ``[B]`` (the L2 of the inversion literature: no root)."""
    check_pair(a, b)
    return (a - b).square().mean((1, 2, 3))


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images in [-1,1] (peak-to-peak 2) -> ``[B]``; infinite for equal images."""
    return 10.0 * torch.log10(4.0 / l2(a, b))


def masked_l2(a: Tensor, b: Tensor, region: Tensor) -> Tensor:
    """Mean squared error inside ``region [B,1,H,W]`` (weights 0..1) -> ``[B]``; NaN where a region is empty."""
    check_pair(a, b)
    if region.shape != (a.shape[0], 1, *a.shape[2:]):
        raise MismatchError(
            f"The region must have the shape {[a.shape[0], 1, *a.shape[2:]]}, found "
            f"{list(region.shape)}."
        )
    weight = region.to(a.dtype)
    return ((a - b).square() * weight).sum((1, 2, 3)) / (weight.sum((1, 2, 3)) * a.shape[1])


def changed_region(a: Tensor, b: Tensor, threshold: float = 0.05, dilate: int = 1) -> Tensor:
    """Where two pictures differ by more than ``threshold`` in any channel, widened -> ``[B,1,H,W]`` of 0 and 1."""
    check_pair(a, b)
    region = ((a - b).abs().amax(1, keepdim=True) > threshold).float()
    return F.max_pool2d(region, 2 * dilate + 1, 1, dilate) if dilate else region
