"""The generator stage: StyleGAN2, adversarial and unsupervised (Karras et al. 2020b).

Non-saturating loss, lazy R1, style mixing, moving average, path length regularisation on request. One set of fakes
serves both phases: D learns on the detached pictures, then G through the same graph, which saves a synthesis pass per
step.

With `projected` the discriminator is that of "Projected GANs", on features of an attribute network, which learns in a
few hundred pictures what the other one needs thousands for.

Where pictures are rendered and their codes therefore known (`pairs`, see trainer/pairs.py), the fakes are made from the
codes of the batch's own pictures and also have to resemble them. That is ours, not StyleGAN2's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reganie_core.checkpoints import save_checkpoint
from reganie_core.errors import InputError
from reganie_core.images import area_downsample
from reganie_core.networks.discriminator import Discriminator, DiscriminatorConfig
from reganie_core.networks.discriminators import Discriminators
from reganie_core.networks.projected_discriminator import ProjectedDiscriminator, ProjectedDiscriminatorConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

from ..data.training import training_pictures
from ..frozen import load_attributes, load_readers, mean_difference
from ..loop import distributed
from ..loop.config import StageConfig
from ..loop.ema import make_average, update_average
from ..loop.optimisation import adam, descend, dtype_of, init_from, mean_terms, shares, timed
from ..loop.randomness import Draws, generator_at
from ..losses import discriminator_loss, generator_loss, r1_penalty
from ..pairs import PortraitCodes, teach
from ..sheets import grid
from .growing import FROZEN, freeze, grow
from .path_length import PathLength
from .widening import widen


@dataclass
class GeneratorStageConfig(StageConfig):
    lr: float = 0.0025
    resolution: int = 64
    channels: tuple[int, ...] = (128, 128, 128, 64, 32)   # at 4, 8, ... resolution
    w_dim: int = 128
    mapping_layers: int = 4
    mapping_lr: float = 0.01         # learning rate of the mapping network, relative to the rest
    r1_gamma: float = 0.4
    r1_interval: int = 16
    path_length_weight: float = 0.0  # of path length regularisation; StyleGAN2: 2
    path_length_interval: int = 4    # steps from one such penalty to the next
    mixing: float = 0.3              # probability of style mixing
    mirror: bool = True              # the domain is symmetric
    grow_from: str = ""              # run folder or file of a generator of half the resolution, to start from
    widen_from: str = ""             # file of a generator of fewer channels, to start from
    frozen: str = ""                 # what stays as it is: mapping, or smaller (all but the block of the largest size)
    grow_warmup_kimg: float = 1.0    # with any of these D, which is new, learns alone for so long
    projected: tuple[int, ...] = ()  # widths of a discriminator on features of the attribute network, finest first
    d_channels: tuple[int, ...] = () # of StyleGAN2's discriminator; empty: G's, or none beside a projected one
    adversarial: float = 1.0         # weight of the adversarial loss; with 0 (pairs only) D is left alone
    pairs: float = 0.0               # portraits only: weight of L1 between a picture and the one made from its code
    pairs_size: int = 0              # pairs are compared at this size; what is finer is D's affair. 0: in full
    teach: int = 0                   # steps that prepare the mapping network for pairs, before the first picture
    perceptual: float = 0.0          # weight of the perceptual distance of such pairs
    attribute_weight: float = 0.0    # of how differently an attribute network reads such pairs
    attributes: str = ""             # the attribute network of these two, and of a projected discriminator
    more_attributes: tuple[str, ...] = ()   # further ones for attribute_weight: several are harder to deceive
    noise: bool = True               # noise inputs; off for a domain without random detail, as in StyleGAN3
    images: str = ""                 # your pictures: a folder, .zip, .tar or pattern of shards; empty: portraits
    data: str = "runs/data"
    data_count: int = 20000
    data_seed: int = 0

    def validate(self) -> None:
        super().validate()
        if self.pairs > 0 and self.images:
            raise InputError("pairs needs pictures with known codes, which only the rendered portraits have; train on "
                             "your own pictures with pairs=0.")
        compares = max(self.perceptual, self.attribute_weight) > 0
        if self.pairs <= 0 and (compares or self.adversarial <= 0):
            raise InputError("adversarial=0, perceptual > 0 and attribute_weight > 0 are for training with pairs; set "
                             "pairs=1.")
        if compares and not self.attributes:
            raise InputError("perceptual > 0 and attribute_weight > 0 need attributes=FILE, the network that looks.")
        if self.pairs_size < 0 or self.pairs_size and self.resolution % self.pairs_size:
            raise InputError(f"pairs_size divides the resolution, or is 0; found {self.pairs_size} for "
                             f"{self.resolution} px.")
        if self.more_attributes and self.attribute_weight <= 0:
            raise InputError("more_attributes are compared by attribute_weight, which is 0. Set it, or leave them out.")
        if min(self.r1_interval, self.path_length_interval) < 1:
            raise InputError("r1_interval and path_length_interval are steps, at least 1; found "
                             f"{self.r1_interval} and {self.path_length_interval}.")
        if self.projected and not self.attributes:
            raise InputError("projected needs attributes=FILE, the network whose features the discriminator sees.")
        if self.frozen not in FROZEN:
            raise InputError(f"frozen is mapping, smaller or empty; found {self.frozen!r}.")
        starts = [name for name in ("init_from", "grow_from", "widen_from") if getattr(self, name)]
        if len(starts) > 1:
            raise InputError(f"A generator starts from one file; found {' and '.join(starts)}. Leave the others empty.")
        if self.frozen and (self.teach > 0 or not starts):
            raise InputError("frozen keeps what init_from, grow_from or widen_from bring: name a generator in one of "
                             "them, and leave teach=0.")


class GeneratorStage:
    config_class = GeneratorStageConfig
    kind = "generator"
    group = 4                        # of the discriminator's minibatch standard deviation

    def __init__(self, config: GeneratorStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.network_config = GeneratorConfig(config.resolution, config.channels, config.w_dim, config.w_dim,
                                              mapping_layers=config.mapping_layers,
                                              mapping_lr_multiplier=config.mapping_lr)
        self.G = Generator(self.network_config).to(config.device)
        looks = bool(config.projected) or max(config.perceptual, config.attribute_weight) > 0
        self.features = load_attributes(config.attributes, config.device, dtype_of(config)) if looks else None
        self.D = self.discriminator().to(config.device)
        self.pixels, self.projected = self.part_of_d(Discriminator), self.part_of_d(ProjectedDiscriminator)
        init_from(self.G, config.init_from, "generator")
        if config.grow_from:
            grow(self.G, self.pixels, config.grow_from)
        if config.widen_from:
            widen(self.G, config.widen_from)
        if config.pairs > 0 and not config.frozen:
            PortraitCodes.look_only_at_scores(self.G.mapping)
            if config.teach > 0:
                learned = bool(config.init_from or config.widen_from)
                left = teach(self.G.mapping, config.teach, config.seed, keep=0.3 if learned else 0.0)
                print(f"the mapping network says all but {left:.0%} of a portrait")
        if config.frozen:
            freeze(self.G, config.frozen)
        for net in (self.G, self.D):
            net.to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype_of(config), len(config.channels))
        for part in (self.pixels, self.projected):
            if part is not None:
                part.dtype = dtype_of(config)
        self.G_ema = make_average(self.G)
        self.modules: dict[str, nn.Module] = {"G": self.G, "D": self.D, "G_ema": self.G_ema}
        regular = config.path_length_interval if config.path_length_weight > 0 else 0
        if regular:
            self.modules["path_length"] = PathLength().to(config.device)
        lazy = config.r1_interval if self.pixels is not None else 0
        self.optimizers = {"G": adam(self.G, config, regular), "D": adam(self.D, config, lazy)}
        self.data = training_pictures(config, config.resolution, self.group)
        self.readers = load_readers(self.features, config) if config.attribute_weight > 0 else []
        self.codes = PortraitCodes(config.data_count, config.data_seed, config.w_dim) if config.pairs > 0 else None

    def discriminator(self) -> nn.Module:
        """StyleGAN2's, the projected one, or both."""
        config = self.config
        parts: dict[str, nn.Module] = {}
        if config.projected:
            widths = ProjectedDiscriminatorConfig(config.resolution, config.projected)
            parts["projected"] = ProjectedDiscriminator(widths, self.features.net)
        if config.d_channels or not config.projected:
            channels = config.d_channels or config.channels
            parts["pixels"] = Discriminator(DiscriminatorConfig(config.resolution, channels))
        return Discriminators(**parts) if len(parts) > 1 else next(iter(parts.values()))

    def part_of_d(self, kind: type[nn.Module]) -> nn.Module | None:
        """The discriminator of this kind, if there is one."""
        return next((part for part in self.D.modules() if isinstance(part, kind)), None)

    def draw_ws(self, random: torch.Generator | Draws) -> Tensor:
        """Latents of a batch; with probability `mixing` the later layers come from a second z."""
        draws, config = Draws.of(random, self.config.batch), self.config
        z = torch.randn(2, draws.batch, self.G.z_dim, generator=draws.random)[:, draws.rows]
        ws = self.G.mapping(z[0].to(config.device))
        if config.mixing > 0:
            layer = draws.randint(1, self.G.num_ws)
            layer = torch.where(draws.rand() < config.mixing, layer, self.G.num_ws)
            second = torch.arange(self.G.num_ws)[None, :] >= layer[:, None]
            ws = torch.where(second[:, :, None].to(ws.device), self.G.mapping(z[1].to(config.device)), ws)
        return ws

    def pair(self, seen: int, rows: Tensor, graph: bool = True) -> tuple[Tensor, Tensor, Tensor]:
        """Training pictures, generated ones and the first codes of these rows of the batch.

        With `pairs`, row i of the generated ones is made from the code of training picture i.
        """
        config, draws = self.config, Draws(generator_at(self.config.seed, seen), self.config.batch, rows)
        with timed(self, "data"):
            indices = draws.numbers(self.data, seen)
            mirror = draws.rand() < 0.5 if config.mirror else None
            real = self.data.batch(indices, mirror).to(config.device)
        with timed(self, "fakes"), torch.set_grad_enabled(graph):
            if self.codes is not None:
                z = self.codes.batch(indices, mirror, draws.randn(1, self.G.z_dim)[:, 0])
                ws = self.G.mapping(z.to(config.device))
            else:
                ws = self.draw_ws(draws)
            noise = [generator_at(config.seed, seen + row, "noise") for row in rows.tolist()] if config.noise else None
            fake = self.G.synthesis(ws, noise="random" if noise else "none", generator=noise)
        return real, fake, ws[:, 0].detach()

    def losses_d(self, seen: int, parts: list[Tensor], kept: list[tuple[Tensor, Tensor]],
                 terms: list[dict[str, Tensor]], w: list[Tensor]) -> Iterator[Tensor]:
        """The discriminator's loss per micro-batch. A single one keeps its fakes, graph and all, for the generator."""
        config = self.config
        for rows in parts:
            real, fake, codes = self.pair(seen, rows, graph=len(parts) == 1)
            w.append(codes)
            if len(parts) == 1:
                kept.append((real, fake))
            loss = discriminator_loss(self.D(real), self.D(fake.detach()))
            terms.append({"D": loss.detach()})
            if self.pixels is not None and (seen // config.batch) % config.r1_interval == 0:
                r1 = r1_penalty(self.pixels, real)      # the projected one has spectral norms of 1 instead
                loss = loss + r1 * (config.r1_gamma * 0.5 * config.r1_interval)
                terms[-1]["r1"] = r1.detach()
            yield loss

    def losses_g(self, seen: int, parts: list[Tensor], kept: list[tuple[Tensor, Tensor]],
                 terms: list[dict[str, Tensor]], w: list[Tensor]) -> Iterator[Tensor]:
        """The generator's loss per micro-batch; fakes that were not kept are made again."""
        config = self.config
        for rows in parts:
            if kept:
                real, fake = kept.pop()
            else:
                real, fake, codes = self.pair(seen, rows)
                if config.adversarial <= 0:
                    w.append(codes)
            found: dict[str, Tensor] = {}
            loss = torch.zeros((), device=fake.device)
            if config.adversarial > 0:
                found["G"] = generator_loss(self.D(fake))
                loss = loss + config.adversarial * found["G"]
            if config.pairs > 0:
                wrong = fake - real
                found["l1"] = (area_downsample(wrong, config.pairs_size) if config.pairs_size else wrong).abs().mean()
                loss = loss + config.pairs * found["l1"]
            if config.perceptual > 0:
                found["perceptual"] = self.features.distance(fake, real).mean()
                loss = loss + config.perceptual * found["perceptual"]
            if config.attribute_weight > 0:
                found["attribute"] = mean_difference(self.readers, fake, real)
                loss = loss + config.attribute_weight * found["attribute"]
            terms.append({k: v.detach() for k, v in found.items()})
            yield loss

    def losses_path(self, seen: int, parts: list[Tensor], lengths: list[Tensor]) -> Iterator[Tensor]:
        """Path length penalty per micro-batch, of half of its rows: those of the first half of the whole batch, which
        `shares` deals out evenly where groups are whole. Of all rows where they are not."""
        config, regular = self.config, self.modules["path_length"]
        limit = config.batch // 2 if config.batch % self.group == 0 else config.batch
        for rows in parts:
            half = rows[rows < limit]
            draws = Draws(generator_at(config.seed, seen, "path_length"), config.batch, half)
            ws = self.draw_ws(draws)
            if not ws.requires_grad:                 # of a mapping network that stays as it is
                ws.requires_grad_(True)
            images = self.G.synthesis(ws, noise="none")
            found = regular.lengths(images, ws, draws.randn(*images.shape[1:]).to(images))
            lengths.append(found.detach())
            yield regular.penalty(found) * (config.path_length_weight * config.path_length_interval)

    def step(self, seen: int) -> dict[str, Tensor]:
        config = self.config
        parts = shares(config, group=self.group)
        if self.projected is not None:
            self.projected.measure_norms()
        kept: list[tuple[Tensor, Tensor]] = []
        w: list[Tensor] = []
        terms_d: list[dict[str, Tensor]] = []
        terms_g: list[dict[str, Tensor]] = []
        out: dict[str, Tensor] = {}
        if config.adversarial > 0:
            with timed(self, "D"):
                gradient = descend(self, "D", self.losses_d(seen, parts, kept, terms_d, w))
            out = {**mean_terms(terms_d), "gradient_D": gradient}
        grown = config.adversarial > 0 and (config.grow_from or config.widen_from or config.frozen)
        learns = not (grown and seen < config.grow_warmup_kimg * 1000)
        if learns:
            self.D.requires_grad_(False)
            with timed(self, "G"):
                out["gradient_G"] = descend(self, "G", self.losses_g(seen, parts, kept, terms_g, w))
            self.D.requires_grad_(True)
            out.update(mean_terms(terms_g))
            if "path_length" in self.modules and (seen // config.batch) % config.path_length_interval == 0:
                lengths: list[Tensor] = []
                with timed(self, "path length"):
                    descend(self, "G", self.losses_path(seen, parts, lengths))
                out["path_length"] = distributed.mean(torch.cat(lengths).mean())
                self.modules["path_length"].update(out["path_length"])
        if not config.frozen:
            self.G.w_avg.lerp_(distributed.mean(torch.cat(w).mean(dim=0)), 0.002)
        if learns:
            update_average(self.G_ema, self.G, config.batch, config.ema_kimg, seen + config.batch)
        return out

    @torch.inference_mode()
    def samples(self, count: int, seed: int) -> Tensor:
        z = torch.randn(count, self.G.z_dim, generator=generator_at(seed, 0, "samples")).to(self.config.device)
        noise = "const" if self.config.noise else "none"
        return self.G_ema.synthesis(self.G_ema.mapping(z), noise=noise).clamp(-1, 1).cpu()

    def sheet(self, path: Path) -> None:
        grid(self.samples(32, 1), columns=8).save(path)

    def validate(self) -> dict[str, float]:
        return {}

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        config = {"type": "Generator", **asdict(self.network_config)}
        tensors = dict(self.G_ema.state_dict())
        if not self.config.noise:      # every noise mode then gives the picture that was trained
            tensors.update({k: torch.zeros_like(v) for k, v in tensors.items() if k.endswith("noise_strength")})
        save_checkpoint(path, "generator", config, tensors, provenance, dtype=torch.float16)
