"""The HFGI stage (Wang et al. 2022): detail that an encoder misses, aligned and injected into a frozen generator.

The missing detail is bent by a random perspective, as the paper does for want of true pairs; the alignment network
sees the bent detail beside the inversion and is asked for the detail as it was, the consultation encoder makes the
generator's features of that, and the picture must be the original.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from kornia.geometry import get_perspective_transform, transform_points
from torch import Tensor, nn

from reganie_core.inversion import HfgiInverter
from reganie_core.networks.hfgi import HFGI, HFGIConfig

from .inverters import InverterStage, OnEncoderConfig

FEATURE_RESOLUTION = 32    # the layer whose output is changed: the first convolution at this size
BEND = 0.15                # corners move inwards by up to this share of half the side ...
BEND_RATE = 0.8            # ... in this share of the pictures
ALIGN_WEIGHT = 0.1         # of the mean absolute error of the aligned detail


def bent(pictures: Tensor, scale: float, rate: float, random: torch.Generator) -> Tensor:
    """Pictures [B,C,H,W] under random perspectives; zero outside. Corners of the picture go to random points inside.

    scale: corners move by up to scale * half the side on each axis; rate: share of pictures that move at all.
    """
    count = pictures.shape[0]
    corners = torch.tensor([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]], dtype=torch.float64)
    inward = torch.rand(count, 4, 2, generator=random, dtype=torch.float64) * scale
    moving = (torch.rand(count, 1, 1, generator=random) < rate).double()
    ends = corners * (1 - inward * moving)                                  # where the corners are seen afterwards
    matrix = get_perspective_transform(ends, corners.expand(count, 4, 2))   # from there to where they were
    grid = F.affine_grid(torch.eye(2, 3)[None], [1, 1, *pictures.shape[-2:]], align_corners=False)[0].double()
    points = transform_points(matrix, grid.flatten(0, 1).expand(count, -1, -1))
    where = points.view(count, *grid.shape).to(pictures.device, pictures.dtype)
    return F.grid_sample(pictures, where, mode="bilinear", padding_mode="zeros", align_corners=False)


class HfgiStage(InverterStage):
    config_class = OnEncoderConfig
    kind = "hfgi"

    def make_network(self) -> nn.Module:
        size = min(FEATURE_RESOLUTION, self.G.resolution)
        width = self.G.config.channels[size.bit_length() - 3]
        net = HFGI(HFGIConfig(self.G.resolution, f"b{size}.conv0", width, size))
        net.check(self.G)
        net.start_at_identity()
        return net

    def inverter(self) -> HfgiInverter:
        return HfgiInverter(self.average, self.E)

    def losses(self, images: Tensor, ws: Tensor, random: torch.Generator,
               terms: dict[str, list[Tensor]]) -> Iterator[Tensor]:
        with torch.no_grad():
            codes = self.E(images)
            plain = self.G.synthesis(codes).float()
            detail = self.net.residual(images, plain)
            misplaced = bent(detail, BEND, BEND_RATE, random)
        with self.autocast():
            aligned = self.net.align(misplaced, plain)
            maps = self.net.residue(aligned)
        picture = self.G.synthesis(codes, features={self.net.config.layer: maps.float()}).float()
        align = (aligned.float() - detail).abs().mean()
        terms["align"].append(align.detach())
        yield self.likeness(picture, images, terms) + ALIGN_WEIGHT * align
