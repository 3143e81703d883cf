"""The generator stage: StyleGAN2, adversarial and unsupervised (Karras et al. 2020b).

Non-saturating loss, lazy R1, style mixing, moving average. One set of generated pictures serves both phases: D learns
on the detached pictures, then G through the same graph, which saves a synthesis pass per step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import save_checkpoint
from reganie_core.networks.discriminator import Discriminator, DiscriminatorConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

from ..data.training import PicturesConfig, training_pictures
from ..loop import distributed
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import LAZY_INTERVAL, adam, descend, dtype_of, init_from, mean_terms, shares, timed
from ..loop.randomness import Draws, generator_at
from ..losses import discriminator_loss, generator_loss, r1_penalty
from ..sheets import grid

MIXING = 0.3                     # probability of style mixing
MAPPING_LAYERS = 4


@dataclass
class GeneratorStageConfig(PicturesConfig):
    lr: float = 0.0025
    resolution: int = option(64, "of the pictures, a power of two")
    channels: tuple[int, ...] = option((128, 128, 128, 64, 32), "widths of G and D at 4, 8, ... resolution")
    w_dim: int = option(128, "width of a style vector")
    r1_gamma: float = option(0.4, "weight of the R1 penalty")
    mirror: bool = option(True, "pictures may be mirrored")


class GeneratorStage:
    config_class = GeneratorStageConfig
    config: GeneratorStageConfig
    kind = "generator"
    group = 4                        # of the discriminator's minibatch standard deviation
    mapping_lr = 0.01                # learning rate of the mapping network, relative to the rest
    noise = True                     # noise inputs
    adversarial = 1.0                # weight of the adversarial loss; with 0 D is left alone

    def __init__(self, config: GeneratorStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.network_config = GeneratorConfig(config.resolution, config.channels, config.w_dim, config.w_dim,
                                              mapping_layers=MAPPING_LAYERS, mapping_lr_multiplier=self.mapping_lr)
        self.G = Generator(self.network_config).to(config.device)
        self.D = Discriminator(DiscriminatorConfig(config.resolution, config.channels)).to(config.device)
        init_from(self.G, config.init_from, "generator")
        self.prepare_mapping()
        for net in (self.G, self.D):
            net.to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype_of(config), len(config.channels))
        self.D.dtype = dtype_of(config)
        self.G_ema = make_average(self.G)
        self.modules: dict[str, nn.Module] = {"G": self.G, "D": self.D, "G_ema": self.G_ema}
        self.optimizers = {"G": adam(self.G, config), "D": adam(self.D, config, LAZY_INTERVAL)}
        self.data = training_pictures(config, config.resolution, self.group)

    def prepare_mapping(self) -> None:
        """What happens to the mapping network before its average is made."""

    def draw_ws(self, draws: Draws, indices: Tensor, mirror: Tensor | None) -> Tensor:
        """Latents of a batch; with probability MIXING the later layers come from a second z."""
        z = torch.randn(2, draws.batch, self.G.z_dim, generator=draws.random)[:, draws.rows]
        ws = self.G.mapping(z[0].to(self.config.device))
        layer = draws.randint(1, self.G.num_ws)
        layer = torch.where(draws.rand() < MIXING, layer, self.G.num_ws)
        second = torch.arange(self.G.num_ws)[None, :] >= layer[:, None]
        return torch.where(second[:, :, None].to(ws.device), self.G.mapping(z[1].to(self.config.device)), ws)

    def pair(self, seen: int, rows: Tensor, graph: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Training pictures, generated ones and the first codes of these rows of the batch."""
        config, draws = self.config, Draws(generator_at(self.config.seed, seen), self.config.batch, rows)
        with timed(self, "data"):
            indices = draws.numbers(self.data, seen)
            mirror = draws.rand() < 0.5 if config.mirror else None
            real = self.data.batch(indices, mirror).to(config.device)
        with timed(self, "fakes"), torch.set_grad_enabled(graph):
            ws = self.draw_ws(draws, indices, mirror)
            noise = [generator_at(config.seed, seen + row, "noise") for row in rows.tolist()] if self.noise else None
            fake = self.G.synthesis(ws, noise="random" if noise else "none", generator=noise)
        return real, fake, ws[:, 0].detach()

    def losses_d(self, seen: int, parts: list[Tensor], fakes: list[tuple[Tensor, Tensor]],
                 terms: list[dict[str, Tensor]], w: list[Tensor]) -> Iterator[Tensor]:
        """The discriminator's loss per micro-batch. A single one passes its fakes on, graph and all."""
        config = self.config
        for rows in parts:
            real, fake, codes = self.pair(seen, rows, graph=len(parts) == 1)
            w.append(codes)
            if len(parts) == 1:
                fakes.append((real, fake))
            loss = discriminator_loss(self.D(real), self.D(fake.detach()))
            terms.append({"D": loss.detach()})
            if (seen // config.batch) % LAZY_INTERVAL == 0:
                r1 = r1_penalty(self.D, real)
                loss = loss + r1 * (config.r1_gamma * 0.5 * LAZY_INTERVAL)
                terms[-1]["r1"] = r1.detach()
            yield loss

    def losses_g(self, seen: int, parts: list[Tensor], fakes: list[tuple[Tensor, Tensor]],
                 terms: list[dict[str, Tensor]], w: list[Tensor]) -> Iterator[Tensor]:
        """The generator's loss per micro-batch; those that were not passed on are made again."""
        for rows in parts:
            if fakes:
                real, fake = fakes.pop()
            else:
                real, fake, codes = self.pair(seen, rows)
                if self.adversarial == 0:
                    w.append(codes)
            loss, found = self.loss_g(real, fake)
            terms.append({k: v.detach() for k, v in found.items()})
            yield loss

    def loss_g(self, real: Tensor, fake: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The generator's loss and its terms."""
        adversarial = generator_loss(self.D(fake))
        return adversarial, {"G": adversarial}

    def step(self, seen: int) -> dict[str, Tensor]:
        config = self.config
        parts = shares(config, group=self.group)
        fakes: list[tuple[Tensor, Tensor]] = []
        w: list[Tensor] = []
        terms_d: list[dict[str, Tensor]] = []
        terms_g: list[dict[str, Tensor]] = []
        out: dict[str, Tensor] = {}
        if self.adversarial > 0:
            with timed(self, "D"):
                gradient = descend(self, "D", self.losses_d(seen, parts, fakes, terms_d, w))
            out = {**mean_terms(terms_d), "gradient_D": gradient}
        self.D.requires_grad_(False)
        with timed(self, "G"):
            out["gradient_G"] = descend(self, "G", self.losses_g(seen, parts, fakes, terms_g, w))
        self.D.requires_grad_(True)
        self.G.w_avg.lerp_(distributed.mean(torch.cat(w).mean(dim=0)), 0.002)
        update_average(self.G_ema, self.G, config.batch, config.ema_kimg, seen + config.batch)
        return {**out, **mean_terms(terms_g)}

    @torch.inference_mode()
    def samples(self, count: int, seed: int) -> Tensor:
        z = torch.randn(count, self.G.z_dim, generator=generator_at(seed, 0, "samples")).to(self.config.device)
        noise = "const" if self.noise else "none"
        return self.G_ema.synthesis(self.G_ema.mapping(z), noise=noise).clamp(-1, 1).cpu()

    def sheet(self, path: Path) -> None:
        grid(self.samples(32, 1), columns=8).save(path)

    def validate(self) -> dict[str, float]:
        return {}

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        config = {"type": "Generator", **asdict(self.network_config)}
        tensors = dict(self.G_ema.state_dict())
        if not self.noise:             # every noise mode then gives the picture that was trained
            tensors.update({k: torch.zeros_like(v) for k, v in tensors.items() if k.endswith("noise_strength")})
        save_checkpoint(path, "generator", config, tensors, provenance, dtype=torch.float16)
