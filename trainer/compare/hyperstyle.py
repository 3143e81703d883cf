"""The HyperStyle stage (Alaluf et al. 2022): a hypernetwork that changes a frozen generator's weights per picture.

Codes come from a frozen encoder and stay. As published, every iteration adds to the detached changes of the one before
and has its own loss. Here the start is the domain's own encoder (W+), not an encoder into W as in the paper.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reganie_core.inversion import HyperStyleInverter
from reganie_core.inversion.hyperstyle import paint_each
from reganie_core.networks.hyperstyle import HyperStyle, HyperStyleConfig

from ..loop.config import option
from .inverters import InverterStage, OnEncoderConfig

#: Narrower than the published network, which is for 1024 px.
SIZES = {"hidden": 128, "shared_width": 64, "own_width": 128, "trunk": (32, 64, 128, 256), "trunk_blocks": (2, 2, 2, 2)}


@dataclass
class HyperStyleStageConfig(OnEncoderConfig):
    iterations: int = option(5, "how often it corrects itself")


class HyperStyleStage(InverterStage):
    config_class = HyperStyleStageConfig
    kind = "hyperstyle"
    config: HyperStyleStageConfig

    def make_network(self) -> nn.Module:
        channels = self.G.config.channels
        layers = tuple(i for i in range(3 * len(channels) - 1) if i % 3 != 1)             # all but RGB
        net = HyperStyle(HyperStyleConfig(channels, layers, self.G.resolution, channels[0],
                                          iterations=self.config.iterations, **SIZES))
        net.check(self.G)
        net.start_at_identity()
        return net

    def inverter(self) -> HyperStyleInverter:
        return HyperStyleInverter(self.average, self.E)

    def losses(self, images: Tensor, ws: Tensor, random: torch.Generator,
               terms: dict[str, list[Tensor]]) -> Iterator[Tensor]:
        with torch.no_grad():
            codes = self.E(images)
            picture = self.G.synthesis(codes).float()
        deltas: dict[int, Tensor] = {}
        for _ in range(self.config.iterations):
            with self.autocast():
                more = self.net(images, picture.detach())
            deltas = {i: deltas[i].detach() + d.float() if i in deltas else d.float() for i, d in more.items()}
            picture = paint_each(self.G, codes, self.net.changes(self.G, deltas)).float()
            yield self.likeness(picture, images, terms)
        terms["l2_last"].append(terms["l2"][-1])
        terms["change"].append(torch.stack([d.detach().abs().mean() for d in deltas.values()]).mean())
