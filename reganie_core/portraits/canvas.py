"""The picture under construction: colour, depth, normal and material of every sample, and item coverage."""

from __future__ import annotations

import torch
from torch import Tensor

from .geometry import MISS, Ellipsoid, Vector, Window, merge_bounds
from .look import Colour

#: Half the side of the square that the picture shows, in scene units (a head is about 0.8 wide).
HALF_VIEW = 0.80
#: Scene height of the picture's centre.
CENTRE_HEIGHT = -0.02


class Canvas:
    """Sample buffers of n pictures, `side` x `side` samples each (pixels times supersampling).

    `rgb`, `normal`: three tensors [n,side,side]; `depth`: scene z, MISS for the background; `solid`: 1 where a lit
    surface covers the background; `gloss`: strength of the highlight; `masks`: {item: coverage}.
    """

    def __init__(self, n: int, side: int, device: torch.device, items: tuple[str, ...] = ()) -> None:
        ticks = (torch.arange(side, dtype=torch.float32, device=device) + 0.5) * (2.0 / side) - 1.0
        self.n, self.side = n, side
        self.x = (ticks * HALF_VIEW).view(1, 1, side)
        self.y = (CENTRE_HEIGHT - ticks * HALF_VIEW).view(1, side, 1)

        def blank(value: float = 0.0) -> Tensor:
            return torch.full((n, side, side), value, device=device)

        self.rgb = [blank() for _ in range(3)]
        self.normal = [blank() for _ in range(3)]
        self.depth, self.solid, self.gloss = blank(MISS), blank(), blank()
        self.masks = {item: blank() for item in items}

    def window(self, bounds: tuple[float, float, float, float] | None = None) -> Window:
        """The samples inside x0, x1, y0, y1 (scene units), or all of them."""
        if bounds is None:
            return Window(slice(None), slice(None), self.x, self.y)
        x0, x1, y0, y1 = bounds

        def index(position: float) -> int:
            return min(max(int(position), 0), self.side)

        step = 2.0 * HALF_VIEW / self.side
        left, right = index((x0 + HALF_VIEW) / step - 0.5), index((x1 + HALF_VIEW) / step + 1.5)
        top, bottom = index((CENTRE_HEIGHT + HALF_VIEW - y1) / step - 0.5), index(
            (CENTRE_HEIGHT + HALF_VIEW - y0) / step + 1.5)
        rows, cols = slice(top, max(bottom, top)), slice(left, max(right, left))
        return Window(rows, cols, self.x[:, :, cols], self.y[:, rows])

    def around(self, *shapes: Ellipsoid) -> Window:
        """The window that holds the outlines of the given shapes."""
        return self.window(merge_bounds(list(shapes)))

    def put(self, window: Window, depth: Tensor, normal: Vector, colour: Colour, cover: Tensor, gloss: float = 0.12,
            item: str | None = None) -> Tensor:
        """Lay a surface over what is there: where it is nearer, by its coverage `cover` in [0,1].

        Returns the weight [n,h,w] with which it was laid. Earlier items underneath lose that share of their mask.
        """
        behind = window.of(self.depth)
        weight = cover * (depth > behind)
        for canvas, value in zip(self.rgb, colour, strict=True):
            window.of(canvas).lerp_(value.expand_as(weight), weight)
        for canvas, value in zip(self.normal, normal, strict=True):
            window.of(canvas).lerp_(value, weight)
        window.of(self.solid).lerp_(torch.ones_like(weight), weight)
        window.of(self.gloss).lerp_(torch.full_like(weight, gloss), weight)
        behind.copy_(torch.where(weight > 0.5, depth, behind))
        for name, mask in self.masks.items():
            window.of(mask).mul_(1.0 - weight)
            if name == item:
                window.of(mask).add_(weight)
        return weight

    def mark(self, item: str, window: Window, weight: Tensor) -> None:
        """Add painted coverage of an item to its mask."""
        if item in self.masks:
            mask = window.of(self.masks[item])
            mask.copy_(torch.maximum(mask, weight.expand_as(mask)))
