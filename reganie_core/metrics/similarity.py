"""Structural similarity at one and at several scales (Wang, Simoncelli and Bovik, 2003)."""

from __future__ import annotations

import torch
from kornia.filters import filter2d_separable
from torch import Tensor
from torch.nn import functional as F

from ..errors import InputError
from .pixels import check_pair

__all__ = ["SCALE_WEIGHTS", "ms_ssim", "scales_for", "ssim"]

#: Exponents of the five scales, finest first, as published (they sum to 1).
SCALE_WEIGHTS: tuple[float, ...] = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW, SIGMA = 11, 1.5
K1, K2, RANGE = 0.01, 0.03, 2.0  # images in [-1,1] span 2


def scales_for(size: int) -> int:
    """How many of the five scales a picture of ``size`` pixels allows: the window must fit at the coarsest.

    5 from 176 px up, 4 at 128, 3 at 64, 2 at 32. Raises :class:`InputError` below 11 pixels.
    """
    count = 0
    while count < len(SCALE_WEIGHTS) and size >> count >= WINDOW:
        count += 1
    if not count:
        raise InputError(f"Structural similarity needs at least {WINDOW} pixels on a side, found {size}.")
    return count


def _window(like: Tensor) -> Tensor:
    x = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    g = (-x.square() / (2 * SIGMA**2)).exp()
    return (g / g.sum()).to(like)


def _blur(x: Tensor, g: Tensor) -> Tensor:
    """Gaussian window on every channel, only where it fits entirely."""
    return filter2d_separable(x, g[None], g[None], padding="valid")


def _terms(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Means [B,C] of the similarity (luminance * contrast * structure) and of contrast * structure alone."""
    g = _window(a)
    c1, c2 = (K1 * RANGE) ** 2, (K2 * RANGE) ** 2
    # One convolution for all five moments: half of the time is in calls on small pictures.
    n = a.shape[1]
    mu_a, mu_b, aa, bb, ab = _blur(torch.cat([a, b, a * a, b * b, a * b], 1), g).split(n, 1)
    var_a, var_b, cov = aa - mu_a.square(), bb - mu_b.square(), ab - mu_a * mu_b
    contrast = (2 * cov + c2) / (var_a + var_b + c2)
    luminance = (2 * mu_a * mu_b + c1) / (mu_a.square() + mu_b.square() + c1)
    return (luminance * contrast).mean((2, 3)), contrast.mean((2, 3))


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of ``[B,C,H,W]`` in [-1,1] -> ``[B]`` (Gaussian 11x11, sigma 1.5, mean over channels)."""
    check_pair(a, b)
    scales_for(min(a.shape[-2:]))
    return _terms(a, b)[0].mean(1)


def ms_ssim(a: Tensor, b: Tensor, scales: int | None = None) -> Tensor:
    """Multi-scale structural similarity of ``[B,C,H,W]`` in [-1,1] -> ``[B]``; 1 for equal pictures.

    The published definition: contrast and structure at every scale, luminance at the coarsest, weights
    ``SCALE_WEIGHTS``, pictures halved by 2x2 averages in between, a Gaussian window of 11 pixels. Each channel is
    compared by itself and the channels are averaged. Negative means count as 0.

    Args:
        scales: how many of the five scales; None takes what the size allows (see :func:`scales_for`). Fewer than five
            use the first weights, rescaled to sum to 1: such numbers do not compare with those of other sizes.

    Raises:
        MismatchError: two shapes.
        InputError: more scales than the size allows.
    """
    check_pair(a, b)
    possible = scales_for(min(a.shape[-2:]))
    count = possible if scales is None else scales
    if not 1 <= count <= possible:
        raise InputError(f"Pictures of {min(a.shape[-2:])} px allow 1 to {possible} scales, {scales} were asked for.")
    weights = torch.tensor(SCALE_WEIGHTS[:count], dtype=torch.float64)
    weights = (weights / weights.sum()).tolist()
    product = torch.ones(a.shape[:2], dtype=a.dtype, device=a.device)
    for scale, weight in enumerate(weights):
        whole, contrast = _terms(a, b)
        last = scale == count - 1
        product = product * (whole if last else contrast).clamp_min(0).pow(weight)
        if not last:
            a, b = (F.avg_pool2d(x, 2) for x in (a, b))
    return product.mean(1)
