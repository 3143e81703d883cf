"""The ReStyle stage (Alaluf et al. 2021): an encoder that corrects its own inversion, for a frozen generator.

Every iteration starts from the detached codes and picture of the one before and has its own loss; the gradients of all
iterations make one step. On e4e's side, as there: a penalty on the offsets between layers, and on generated pictures
the distance to the known codes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reganie_core.inversion import RestyleInverter
from reganie_core.networks.restyle import LightRestyle, LightRestyleConfig

from ..loop.config import option
from ..loop.optimisation import dtype_of
from ..loop.randomness import generator_at
from ..stages.encoder import COARSE, MIDDLE, light_channels
from .inverters import InverterStage, InverterStageConfig

CODE_WEIGHT = 0.05         # of the squared distance to the known codes, in units of their variance
DELTA_WEIGHT = 0.01        # of the mean squared offset between layers, in the same units


@dataclass
class RestyleStageConfig(InverterStageConfig):
    iterations: int = option(5, "how often it corrects itself")


class RestyleStage(InverterStage):
    config_class = RestyleStageConfig
    kind = "restyle"
    config: RestyleStageConfig

    def __init__(self, config: RestyleStageConfig) -> None:
        super().__init__(config)
        self.net.compute_dtype = self.average.compute_dtype = dtype_of(config)
        with torch.no_grad():
            z = torch.randn(4096, self.G.z_dim, generator=generator_at(0, 0, "variance"))
            self.code_variance = float(self.G.mapping.w(z.to(config.device)).var(dim=0).mean())
            self.mean_picture = self.G.synthesis(self.net.latent_avg[None]).float()

    def make_network(self) -> nn.Module:
        G = self.G
        net = LightRestyle(LightRestyleConfig(G.resolution, G.num_ws, G.w_dim, light_channels(G.resolution),
                                              coarse=COARSE, middle=MIDDLE, iterations=self.config.iterations))
        net.latent_avg.copy_(self.G.w_avg[None].cpu())
        return net

    def inverter(self) -> RestyleInverter:
        return RestyleInverter(self.average)

    def losses(self, images: Tensor, ws: Tensor, random: torch.Generator,
               terms: dict[str, list[Tensor]]) -> Iterator[Tensor]:
        config = self.config
        codes = self.net.latent_avg.expand(len(images), -1, -1)
        picture = self.mean_picture.expand(len(images), -1, -1, -1)
        for _ in range(config.iterations):
            codes = codes.detach() + self.net(images, picture.detach())
            picture = self.G.synthesis(codes).float()
            loss = self.likeness(picture, images, terms)
            delta = (codes[:, 1:] - codes[:, :1]).square().mean() / self.code_variance
            terms["delta"].append(delta.detach())
            loss = loss + DELTA_WEIGHT * delta
            if len(ws):
                code = (codes[:len(ws)] - ws).square().mean() / self.code_variance
                terms["code"].append(code.detach())
                loss = loss + CODE_WEIGHT * code
            yield loss
        terms["l2_last"].append(terms["l2"][-1])
