"""Random shapes pasted into pictures: for the encoder stage and an extra of the rectifier stage.

Generated pictures are inverted almost perfectly, so the difference images of Algorithm 1 stay small and smooth. Real
ones hold hats, hands and patterns that the generator cannot make. Shapes with flat, striped, checked, dotted or shaded
fillings, some of them translucent or with gaps, give the rectifier such differences to learn from, without showing it a
single long-tail item.

A hat turns with the head. So a shape that was pasted into X is carried to Y by the optical flow between the two clean
pictures: on the head it follows the head, on the background it stays. A hand hides new glasses, face paint does not: so
some shapes lie above what the edit adds and others below it. No label and no knowledge of the domain is used.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from reganie_core.alignment.flow import estimate_flow, warp

from ..loop.randomness import Draws

#: Shares of shapes that are seen through, and of those whose filling is there only in its first colour.
TRANSLUCENT, WITH_GAPS = 0.3, 0.25
#: Share of the shapes below what the edit adds that are seen through it, as through lenses; it hides the others, as
#: frames do.
SEEN_THROUGH = 0.5
#: Share of the picture. Glasses and opened mouths are less; more is a head that turned farther than the flow follows.
MOST_ADDED = 0.05


def random_shapes(images: Tensor, random: torch.Generator | Draws, maximum: int = 3) -> tuple[Tensor, Tensor]:
    """(fill [B,3,H,W] in [-1,1], coverage [B,1,H,W] in [0,1]) of 1 to `maximum` soft-edged shapes per picture."""
    b, _, h, w = images.shape
    device, draws = images.device, Draws.of(random, b)
    y = torch.linspace(-1, 1, h, device=device).view(1, h, 1)
    x = torch.linspace(-1, 1, w, device=device).view(1, 1, w)
    fill, cover = torch.zeros(b, 3, h, w, device=device), torch.zeros(b, 1, h, w, device=device)
    for index in range(maximum):
        u = draws.rand(20).to(device)[:, :, None, None]
        present = (u[:, 0] < (1.0 if index == 0 else 0.5)).float()
        angle = u[:, 1] * 3.1416
        cos, sin = angle.cos(), angle.sin()
        dx, dy = x - (u[:, 2] * 2.2 - 1.1), y - (u[:, 3] * 2.2 - 1.1)
        p, q = cos * dx + sin * dy, cos * dy - sin * dx
        # Squared radii favour small shapes but leave a few that cover half of the picture.
        rx, ry = 0.06 + 0.6 * u[:, 4].square(), 0.06 + 0.6 * u[:, 5].square()
        power = torch.where(u[:, 6] < 0.6, 2.0, 8.0)     # ellipse or rounded box
        radius = ((p / rx).abs() ** power + (q / ry).abs() ** power) ** (1 / power)
        edge = 2.5 / h / torch.minimum(rx, ry)
        alpha = ((1 - radius) / edge + 0.5).clamp(0, 1) * present
        # Paint lets skin shine through and leaves gaps: below such shapes the edit has to go on.
        alpha = alpha * torch.where(u[:, 16] < TRANSLUCENT, 0.3 + 0.6 * u[:, 17], 1.0)
        first, second = u[:, 7:10, 0] * 2 - 1, u[:, 10:13, 0] * 2 - 1
        mix = _texture(p, q, u)
        colour = first[:, :, :, None] + (second - first)[:, :, :, None] * mix[:, None]
        alpha = alpha * torch.where(u[:, 18] < WITH_GAPS, 1 - mix, 1.0)
        shade = 1 + 0.5 * (u[:, 13] - 0.5) * p / rx
        colour = ((colour + 1) * shade[:, None] - 1).clamp(-1, 1)
        fill = torch.lerp(fill, colour, alpha[:, None])
        cover = torch.maximum(cover, alpha[:, None])
    return fill, cover


def paste_shapes(pictures: Tensor, count: int, share: float, random: torch.Generator | Draws,
                 below: float = 0.0) -> Tensor:
    """Shapes into a share of `count` pictures X, and the same ones into their edits Y where `pictures` is [X; Y].

    pictures [count or 2 count,3,H,W] in [-1,1]. The shapes follow the flow from X to Y, and in a share `below` of the
    pictures they do not cover what has no counterpart in X.
    """
    draws = Draws.of(random, count)
    fill, cover = random_shapes(pictures[:count], draws)
    chosen = (draws.rand(1, 1, 1) < share).to(cover.device)
    layer = torch.cat([fill, cover * chosen], dim=1)
    if len(pictures) > count:
        layer = torch.cat([layer, _carried(layer, *pictures.split(count), draws, below)])
    return torch.lerp(pictures, layer[:, :3], layer[:, 3:])


def _carried(layer: Tensor, x: Tensor, y: Tensor, draws: Draws, below: float) -> Tensor:
    """The shapes of X [B,4,H,W] where they belong in Y, their coverage last."""
    flow = estimate_flow(x, y)
    carried = warp(layer, flow)
    if below > 0:
        moved = warp(x, flow)
        new = added(moved, y)
        u = draws.rand(1, 1, 1).to(layer.device)
        small = new.mean(dim=(1, 2, 3), keepdim=True) < MOST_ADDED
        seen = (u < below * SEEN_THROUGH) & small
        carried[:, :3] = (carried[:, :3] + (y - moved) * new * seen).clamp(-1, 1)
        carried[:, 3:] *= 1 - new * ((u < below) & small & ~seen)
    return carried


def added(moved: Tensor, y: Tensor) -> Tensor:
    """[B,1,H,W] in [0,1]: where Y shows what X, carried to it, does not. Small differences are errors of the flow."""
    difference = F.avg_pool2d((y - moved).abs().amax(dim=1, keepdim=True), 3, stride=1, padding=1)
    return ((difference - 0.15) / 0.15).clamp(0, 1)


def _texture(p: Tensor, q: Tensor, u: Tensor) -> Tensor:
    """Mixing weight [B,H,W] of the two colours: flat, ramp, stripes, checks or dots."""
    frequency = 2 + 6 * u[:, 14]
    fp, fq = torch.remainder(p * frequency, 1) - 0.5, torch.remainder(q * frequency, 1) - 0.5
    kinds = [torch.zeros_like(p), (p * 0.7 + 0.5).clamp(0, 1), (fp.abs() < 0.25).float(),
             ((fp > 0) ^ (fq > 0)).float(), (fp * fp + fq * fq < 0.09).float()]
    choice = (u[:, 15] * 6.999).long() - 2      # flat three times as often
    return sum((choice.clamp_min(0) == i).float() * kind for i, kind in enumerate(kinds))
