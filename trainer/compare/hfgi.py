"""The HFGI stage (Wang et al. 2022): detail that an encoder misses, aligned and injected into a frozen generator.

The missing detail is bent by a random perspective, as the paper does for want of true pairs; the alignment network
sees the bent detail beside the inversion and is asked for the detail as it was, the consultation encoder makes the
generator's features of that, and the picture must be the original.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from kornia.geometry import get_perspective_transform, transform_points
from torch import Tensor, nn

from reganie_core.inversion import HfgiInverter
from reganie_core.networks.hfgi import HFGI, HFGIConfig

from .inverters import InverterStage, InverterStageConfig


@dataclass
class HfgiStageConfig(InverterStageConfig):
    channels: tuple[int, ...] = (32, 48, 64)             # of the consultation encoder
    align_channels: tuple[int, ...] = (16, 32, 48, 64)
    feature_resolution: int = 32      # the layer whose output is changed: the first convolution at this size
    bend: float = 0.15                # corners move inwards by up to this share of half the side ...
    bend_rate: float = 0.8            # ... in this share of the pictures
    align_weight: float = 0.1         # mean absolute error of the aligned detail


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
    config_class = HfgiStageConfig
    kind = "hfgi"
    config: HfgiStageConfig

    def make_network(self) -> nn.Module:
        c = self.config
        layer = f"b{c.feature_resolution}.conv0"
        width = self.G.config.channels[c.feature_resolution.bit_length() - 3]
        net = HFGI(HFGIConfig(self.G.resolution, layer, width, c.feature_resolution, c.channels, c.align_channels))
        net.check(self.G)
        net.start_at_identity()
        return net

    def inverter(self) -> HfgiInverter:
        return HfgiInverter(self.average, self.E)

    def losses(self, images: Tensor, ws: Tensor, random: torch.Generator,
               terms: dict[str, list[Tensor]]) -> Iterator[Tensor]:
        config = self.config
        with torch.no_grad():
            codes = self.E(images)
            plain = self.G.synthesis(codes).float()
            detail = self.net.residual(images, plain)
            moved = bent(detail, config.bend, config.bend_rate, random)
        with self.autocast():
            aligned = self.net.align(moved, plain)
            maps = self.net.residue(aligned)
        picture = self.G.synthesis(codes, features={self.net.config.layer: maps.float()}).float()
        align = (aligned.float() - detail).abs().mean()
        terms["align"].append(align.detach())
        yield self.likeness(picture, images, terms) + config.align_weight * align
