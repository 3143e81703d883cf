"""What the stages of the compared inversion methods share: frozen generator and encoder, pictures, losses, sheets.

ReStyle, HFGI and HyperStyle are trained on the same pictures and with the same losses as the encoder stage: squared
difference and perceptual distance on the attribute network's features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import load_encoder, load_generator, save_checkpoint
from reganie_core.inversion import MethodInverter, check_pair
from reganie_core.networks import describe

from ..data.sources import first
from ..data.training import PicturesConfig, training_pictures
from ..frozen import load_attributes
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from
from ..loop.randomness import generator_at, numbers
from ..sheets import compared, grid

PERCEPTUAL_WEIGHT = 0.5


@dataclass
class InverterStageConfig(PicturesConfig):
    lr: float = 0.001
    beta1: float = 0.9
    lr_decay_from: float = 0.6
    generator: str = option("runs/generator/generator.safetensors", "the frozen generator")
    attributes: str = option("runs/attributes/attributes.safetensors", "attribute network of the perceptual distance")


@dataclass
class OnEncoderConfig(InverterStageConfig):
    encoder: str = option("runs/encoder/encoder.safetensors", "the frozen encoder that the method builds on")


class InverterStage:
    """A base class: a subclass makes the network, yields its losses and makes the inverter that uses it."""

    config_class = InverterStageConfig
    kind = ""

    def __init__(self, config: InverterStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.G = load_generator(config.generator, config.device).to(memory_format=torch.channels_last)
        self.E: nn.Module | None = None
        if isinstance(config, OnEncoderConfig):
            self.E = load_encoder(config.encoder, config.device).to(memory_format=torch.channels_last)
            check_pair(self.G, self.E)
        self.G.synthesis.set_precision(dtype_of(config), len(self.G.config.channels))
        self.features = load_attributes(config.attributes, config.device, dtype_of(config))
        self.net = self.make_network()
        init_from(self.net, config.init_from, self.kind)
        self.net.to(config.device, memory_format=torch.channels_last).train()
        self.average = make_average(self.net)
        self.modules: dict[str, nn.Module] = {"net": self.net, "average": self.average}
        self.optimizers: dict[str, torch.optim.Optimizer] = {"net": adam(self.net, config)}
        self.data = training_pictures(config, self.G.resolution)

    def make_network(self) -> nn.Module:
        """The network to train, on the CPU."""
        raise NotImplementedError

    def inverter(self) -> MethodInverter:
        """The method with the averaged network."""
        raise NotImplementedError

    def losses(self, images: Tensor, ws: Tensor, random: torch.Generator,
               terms: dict[str, list[Tensor]]) -> Iterator[Tensor]:
        """Losses whose gradients add up, each computed when asked for; `ws` belong to the first pictures."""
        raise NotImplementedError

    def autocast(self) -> AbstractContextManager[Any]:
        """For networks that leave their precision to it."""
        dtype = dtype_of(self.config)
        return torch.autocast(torch.device(self.config.device).type, dtype, enabled=dtype != torch.float32)

    def batch(self, seen: int) -> tuple[Tensor, Tensor]:
        """Pictures [B,3,R,R], the first half generated, and the codes of the generated ones."""
        config, random = self.config, generator_at(self.config.seed, seen)
        count = config.batch // 2
        with torch.no_grad():
            ws = self.G.mapping(torch.randn(count, self.G.z_dim, generator=random).to(config.device))
            made = self.G.synthesis(ws).float().clamp(-1, 1)
        indices = numbers(self.data, seen // 2, config.batch - count, random)
        mirror = torch.rand(len(indices), generator=random) < 0.5
        return torch.cat([made, self.data.batch(indices, mirror).to(config.device)]), ws

    def likeness(self, pictures: Tensor, images: Tensor, terms: dict[str, list[Tensor]]) -> Tensor:
        """The loss of painted pictures; its terms are noted."""
        l2 = (pictures - images).square().mean()
        perceptual = self.features.distance(pictures, images).mean()
        terms["l2"].append(l2.detach())
        terms["perceptual"].append(perceptual.detach())
        return l2 + PERCEPTUAL_WEIGHT * perceptual

    def step(self, seen: int) -> dict[str, float | Tensor]:
        config = self.config
        images, ws = self.batch(seen)
        terms: dict[str, list[Tensor]] = defaultdict(list)

        random = generator_at(config.seed, seen, "losses 0")
        gradient = descend(self, "net", self.losses(images, ws, random, terms))
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        return {**{name: torch.stack(values).mean() for name, values in terms.items()}, "gradient": gradient}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """L2 of the whole method on generated pictures and on the first training pictures (not held out)."""
        z = torch.randn(64, self.G.z_dim, generator=generator_at(1, 0, "validate")).to(self.config.device)
        made = self.G.synthesis(self.G.mapping(z)).float().clamp(-1, 1)
        real = self.data.batch(first(self.data, 64)).to(self.config.device)
        invert = self.inverter()
        return {name: float((invert(self.G, x).inversion - x).square().mean())
                for name, x in (("l2_generated", made), ("l2_renders", real))}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        images = self.data.batch(first(self.data, 16)).to(self.config.device)
        inverted = self.inverter()(self.G, images).inversion
        grid(compared([images, inverted]), columns=8).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        prints = {"generator": self.G.fingerprint}
        if self.E is not None:
            prints["encoder"] = self.E.fingerprint
        save_checkpoint(path, self.kind, describe(self.average), dict(self.average.state_dict()),
                        {**provenance, "fingerprints": prints}, dtype=torch.float16)
