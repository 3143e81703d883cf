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

from ..loop.optimisation import dtype_of
from ..loop.randomness import generator_at
from .inverters import InverterStage, InverterStageConfig


@dataclass
class RestyleStageConfig(InverterStageConfig):
    channels: tuple[int, ...] = (32, 64, 96, 160, 224)
    tap_channels: int = 64
    features: int = 256
    coarse: int = 3                   # first layer whose code comes from the 8 px tap
    middle: int = 6                   # first layer whose code comes from the 16 px tap
    iterations: int = 5
    code_weight: float = 0.05         # squared distance to the known codes, in units of their variance
    delta_weight: float = 0.01        # mean squared offset between layers, in the same units


class RestyleStage(InverterStage):
    config_class = RestyleStageConfig
    kind = "restyle"
    builds_on_encoder = False
    config: RestyleStageConfig

    def __init__(self, config: RestyleStageConfig) -> None:
        super().__init__(config)
        self.net.compute_dtype = self.average.compute_dtype = dtype_of(config)
        with torch.no_grad():
            z = torch.randn(4096, self.G.z_dim, generator=generator_at(0, 0, "variance"))
            self.code_variance = float(self.G.mapping.w(z.to(config.device)).var(dim=0).mean())
            self.mean_picture = self.G.synthesis(self.net.latent_avg[None]).float()

    def make_network(self) -> nn.Module:
        c = self.config
        net = LightRestyle(LightRestyleConfig(self.G.resolution, self.G.num_ws, self.G.w_dim, c.channels,
                                              c.tap_channels, c.features, c.coarse, c.middle, c.iterations))
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
            loss = loss + config.delta_weight * delta
            if len(ws):
                code = (codes[:len(ws)] - ws).square().mean() / self.code_variance
                terms["code"].append(code.detach())
                loss = loss + config.code_weight * code
            yield loss
        terms["l2_last"].append(terms["l2"][-1])
