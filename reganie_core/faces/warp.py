"""Resampling between a photo and a square in it: subpixel and antialiased both ways."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ..images import resize

__all__ = ["crop_coordinates", "edge_distance", "sample_square", "spread_square"]


def _axes(quad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Origin, the crop's x axis and its y axis, float64, of corners [4,2]."""
    quad = quad.double()
    return quad[0], quad[3] - quad[0], quad[1] - quad[0]


def sample_square(region: Tensor, quad: Tensor, size: int) -> Tensor:
    """Cut the square ``quad`` [4,2] (pixels of ``region``, centres at whole numbers) out of ``region`` [1,C,h,w].

    Where the crop has fewer pixels than the square, several samples, at most a pixel apart, are averaged for each
    (area antialiasing in the crop's own axes); where it has more, the interpolation is bicubic. Outside the region the
    border repeats.

    Returns:
        ``[1,C,size,size]``.
    """
    origin, across, down = _axes(quad)
    longest = max(float(across.norm()), float(down.norm()))
    times = max(1, math.ceil(longest / size - 1e-6))
    h, w = region.shape[-2:]
    device = region.device
    ticks = (torch.arange(size * times, dtype=torch.float64) + 0.5) / (size * times)
    # Normalised coordinates of grid_sample with align_corners=False: -1 and 1 are the outer edges.
    scale = torch.tensor([2.0 / w, 2.0 / h], dtype=torch.float64)
    shift = (origin + 0.5) * scale - 1.0
    columns = (ticks[:, None] * (across * scale)).float().to(device)
    rows = (ticks[:, None] * (down * scale) + shift).float().to(device)
    mode = "bicubic" if times == 1 else "bilinear"
    parts = []
    step = max(1, (1 << 22) // (size * times * times))  # rows of the crop at a time: bounds memory
    for start in range(0, size, step):
        some = rows[start * times : (start + step) * times]
        grid = (some[:, None] + columns[None]).to(region.dtype)
        part = F.grid_sample(region, grid[None], mode=mode, padding_mode="border", align_corners=False)
        parts.append(F.avg_pool2d(part, times) if times > 1 else part)
    return torch.cat(parts, 2)


def crop_coordinates(quad: Tensor, bounds: tuple[int, int, int, int], device: torch.device) -> Tensor:
    """Crop coordinates ``[h,w,2]`` (u, v; 0 and 1 are the square's edges) of the photo pixels x0..x1, y0..y1."""
    x0, x1, y0, y1 = bounds
    origin, across, down = _axes(quad)
    inverse = torch.linalg.inv(torch.stack([across, down], 1))
    xs = torch.arange(x0, x1, dtype=torch.float64)
    ys = torch.arange(y0, y1, dtype=torch.float64)
    columns = ((xs - origin[0])[:, None] * inverse[:, 0]).float().to(device)
    rows = ((ys - origin[1])[:, None] * inverse[:, 1]).float().to(device)
    return rows[:, None] + columns[None]


def edge_distance(coordinates: Tensor) -> Tensor:
    """Distance to the nearest edge of the square ``[h,w]``: 0 on the edge (and outside), 0.5 in the centre."""
    return torch.minimum(coordinates, 1.0 - coordinates).amin(-1).clamp_min(0.0)


def spread_square(crop: Tensor, coordinates: Tensor, side: float) -> Tensor:
    """Lay a crop ``[1,C,s,s]`` over photo pixels at crop coordinates ``[h,w,2]``: ``[1,C,h,w]``, bicubic.

    A crop with more pixels than the square's ``side`` is brought down to it first, antialiased.
    """
    goal = max(1, math.ceil(side - 1e-6))
    if crop.shape[-1] > goal:
        crop = resize(crop, goal)
    grid = (coordinates * 2.0 - 1.0)[None].to(crop.dtype)
    return F.grid_sample(crop, grid, mode="bicubic", padding_mode="border", align_corners=False)
