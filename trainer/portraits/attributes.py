"""The attributes stage: a network that reads attributes from pictures, trained on labelled renders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reganie_core import portraits
from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError
from reganie_core.networks.attribute_net import AttributeNet, AttributeNetConfig

from ..data.crops import shifted
from ..data.image_set import ImageSet
from ..data.training import HeldOutConfig
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from
from ..loop.randomness import generator_at
from ..sheets import grid
from .renderer import HELD_OUT_SEED, long_tail_set, rendered_pictures

SHIFT = 2            # largest random translation in pixels, so that position is not a cue


@dataclass
class AttributesStageConfig(HeldOutConfig):
    lr: float = 0.002
    beta1: float = 0.9
    lr_decay_from: float = 0.5
    batch: int = 32
    resolution: int = option(64, "of the pictures, a power of two")
    channels: tuple[int, ...] = option((32, 64, 96, 128), "widths from full size down")
    hidden: int = option(192, "width of the hidden layer")
    noise: float = option(0.0, "largest standard deviation of noise; pictures of a generator are not clean")
    items: float = option(0.0, "share of pictures with long-tail items; for evaluation networks only")
    attribute_weights: dict[str, float] = option({}, "how much an attribute's error counts; 1 where not named")

    def validate(self) -> None:
        super().validate()
        self.check_shares("items")
        known = {c.name for c in portraits.CONTROLS}
        if self.attribute_weights.keys() - known:
            raise InputError(f"attribute_weights: found {', '.join(sorted(self.attribute_weights.keys() - known))}; "
                             f"the attributes are {', '.join(sorted(known))}.")
        if min(self.attribute_weights.values(), default=1.0) <= 0:
            raise InputError(f"attribute_weights must be above 0; found {self.attribute_weights}.")


def noisy(images: Tensor, most: float, random: torch.Generator) -> Tensor:
    """Normal noise on [B,C,H,W], of a standard deviation of its own from 0 to `most` for each picture."""
    if most == 0.0:
        return images
    deviation = torch.rand(len(images), 1, 1, 1, generator=random) * most
    return images + (torch.randn(images.shape, generator=random) * deviation).to(images.device)


class AttributesStage:
    config_class = AttributesStageConfig
    kind = "attributes"

    def __init__(self, config: AttributesStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.data = rendered_pictures(config.data, config.data_count, config.resolution, config.data_seed,
                                  config.device)
        self.long_tail: ImageSet | None = None
        if config.items > 0:
            # Other people than in the plain set: twins with a hat would teach less.
            self.long_tail = long_tail_set(config.data, max(config.data_count // 2, 1), config.resolution,
                                           config.data_seed + config.data_count, config.device)
        controls = {c.name: c for c in portraits.CONTROLS}
        numeric = tuple(n for n, c in controls.items() if c.kind == "numeric")
        binary = tuple(n for n, c in controls.items() if c.kind == "binary")
        mean = tuple(round(float(self.data.labels[n].mean()), 5) for n in numeric)
        std = tuple(round(float(self.data.labels[n].std()), 5) for n in numeric)
        self.network_config = AttributeNetConfig(config.resolution, config.channels, numeric, binary, mean, std,
                                                 config.hidden)
        self.net = AttributeNet(self.network_config).to(config.device, memory_format=torch.channels_last)
        init_from(self.net, config.init_from, "attributes")
        weights = torch.tensor([config.attribute_weights.get(n, 1.0) for n in (*numeric, *binary)])
        self.weights = weights.to(config.device)
        self.net.dtype = dtype_of(config)
        self.average = make_average(self.net)
        self.modules = {"net": self.net, "average": self.average}
        self.optimizers = {"net": adam(self.net, config)}

    def targets(self, labels: dict[str, Tensor]) -> Tensor:
        c = self.network_config
        columns = [(labels[n] - m) / s for n, m, s in zip(c.numeric, c.mean, c.std, strict=True)]
        return torch.stack([*columns, *(labels[n] for n in c.binary)], dim=1).to(self.config.device)

    def labelled(self, data: ImageSet, count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """`count` random pictures of a set and what is to be read from them."""
        indices = torch.randint(len(data), (count,), generator=random)
        mirror = torch.rand(count, generator=random) < 0.5
        return data.batch(indices, mirror), self.targets(data.label_batch(indices, mirror))

    def step(self, seen: int) -> dict[str, Tensor]:
        config, n = self.config, len(self.network_config.numeric)
        random = generator_at(config.seed, seen)
        count = round(config.batch * config.items)
        parts = [self.labelled(self.data, config.batch - count, random)]
        if self.long_tail is not None:
            parts.append(self.labelled(self.long_tail, count, random))
        images, target = (torch.cat(both) for both in zip(*parts, strict=True))
        images = shifted(images, SHIFT, random).to(config.device)
        images = noisy(images, config.noise, random)
        logits = self.net.logits(images)
        numeric = F.smooth_l1_loss(logits[:, :n], target[:, :n], beta=0.5, reduction="none")
        numeric = (numeric * self.weights[:n]).mean()
        binary = F.binary_cross_entropy_with_logits(logits[:, n:], target[:, n:], weight=self.weights[n:])
        norm = descend(self, "net", numeric + 0.2 * binary)
        update_average(self.average, self.net, config.batch, config.ema_kimg, seen + config.batch)
        return {"numeric": numeric.detach(), "binary": binary.detach(), "gradient": norm}

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Correlation with the truth on held-out renders, per attribute."""
        config = self.config
        p = portraits.sample(config.held_out_count, HELD_OUT_SEED)
        truth = portraits.attributes(p)
        images = portraits.render(p.to(config.device), config.resolution)
        read = [self.average(chunk) for chunk in images.split(100)]
        pairs = {name: torch.stack([torch.cat([r[name].cpu() for r in read]), truth[name].float()]) for name in read[0]}
        return {name: float(torch.corrcoef(pair)[0, 1]) for name, pair in pairs.items()}

    def sheet(self, path: Path) -> None:
        grid(self.data.batch(torch.arange(32)).cpu(), columns=8).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        config = {"type": "AttributeNet", **asdict(self.network_config)}
        save_checkpoint(path, "attributes", config, dict(self.average.state_dict()), provenance, dtype=torch.float16)
