"""The generator stage where pictures are rendered and their codes therefore known (`pairs`, see pairs.py).

The generated pictures are made from the codes of the batch's own pictures and also have to resemble them. That is
ours, not StyleGAN2's. With pairs=0 this is the plain stage.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from reganie_core.errors import InputError

from ..frozen import load_attributes, load_ensemble, mean_difference
from ..loop.config import option
from ..loop.optimisation import dtype_of
from ..loop.randomness import Draws
from ..stages.generator import GeneratorStage, GeneratorStageConfig
from .pairs import PortraitCodes, pretrain_mapping

__all__ = ["PortraitGeneratorConfig", "PortraitGeneratorStage"]


@dataclass
class PortraitGeneratorConfig(GeneratorStageConfig):
    pairs: float = option(0.0, "weight of L1 between a portrait and the picture made from its code")
    pretrain_mapping: int = option(0, "steps that prepare the mapping network for pairs, before the first picture")
    adversarial: float = option(1.0, "weight of the adversarial loss beside pairs; 0: no discriminator")
    perceptual: float = option(0.0, "weight of the perceptual distance of pairs")
    attribute_weight: float = option(0.0, "weight of how differently attribute networks read pairs")
    attributes: str = option("", "attribute network of these two")
    more_attributes: tuple[str, ...] = option((), "further ones for attribute_weight: several are harder to deceive")

    def validate(self) -> None:
        super().validate()
        if self.pairs > 0 and self.images:
            raise InputError("pairs needs pictures with known codes, which only the rendered portraits have; train on "
                             "your own pictures with pairs=0.")
        compares = max(self.perceptual, self.attribute_weight) > 0
        if self.pairs <= 0 and (compares or self.adversarial != 1 or self.pretrain_mapping > 0):
            raise InputError("adversarial, perceptual, attribute_weight and pretrain_mapping are for training with "
                             "pairs; set pairs=1.")
        if compares and not self.attributes:
            raise InputError("perceptual > 0 and attribute_weight > 0 need attributes=FILE, the network that looks.")
        if self.more_attributes and self.attribute_weight <= 0:
            raise InputError("more_attributes are compared by attribute_weight, which is 0. Set it, or leave them out.")


class PortraitGeneratorStage(GeneratorStage):
    config_class = PortraitGeneratorConfig
    config: PortraitGeneratorConfig

    def __init__(self, config: PortraitGeneratorConfig) -> None:
        self.adversarial = config.adversarial
        if config.pairs > 0:
            self.mapping_lr, self.noise = 1.0, False     # a renderer's pictures have no random detail
        compares = max(config.perceptual, config.attribute_weight) > 0
        self.features = load_attributes(config.attributes, config.device, dtype_of(config)) if compares else None
        self.ensemble = load_ensemble(self.features, config) if config.attribute_weight > 0 else []
        self.codes = PortraitCodes(config.data_count, config.data_seed, config.w_dim) if config.pairs > 0 else None
        super().__init__(config)

    def prepare_mapping(self) -> None:
        config = self.config
        if config.pairs <= 0:
            return
        PortraitCodes.ignore_free_entries(self.G.mapping)
        if config.pretrain_mapping > 0:
            keep = 0.3 if config.init_from else 0.0
            left = pretrain_mapping(self.G.mapping, config.pretrain_mapping, config.seed, keep)
            print(f"the mapping network says all but {left:.0%} of a portrait")

    def draw_ws(self, draws: Draws, indices: Tensor, mirror: Tensor | None) -> Tensor:
        """With `pairs`, the latents of the batch's own portraits."""
        if self.codes is None:
            return super().draw_ws(draws, indices, mirror)
        z = self.codes.batch(indices, mirror, draws.randn(1, self.G.z_dim)[:, 0])
        return self.G.mapping(z.to(self.config.device))

    def loss_g(self, real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        config, found = self.config, {}
        loss = torch.zeros((), device=fake.device)
        if config.adversarial > 0:
            adversarial, found = super().loss_g(real, fake)
            loss = loss + config.adversarial * adversarial
        if config.pairs > 0:
            found["l1"] = (fake - real).abs().mean()
            loss = loss + config.pairs * found["l1"]
        if config.perceptual > 0:
            found["perceptual"] = self.features.distance(fake, real).mean()
            loss = loss + config.perceptual * found["perceptual"]
        if config.attribute_weight > 0:
            found["attribute"] = mean_difference(self.ensemble, fake, real)
            loss = loss + config.attribute_weight * found["attribute"]
        return loss, found
