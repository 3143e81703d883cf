"""The part of a photo that one crop needs, padded as the published FFHQ alignment does.

After Karras et al. 2019 (appendix A): shrink where the square is far larger than the crop, keep a margin, and where
the square leaves the photo continue it by reflection, blurred with a Gaussian of 2 % of the square's side and faded
to the median colour with the distance.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .picture import Picture

__all__ = ["blur", "cut_out", "pad_published"]

MEDIAN_SAMPLES = 1 << 20


def cut_out(picture: Picture, quad: Tensor, size: int, device: torch.device | None = None,
            pad: bool = True) -> tuple[Tensor, Tensor]:
    """``[1,3,h,w]`` around the square ``quad`` [4,2] (photo pixels), and the square in that region's pixels.

    Without ``pad`` the region ends where the photo does.
    """
    width, height = picture.size
    quad = quad.double()
    reach = float((quad[3] - quad[0]).norm())
    shrink = max(1, math.floor(reach / size * 0.5))
    border = shrink * max(round(reach / shrink * 0.1), 3)
    low, high = quad.amin(0).floor(), quad.amax(0).ceil()
    x0, y0 = (max(int(v) - border, 0) for v in low)
    x1, y1 = min(int(high[0]) + border, width), min(int(high[1]) + border, height)
    # A square far outside still gets its padding from the photo's nearest pixels.
    x0, y0 = min(x0, width - 1), min(y0, height - 1)
    x1, y1 = max(x1, x0 + 1), max(y1, y0 + 1)
    region = picture.read((x0, x1, y0, y1))
    region = region if device is None else region.to(device)
    quad = quad - torch.tensor([x0, y0], dtype=torch.float64)
    if shrink > 1:
        extra_x, extra_y = -(x1 - x0) % shrink, -(y1 - y0) % shrink
        if extra_x or extra_y:
            region = F.pad(region, (0, extra_x, 0, extra_y), mode="replicate")
        region = F.avg_pool2d(region, shrink)
        quad = (quad + 0.5) / shrink - 0.5
        border //= shrink
    return pad_published(region, quad, border) if pad else (region, quad)


def pad_published(region: Tensor, quad: Tensor, border: int) -> tuple[Tensor, Tensor]:
    """Continue ``region`` [1,3,h,w] where the square with its border leaves it; unchanged where it does not."""
    h, w = region.shape[-2:]
    low, high = quad.amin(0).floor(), quad.amax(0).ceil()
    pad = [max(-int(low[0]) + border, 0), max(-int(low[1]) + border, 0),
           max(int(high[0]) - w + border, 0), max(int(high[1]) - h + border, 0)]
    if max(pad) <= border - 4:
        return region, quad
    reach = float((quad[3] - quad[0]).norm())
    left, top, right, bottom = (max(p, round(reach * 0.3)) for p in pad)
    columns = _reflected(w, left, right).to(region.device)
    rows = _reflected(h, top, bottom).to(region.device)
    padded = region[..., rows, :][..., columns]
    mask = _outside((padded.shape[-2], padded.shape[-1]), (left, top, right, bottom), region.device)
    soft = blur(padded, reach * 0.02)
    padded = padded + (soft - padded) * (mask * 3.0 + 1.0).clamp(0.0, 1.0)
    median = _median(padded)
    padded = padded + (median - padded) * mask.clamp(0.0, 1.0)
    return padded, quad + torch.tensor([left, top], dtype=torch.float64)


def _reflected(length: int, before: int, after: int) -> Tensor:
    """Indices of a line continued by mirroring at its end pixels (numpy's "reflect"), however far."""
    index = torch.arange(-before, length + after)
    if length == 1:
        return torch.zeros_like(index)
    period = 2 * (length - 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index)


def _outside(shape: tuple[int, int], pads: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """``[h,w]``: 1 at the padded picture's edge, 0 at the photo's, negative inside; linear in between."""
    h, w = shape
    left, top, right, bottom = pads
    x = torch.arange(w, dtype=torch.float32, device=device)
    y = torch.arange(h, dtype=torch.float32, device=device)[:, None]
    across = 1.0 - torch.minimum(x / left, (w - 1 - x) / right)
    down = 1.0 - torch.minimum(y / top, (h - 1 - y) / bottom)
    return torch.maximum(across, down)


def _median(images: Tensor) -> Tensor:
    """Median colour ``[1,3,1,1]``, of at most a million pixels."""
    flat = images.flatten(2)
    flat = flat[..., :: max(1, flat.shape[-1] // MEDIAN_SAMPLES)]
    return flat.median(-1).values[..., None, None]


def blur(images: Tensor, sigma: float) -> Tensor:
    """Gaussian of ``sigma`` pixels over ``[B,C,H,W]``, mirrored at the edges.

    A wide one works on a smaller copy whose own averaging and interpolation are counted in: a 4000-pixel photo costs
    no more than a small one.
    """
    if sigma < 0.1:
        return images
    h, w = images.shape[-2:]
    times = int(min(sigma / 3.0, h, w))
    if times > 1:
        small = F.pad(images, (0, -w % times, 0, -h % times), mode="replicate")
        small = F.avg_pool2d(small, times)
        # Variance of a box of one small pixel 1/12, of linear interpolation 1/6.
        small = _gaussian(small, math.sqrt((sigma / times) ** 2 - 0.25))
        big = F.interpolate(small, scale_factor=float(times), mode="bilinear", align_corners=False)
        return big[..., :h, :w]
    return _gaussian(images, sigma)


def _gaussian(images: Tensor, sigma: float) -> Tensor:
    from kornia.filters import filter2d  # not before a picture needs it: it takes a second to import

    radius = max(1, math.ceil(4.0 * sigma))
    ticks = torch.arange(-radius, radius + 1, dtype=torch.float32, device=images.device)
    kernel = torch.exp(-0.5 * (ticks / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(images.dtype)
    h, w = images.shape[-2:]
    rows, columns = _mirrored(h, radius).to(images.device), _mirrored(w, radius).to(images.device)
    blurred = filter2d(images[..., columns], kernel[None, None, :], padding="valid")
    return filter2d(blurred[..., rows, :], kernel[None, :, None], padding="valid")


def _mirrored(length: int, radius: int) -> Tensor:
    """Indices continued by mirroring with the edge pixel doubled, as scipy's Gaussian does by default."""
    index = torch.arange(-radius, length + radius).remainder(2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
