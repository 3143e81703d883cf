"""Where did everything go between a generated picture and its edit? Dense flow, coarse to fine (Lucas, Kanade 1981).

The rectifier uses it to carry a difference from X^ to Y^, the trainer to let pasted shapes move with the head. Not
every change is a motion: glasses that are put on come from nowhere, and what is seen through them has to stay where it
was. So a flow counts only where the way back agrees or where it explains the change.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from torch import Tensor

COARSEST = 16          # pixels; a head turned by 15 degrees moves about one pixel there
WINDOW = 1.5           # standard deviation of the window in pixels of each level
FINEST = 128           # pixels; larger pictures are looked at in this size
CONTRAST = 3.0         # standard deviation, in pixels, of what local contrast is measured in
STIFFNESS = 5e-2       # added to the structure tensor: where nothing is to be seen nothing moves
LARGEST_STEP = 1.5     # pixels per iteration
AGREEMENT = 0.5        # pixels that there and back may be apart
FILL = 2.0             # standard deviation, in pixels, of the surroundings that are followed where they are apart
AROUND = 4.0           # standard deviation, in pixels, of the window in which there and back have to agree
EVIDENCE = 6.0         # standard deviation, in pixels, of the window in which a flow has to explain the change
EXPLAINED = (0.3, 0.7)  # shares of the change: explaining less is no flow; explaining more, one to believe


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """Separable blur of [B,C,H,W], edges repeated; ``sigma`` in pixels, cut off at three of it (kornia's filter)."""
    width = 2 * int(3 * sigma + 0.5) + 1
    return gaussian_blur2d(x, (width, width), (sigma, sigma), border_type="replicate")


def resize_flow(flow: Tensor, size: int) -> Tensor:
    """flow [B,2,R,R] in pixels, at another size and in its pixels."""
    scale = size / flow.shape[-1]
    if scale == 1:
        return flow
    return scale * F.interpolate(flow, size=size, mode="bilinear", align_corners=False, antialias=scale < 1)


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """images [B,C,H,W] read at p + flow(p), bilinear, edges repeated.

    flow [B,2,h,w] holds (x, y) in its own pixels and is brought to the pictures' size.
    """
    b, _, h, w = images.shape
    flow = resize_flow(flow, w)
    y, x = torch.meshgrid(torch.arange(h, device=flow.device), torch.arange(w, device=flow.device), indexing="ij")
    position = torch.stack([(x + flow[:, 0] + 0.5) * (2 / w) - 1, (y + flow[:, 1] + 0.5) * (2 / h) - 1], dim=-1)
    return F.grid_sample(images, position, mode="bilinear", padding_mode="border", align_corners=False)


def estimate_flow(source: Tensor, target: Tensor, iterations: int = 3) -> Tensor:
    """Flow [B,2,R,R] in pixels with warp(source, flow) close to target; pictures [B,3,R,R] in [-1,1].

    Least squares in Gaussian windows from 16 px up to 128 px, smoothed with weights that trust textured places, so that
    flat ones follow their surroundings. Pictures are compared in their local contrast: hair that turned grey has not
    moved. Where the flow back does not agree (forward-backward check, Sundaram et al. 2010) the surroundings are
    followed; and what neither agrees around a pixel nor explains the change there has not moved. From a picture to
    itself the flow is zero, exactly.
    """
    differs = (source != target).flatten(1).any(dim=1)
    if not differs.all():       # a reconstruction beside its edit, and both come here: the one costs nothing
        flow = source.new_zeros(source.shape[0], 2, *source.shape[-2:])
        if differs.any():
            flow[differs] = estimate_flow(source[differs], target[differs], iterations)
        return flow
    finest = min(FINEST, source.shape[-1])
    a, b = (local_contrast(F.adaptive_avg_pool2d(x, finest)) for x in (source, target))
    there, back = _coarse_to_fine(torch.cat([a, b]), torch.cat([b, a]), iterations).chunk(2)
    apart = (there + warp(back, there)).square().sum(dim=1, keepdim=True)
    agreement = torch.exp(-apart / AGREEMENT ** 2)
    trust = agreement + 1e-3
    flow = gaussian(there * trust, FILL) / gaussian(trust, FILL)
    belief = torch.maximum(gaussian(agreement, AROUND).square(), _explained(flow, a, b))
    return resize_flow(flow * belief, source.shape[-1])


def _coarse_to_fine(source: Tensor, target: Tensor, iterations: int) -> Tensor:
    finest = source.shape[-1]
    size = min(COARSEST, finest)
    flow = source.new_zeros(source.shape[0], 2, size, size)
    while True:
        small_source, small_target = (F.adaptive_avg_pool2d(x, size) for x in (source, target))
        for _ in range(iterations):
            flow = _refine(flow, small_source, small_target)
        if size * 2 > finest:
            return resize_flow(flow, finest)
        size *= 2
        flow = resize_flow(flow, size)


def _explained(flow: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """[B,1,R,R] from 0 to 1: how far to believe a flow, by the share that it explains of the change around a pixel."""
    still, moved = (gaussian((target - x).square().sum(dim=1, keepdim=True), EVIDENCE) + 0.02
                    for x in (source, warp(source, flow)))
    least, enough = EXPLAINED
    return ((1 - moved / still - least) / (enough - least)).clamp(0, 1)


def local_contrast(x: Tensor) -> Tensor:
    """[B,C,H,W] less its local mean, over its local deviation in all channels together; little where little is seen."""
    x = x - gaussian(x, CONTRAST)
    power = gaussian(x.square().sum(dim=1, keepdim=True), CONTRAST)
    return x * (power + 0.02).rsqrt()


def _refine(flow: Tensor, source: Tensor, target: Tensor) -> Tensor:
    moved = warp(source, flow)
    padded = F.pad(moved, (1, 1, 1, 1), mode="replicate")
    dx = (padded[:, :, 1:-1, 2:] - padded[:, :, 1:-1, :-2]) / 2
    dy = (padded[:, :, 2:, 1:-1] - padded[:, :, :-2, 1:-1]) / 2
    error = target - moved
    products = torch.stack([dx * dx, dx * dy, dy * dy, dx * error, dy * error], dim=1).sum(dim=2)
    xx, xy, yy, xe, ye = gaussian(products, WINDOW).unbind(1)
    trust = (xx + yy)[:, None]
    xx, yy = xx + STIFFNESS, yy + STIFFNESS
    determinant = xx * yy - xy * xy
    step = torch.stack([(yy * xe - xy * ye) / determinant, (xx * ye - xy * xe) / determinant], dim=1)
    flow = flow + step.clamp(-LARGEST_STEP, LARGEST_STEP)
    weight = trust + 1e-3
    return gaussian(flow * weight, WINDOW) / gaussian(weight, WINDOW)
