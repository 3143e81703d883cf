"""The encoder stage: e4e-type inversion (Tov et al. 2021) for a frozen generator.

Half of each batch are training pictures, half are generated ones whose codes are known. Losses: L2, perceptual,
identity, the distance to the known codes, a latent discriminator that keeps codes of pictures among mapped ones, and
a penalty on the per-layer offsets, which are released one after another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core.checkpoints import load_generator, save_checkpoint
from reganie_core.networks import describe
from reganie_core.networks.light_encoder import LightEncoder, LightEncoderConfig

from ..config import StageConfig
from ..data import portraits_set
from ..ema import make_average, update_average
from ..frozen import load_attributes, load_identity
from ..losses import discriminator_loss, generator_loss, r1_penalty
from ..randomness import generator_at
from ..sheets import grid
from .base import adam, descend, dtype_of, init_from
from .latent_discriminator import LatentDiscriminator


@dataclass
class EncoderStageConfig(StageConfig):
    lr: float = 0.002
    beta1: float = 0.9
    lr_decay_from: float = 0.7
    generator: str = "runs/generator/generator.safetensors"
    attributes: str = "runs/attributes/attributes.safetensors"    # features of the perceptual loss
    identity: str = ""                # network of the identity loss; none when empty
    channels: tuple[int, ...] = (32, 64, 96, 160, 224)
    tap_channels: int = 64
    features: int = 256
    coarse: int = 3                   # first layer whose code comes from the 8 px tap
    middle: int = 6                   # first layer whose code comes from the 16 px tap
    generated: float = 0.5            # share of the batch with generated pictures
    l2_weight: float = 1.0
    perceptual_weight: float = 0.5
    identity_weight: float = 0.1
    latent_weight: float = 0.0        # of the latent discriminator; e4e: 0.1
    latent_r1_gamma: float = 10.0
    latent_r1_interval: int = 16
    code_weight: float = 0.05         # squared distance to the known codes, in units of their variance
    delta_weight: float = 0.01        # mean squared offset, in the same units
    stage_start_kimg: float = 10.0    # offsets are released from here ...
    stage_every_kimg: float = 2.0     # ... one layer at a time
    data: str = "runs/data"
    data_count: int = 20000
    data_seed: int = 0


class EncoderStage:
    config_class = EncoderStageConfig
    kind = "encoder"

    def __init__(self, config: EncoderStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.G = load_generator(config.generator, config.device).to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype_of(config), len(self.G.config.channels))
        self.features = load_attributes(config.attributes, config.device, dtype_of(config))
        self.E = LightEncoder(LightEncoderConfig(
            self.G.resolution, self.G.num_ws, self.G.w_dim, config.channels, config.tap_channels, config.features,
            config.coarse, config.middle))
        self.E.latent_avg.copy_(self.G.w_avg[None].cpu())
        init_from(self.E, config.init_from, "encoder")
        self.E.to(config.device, memory_format=torch.channels_last)
        self.E.compute_dtype = dtype_of(config)
        self.identity = load_identity(config.identity, config.device, dtype_of(config)) if config.identity else None
        self.average = make_average(self.E)
        self.modules = {"E": self.E, "average": self.average}
        self.optimizers = {"E": adam(self.E, config)}
        self.data = portraits_set(config.data, config.data_count, self.G.resolution, config.data_seed,
                                  config.device)
        with torch.no_grad():
            z = torch.randn(4096, self.G.z_dim, generator=generator_at(0, 0, "variance"))
            w = self.G.mapping.w(z.to(config.device))
            self.code_variance = float(w.var(dim=0).mean())
        self.D: LatentDiscriminator | None = None
        if config.latent_weight > 0:
            self.D = LatentDiscriminator(self.G.w_dim).to(config.device)
            self.D.centre.copy_(w.mean(dim=0))
            self.D.spread.copy_(w.std(dim=0) + 1e-6)
            self.modules["D"], self.optimizers["D"] = self.D, adam(self.D, config, config.latent_r1_interval)

    def stage_at(self, seen: int) -> int:
        """How many offsets are free after `seen` images (progressive training of e4e, section 4.2)."""
        released = (seen / 1000 - self.config.stage_start_kimg) / self.config.stage_every_kimg
        return max(0, min(int(released), self.E.num_ws - 1))

    def batch(self, seen: int) -> tuple[Tensor, Tensor]:
        """Pictures [B,3,R,R], the generated ones first, and the codes of the generated ones."""
        config, random = self.config, generator_at(self.config.seed, seen)
        count = round(config.batch * config.generated)
        with torch.no_grad():
            ws = self.G.mapping(torch.randn(count, self.G.z_dim, generator=random).to(config.device))
            made = self.G.synthesis(ws).clamp(-1, 1)
        indices = torch.randint(len(self.data), (config.batch - count,), generator=random)
        mirror = torch.rand(len(indices), generator=random) < 0.5
        return torch.cat([made, self.data.batch(indices, mirror).to(config.device)]), ws

    def step(self, seen: int) -> dict[str, float | Tensor]:
        config = self.config
        images, ws = self.batch(seen)
        stage = self.stage_at(seen)
        self.E.stage = self.average.stage = stage
        codes = self.E(images)
        inverted = self.G.synthesis(codes)
        l2 = (inverted - images).square().mean()
        perceptual = self.features.distance(inverted, images).mean()
        code = (codes[:len(ws)] - ws).square().mean() / self.code_variance
        loss = config.l2_weight * l2 + config.perceptual_weight * perceptual + config.code_weight * code
        terms = {"l2": l2, "perceptual": perceptual, "code": code}
        if self.identity is not None:
            similarity = (self.identity(inverted) * self.identity(images)).sum(dim=1).mean()
            loss, terms["identity"] = loss + config.identity_weight * (1 - similarity), similarity
        if stage > 0:
            delta = (codes[:, 1:stage + 1] - codes[:, :1]).square().mean() / self.code_variance
            loss, terms["delta"] = loss + config.delta_weight * delta, delta
        if self.D is not None:
            rows = codes[:, :stage + 1]
            terms.update(self.train_latent_discriminator(rows.detach().flatten(0, 1), seen))
            self.D.requires_grad_(False)
            adversarial = generator_loss(self.D(rows.flatten(0, 1)))
            loss, terms["latent"] = loss + config.latent_weight * adversarial, adversarial
        terms["gradient"] = descend(self, "E", loss)
        if self.D is not None:
            self.D.requires_grad_(True)
        update_average(self.average, self.E, config.batch, config.ema_kimg, seen + config.batch)
        return {**{k: v.detach() for k, v in terms.items()}, "stage": float(stage)}

    def train_latent_discriminator(self, fake: Tensor, seen: int) -> dict[str, Tensor]:
        """Mapped vectors against vectors of pictures [N,w_dim], as many of each."""
        config = self.config
        random = generator_at(config.seed, seen, "latent discriminator")
        with torch.no_grad():
            real = self.G.mapping.w(torch.randn(len(fake), self.G.z_dim, generator=random).to(fake.device))
        loss = discriminator_loss(self.D(real), self.D(fake))
        terms = {"latent_D": loss}
        if (seen // config.batch) % config.latent_r1_interval == 0:
            r1 = r1_penalty(self.D, real)
            loss = loss + r1 * (config.latent_r1_gamma * 0.5 * config.latent_r1_interval * self.code_variance)
        descend(self, "D", loss)
        return terms

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """L2 of the inversion on generated pictures and on the first training pictures (not held out)."""
        config = self.config
        z = torch.randn(256, self.G.z_dim, generator=generator_at(1, 0, "validate")).to(config.device)
        made = self.G.synthesis(self.G.mapping(z)).clamp(-1, 1)
        real = self.data.batch(torch.arange(min(256, len(self.data)))).to(config.device)
        return {name: float((self.G.synthesis(self.average(x)).clamp(-1, 1) - x).square().mean())
                for name, x in (("l2_generated", made), ("l2_renders", real))}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        images = self.data.batch(torch.arange(16)).to(self.config.device)
        inverted = self.G.synthesis(self.average(images)).clamp(-1, 1)
        grid(torch.stack([images, inverted], 1).flatten(0, 1).cpu(), columns=8).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        provenance = {**provenance, "fingerprints": {"generator": self.G.fingerprint}}
        save_checkpoint(path, "encoder", describe(self.average), dict(self.average.state_dict()), provenance,
                        dtype=torch.float16)
