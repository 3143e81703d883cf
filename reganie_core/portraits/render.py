"""From parameters to pictures."""

from __future__ import annotations

import torch
from einops import reduce
from torch import Tensor

from ..errors import InputError
from .canvas import Canvas
from .face import draw_face
from .hair import draw_back_hair, draw_body, draw_ears, draw_front_hair
from .items import draw_background, draw_earrings, draw_glasses, draw_hand, draw_hat
from .light import shade, shade_toon
from .look import Look
from .parameters import ITEMS, Portraits

__all__ = ["render"]

#: Samples per pixel and axis.
SUPERSAMPLING = 2
#: Samples rendered at a time, so that temporaries stay in a CPU's second-level cache (8 portraits at 64 px).
CHUNK_SAMPLES = 8 * 128 * 128
#: The same on an accelerator, where launches cost more than traffic.
CHUNK_SAMPLES_DEVICE = 256 * 128 * 128


def render(portraits: Portraits, size: int, masks: bool = False) -> Tensor | tuple[Tensor, dict[str, Tensor]]:
    """Draw n portraits: [n,3,size,size], float32 RGB in [-1,1], on the parameters' device.

    With `masks`, also {item: [n,1,size,size]}, the share in [0,1] of every pixel that each long-tail item covers
    (all items are listed; zeros where a portrait does not wear one). Deterministic; each portrait depends on its
    own parameters only. `size` is any positive number of pixels. Raises InputError for other sizes.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"The size of a portrait is a positive number of pixels, got {size!r}.")
    device = portraits.device
    n = len(portraits)
    images = torch.empty(n, 3, size, size, device=device)
    covers = {item: torch.zeros(n, 1, size, size, device=device) for item in ITEMS} if masks else {}
    side = size * SUPERSAMPLING
    chunk = max(1, (CHUNK_SAMPLES if device.type == "cpu" else CHUNK_SAMPLES_DEVICE) // (side * side))
    with torch.inference_mode():
        for start in range(0, n, chunk):
            part = slice(start, min(start + chunk, n))
            samples, masks_part = _draw(portraits[part], side, ITEMS if masks else ())
            images[part] = _pool(samples).mul_(2.0).sub_(1.0)
            for item, mask in masks_part.items():
                covers[item][part] = _pool(mask[:, None])
    return (images, covers) if masks else images


def _pool(samples: Tensor) -> Tensor:
    return reduce(samples, "n c (h down) (w across) -> n c h w", "mean", down=SUPERSAMPLING, across=SUPERSAMPLING)


def _draw(portraits: Portraits, side: int, items: tuple[str, ...]) -> tuple[Tensor, dict[str, Tensor]]:
    """Sample pictures [n,3,side,side] in [0,1] and item masks [n,side,side] of one chunk, back to front."""
    canvas = Canvas(len(portraits), side, portraits.device, items)
    look = Look.of(portraits)
    draw_background(canvas, look)
    draw_body(canvas, look)
    draw_back_hair(canvas, look)
    draw_ears(canvas, look)
    draw_face(canvas, look)
    draw_front_hair(canvas, look)
    draw_earrings(canvas, look)
    draw_glasses(canvas, look)
    draw_hat(canvas, look)
    draw_hand(canvas, look)
    image = (shade_toon if portraits.style == "toon" else shade)(canvas, look)
    return image, canvas.masks
