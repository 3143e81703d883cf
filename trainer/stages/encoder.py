"""The encoder stage: e4e-type inversion (Tov et al. 2021) for a frozen generator.

Half of each batch are training pictures, half are generated ones whose codes are known. Losses: L2, perceptual,
identity, the distance to the known codes, a latent discriminator that keeps codes of pictures among mapped ones, and
a penalty on the per-layer offsets, which are released one after another.

With `paste`, what the encoder gets is partly covered by random shapes, as by hands and hats, and what its codes are
compared with is not: it learns to look past them, which leaves the rectifier a sound face to paint them on.

Known codes are compared in units of w's variance. With l2_weight=0 perceptual_weight=0 attribute_weight=0 nothing but
codes is compared, and no picture has to be made of them, which is several times as fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reganie_core.checkpoints import load_generator, save_checkpoint
from reganie_core.errors import InputError
from reganie_core.metrics.files import load_arcface
from reganie_core.networks import describe
from reganie_core.networks.encoders import Encoder4Editing, StyleEncoderConfig
from reganie_core.networks.light_encoder import LightEncoder, LightEncoderConfig

from ..classes import map_random
from ..data.crops import displace
from ..data.pasted_shapes import paste_shapes
from ..data.sources import first
from ..data.training import PicturesConfig, training_pictures
from ..frozen import Features, load_ensemble, mean_difference
from ..loop.config import option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import LAZY_INTERVAL, adam, descend, dtype_of, init_from, mean_terms, shares, timed
from ..loop.randomness import Draws, generator_at
from ..losses import discriminator_loss, generator_loss, r1_penalty
from ..sheets import compared, grid
from ..substitutes import identity_network, perceptual
from .latent_discriminator import LatentDiscriminator

#: Widths of the light encoder from 64 px down to 4 px. Smaller inputs leave out the first, larger ones repeat it.
LIGHT_CHANNELS = (32, 64, 96, 160, 224)
#: First layers whose codes come from the 8 px and the 16 px tap of the light encoder.
COARSE, MIDDLE = 3, 6
IDENTITY_WEIGHT = 0.1
LATENT_R1_GAMMA = 10.0


@dataclass
class EncoderStageConfig(PicturesConfig):
    lr: float = 0.002
    beta1: float = 0.9
    lr_decay_from: float = 0.7
    generator: str = option("runs/generator/generator.safetensors", "the frozen generator: ours, .pkl or .pt")
    attributes: str = option("runs/attributes/attributes.safetensors", "attribute network of the perceptual distance")
    lpips: str = option("", "LPIPS weights (a folder or file) in its place")
    identity: str = option("", "network of the identity loss, ours or ArcFace (.pth), which e4e starts from")
    encoder_type: str = option("light", "light, or e4e: the published network (IR-SE-50 at 256 px)")
    input_resolution: int = option(0, "what a light encoder looks at; 0: the generator's size, at most 256")
    l2_weight: float = option(1.0, "of the squared difference")
    perceptual_weight: float = option(0.5, "of the perceptual distance")
    attribute_weight: float = option(0.0, "of what attribute networks read before and after, standardised")
    more_attributes: tuple[str, ...] = option((), "further ones for attribute_weight: several are harder to deceive")
    latent_weight: float = option(0.0, "of the latent discriminator; e4e: 0.1")
    code_weight: float = option(0.05, "of the squared distance to known codes, in units of their variance")
    delta_weight: float = option(0.01, "of the mean squared offset between layers, in the same units")
    stage_start_kimg: float = option(10.0, "offsets are released from here ...")
    stage_every_kimg: float = option(2.0, "... one layer at a time")
    crop_error: float = option(0.0, "how far crops of training pictures are off, see data/crops.py; found faces: 0.02")
    paste: float = option(0.0, "share of pictures that are partly covered by shapes to look past")

    def validate(self) -> None:
        super().validate()
        if self.encoder_type not in ("light", "e4e"):
            raise InputError(f"encoder_type is light or e4e; found {self.encoder_type!r}.")
        self.check_shares("paste", "crop_error")
        if self.batch % 2:
            raise InputError(f"batch must be even: one half is generated pictures; found {self.batch}.")
        if self.more_attributes and self.attribute_weight <= 0:
            raise InputError("more_attributes are compared by attribute_weight, which is 0. Set it, or leave them out.")


def light_channels(resolution: int) -> tuple[int, ...]:
    """One width of a light encoder per size from `resolution` down to 4 px."""
    levels = resolution.bit_length() - 2
    return (LIGHT_CHANNELS[:1] * levels + LIGHT_CHANNELS)[-levels:] if levels > 5 else LIGHT_CHANNELS[-levels:]


class EncoderStage:
    config_class = EncoderStageConfig
    config: EncoderStageConfig
    kind = "encoder"
    group = 2                        # a share needs a generated picture for every other one
    pairs = 0.0                      # weight of the distance to known codes of training pictures

    def __init__(self, config: EncoderStageConfig) -> None:
        self.config = config
        torch.manual_seed(config.seed)
        self.G = load_generator(config.generator, config.device).to(memory_format=torch.channels_last)
        self.G.synthesis.set_precision(dtype_of(config), len(self.G.config.channels))
        self.features = perceptual(config, config.device, dtype_of(config), limit=256)
        if config.attribute_weight > 0 and not isinstance(self.features, Features):
            raise InputError("attribute_weight compares what an attribute network reads, and there is none: give "
                             "attributes=FILE and leave lpips empty, or set attribute_weight=0.")
        self.E = self.make_encoder()
        self.E.latent_avg.copy_(self.G.w_avg[None].cpu())
        init_from(self.E, config.init_from, "encoder")
        self.E.to(config.device, memory_format=torch.channels_last)
        self.E.compute_dtype = dtype_of(config)      # of the light encoder; the other one computes in float32
        self.identity = identity_network(config.identity, config.device, dtype_of(config)) if config.identity else None
        self.ensemble = load_ensemble(self.features, config) if config.attribute_weight > 0 else []
        self.average = make_average(self.E)
        self.modules = {"E": self.E, "average": self.average}
        self.optimizers = {"E": adam(self.E, config)}
        self.data = training_pictures(config, self.G.resolution, self.group)
        self.best_metric = "l2_images" if config.images else "l2_renders"
        with torch.no_grad():
            z = torch.randn(4096, self.G.z_dim, generator=generator_at(0, 0, "variance"))
            w = map_random(self.G, z, lambda: torch.rand(4096, generator=generator_at(0, 0, "classes")))
            self.code_variance = float(w.var(dim=0).mean())
        self.D: LatentDiscriminator | None = None
        if config.latent_weight > 0:
            self.D = LatentDiscriminator(self.G.w_dim).to(config.device)
            self.D.centre.copy_(w.mean(dim=0))
            self.D.spread.copy_(w.std(dim=0) + 1e-6)
            self.modules["D"], self.optimizers["D"] = self.D, adam(self.D, config, LAZY_INTERVAL)

    def make_encoder(self) -> LightEncoder | Encoder4Editing:
        """A network with fresh weights for this generator."""
        config, G = self.config, self.G
        if config.encoder_type == "light":
            resolution = config.input_resolution or min(G.resolution, 256)
            return LightEncoder(LightEncoderConfig(resolution, G.num_ws, G.w_dim, light_channels(resolution),
                                                   coarse=COARSE, middle=MIDDLE))
        # Batch statistics stay as they are (in the ArcFace trunk, or neutral): they would differ between processes
        # and micro-batches, and a batch of pictures and samples is not what the encoder will see one by one.
        E = Encoder4Editing(StyleEncoderConfig(G.num_ws, G.w_dim, min(256, G.resolution))).eval()
        if Path(config.identity).suffix in (".pth", ".pt"):
            own, trunk = E.state_dict(), load_arcface(config.identity).state_dict()
            E.load_state_dict({k: trunk[k] if k in trunk and trunk[k].shape == v.shape else v for k, v in own.items()})
        return E

    def stage_at(self, seen: int) -> int:
        """How many offsets are free after `seen` images (progressive training of e4e, section 4.2)."""
        released = (seen / 1000 - self.config.stage_start_kimg) / self.config.stage_every_kimg
        return max(0, min(int(released), self.E.num_ws - 1))

    def parts(self) -> list[tuple[Tensor, Tensor]]:
        """Rows of the generated and of the training pictures, per micro-batch of this process."""
        half = self.config.batch // 2
        return list(zip(shares(self.config, half), shares(self.config, half), strict=True))

    def batch(self, seen: int, rows: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Pictures [B,3,R,R], the generated ones first, and the known codes of the first of them."""
        config, random = self.config, generator_at(self.config.seed, seen)
        count = config.batch // 2
        with torch.no_grad(), timed(self, "fakes"):
            z = torch.randn(count, self.G.z_dim, generator=random)[rows[0]]
            w = map_random(self.G, z, lambda: torch.rand(count, generator=random)[rows[0]])
            ws = w[:, None].repeat(1, self.G.num_ws, 1)
            made = self.G.synthesis(ws).clamp(-1, 1)
        with timed(self, "data"):
            draws = Draws(random, count, rows[1])
            indices = draws.numbers(self.data, seen // 2)                   # of a stream: only the real ones count
            mirror = draws.rand() < 0.5
            ws = torch.cat([ws, *self.codes_of(indices, mirror, draws)])
            pictures = self.data.batch(indices, mirror).to(config.device)
            if config.crop_error > 0:
                pictures = displace(pictures, config.crop_error, draws)
            return torch.cat([made, pictures]), ws

    def codes_of(self, indices: Tensor, mirror: Tensor, draws: Draws) -> list[Tensor]:
        """Known codes of these training pictures; none where pictures are not rendered."""
        return []

    def covered(self, images: Tensor, seen: int, rows: tuple[Tensor, Tensor]) -> Tensor:
        """What the encoder gets: the batch's pictures [B,3,R,R], with `paste` some of them with shapes on them."""
        config = self.config
        if config.paste <= 0:
            return images
        every = torch.cat([rows[0], rows[1] + config.batch // 2])
        draws = Draws(generator_at(config.seed, seen, "shapes"), config.batch, every)
        return paste_shapes(images, len(every), config.paste, draws)

    def step(self, seen: int) -> dict[str, float | Tensor]:
        config, parts, stage = self.config, self.parts(), self.stage_at(seen)
        self.E.stage = self.average.stage = stage
        batches = [self.batch(seen, rows) for rows in parts]
        covered = [self.covered(images, seen, rows) for (images, _), rows in zip(batches, parts, strict=True)]
        passed_on: list[Tensor] = []
        terms_d: list[dict[str, Tensor]] = []
        terms: list[dict[str, Tensor]] = []
        out: dict[str, float | Tensor] = {"stage": float(stage)}
        if self.D is not None:
            with timed(self, "D"):
                descend(self, "D", self.losses_d(seen, parts, covered, passed_on, terms_d))
            out.update(mean_terms(terms_d))
            self.D.requires_grad_(False)
        with timed(self, "E"):
            out["gradient"] = descend(self, "E", self.losses_e(batches, covered, passed_on, terms))
        if self.D is not None:
            self.D.requires_grad_(True)
        update_average(self.average, self.E, config.batch, config.ema_kimg, seen + config.batch)
        return {**mean_terms(terms), **out}

    def losses_e(self, batches: list[tuple[Tensor, Tensor]], covered: list[Tensor], passed_on: list[Tensor],
                 terms: list[dict[str, Tensor]]) -> Iterator[Tensor]:
        """The encoder's loss per micro-batch."""
        config, stage = self.config, self.E.stage
        weights = (config.l2_weight, config.perceptual_weight, config.attribute_weight)
        compares = max(weights) > 0 or self.identity is not None
        for (images, ws), inputs, (made, _) in zip(batches, covered, self.parts(), strict=True):
            codes = passed_on.pop() if passed_on else self.E(inputs)
            loss, found = torch.zeros((), device=codes.device), {}
            if compares:
                inverted = self.G.synthesis(codes)
                found["l2"] = (inverted - images).square().mean()
                found["perceptual"] = self.features.distance(inverted, images).mean()
                loss = loss + config.l2_weight * found["l2"] + config.perceptual_weight * found["perceptual"]
                if self.ensemble:
                    found["attribute"] = mean_difference(self.ensemble, inverted, images)
                    loss = loss + config.attribute_weight * found["attribute"]
            if len(ws):
                known = self.distance(codes[:len(ws)], ws).split([len(made), len(ws) - len(made)])
                for name, weight, part in zip(("code", "pairs"), (config.code_weight, self.pairs), known, strict=True):
                    if len(part):
                        found[name] = part.mean()
                        loss = loss + weight * found[name]
            if self.identity is not None:
                similarity = (self.identity(inverted) * self.identity(images)).sum(dim=1).mean()
                loss, found["identity"] = loss + IDENTITY_WEIGHT * (1 - similarity), similarity
            if stage > 0:
                delta = (codes[:, 1:stage + 1] - codes[:, :1]).square().mean() / self.code_variance
                loss, found["delta"] = loss + config.delta_weight * delta, delta
            if self.D is not None:
                adversarial = generator_loss(self.D(codes[:, :stage + 1].flatten(0, 1)))
                loss, found["latent"] = loss + config.latent_weight * adversarial, adversarial
            terms.append({k: v.detach() for k, v in found.items()})
            yield loss

    def distance(self, codes: Tensor, known: Tensor) -> Tensor:
        """Mean squared distance of codes [B,num_ws,w_dim] to known ones, in units of variance: [B]."""
        return (codes - known).square().mean(dim=(1, 2)) / self.code_variance

    def losses_d(self, seen: int, parts: list[tuple[Tensor, Tensor]], covered: list[Tensor],
                 passed_on: list[Tensor], terms: list[dict[str, Tensor]]) -> Iterator[Tensor]:
        """The latent discriminator's: mapped vectors against vectors of pictures [N,w_dim], as many of each."""
        config, count = self.config, self.E.stage + 1
        for (made, real_rows), inputs in zip(parts, covered, strict=True):
            with torch.set_grad_enabled(len(parts) == 1):
                codes = self.E(inputs)
            if len(parts) == 1:
                passed_on.append(codes)                   # the same graph serves the encoder
            rows = torch.cat([made, real_rows + config.batch // 2])
            draws = Draws(generator_at(config.seed, seen, "latent discriminator"), config.batch, rows)
            with torch.no_grad():
                z = draws.randn(count, self.G.z_dim).flatten(0, 1)
                real = map_random(self.G, z, lambda n=count, d=draws: d.rand(n).flatten())
            loss = discriminator_loss(self.D(real), self.D(codes[:, :count].detach().flatten(0, 1)))
            terms.append({"latent_D": loss.detach()})
            if (seen // config.batch) % LAZY_INTERVAL == 0:
                r1 = r1_penalty(self.D, real)
                loss = loss + r1 * (LATENT_R1_GAMMA * 0.5 * LAZY_INTERVAL * self.code_variance)
            yield loss

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """L2 of the inversion on generated pictures and on the first training pictures (not held out)."""
        z = torch.randn(256, self.G.z_dim, generator=generator_at(1, 0, "validate"))
        w = map_random(self.G, z, lambda: torch.rand(256, generator=generator_at(1, 0, "classes")))
        made = [self.G.synthesis(part[:, None].repeat(1, self.G.num_ws, 1)).clamp(-1, 1) for part in w.split(16)]
        real = [self.data.batch(part).to(self.config.device) for part in first(self.data, 256).split(16)]
        return {name: float(torch.cat([self.error(x) for x in parts]).mean())
                for name, parts in (("l2_generated", made), (self.best_metric, real))}

    def error(self, images: Tensor) -> Tensor:
        """L2 [B] of the average encoder's inversion."""
        return (self.G.synthesis(self.average(images)).clamp(-1, 1) - images).square().mean(dim=(1, 2, 3))

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        images = self.data.batch(first(self.data, 16)).to(self.config.device)
        inverted = self.G.synthesis(self.average(images)).clamp(-1, 1)
        grid(compared([images, inverted]), columns=8).save(path)

    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        provenance = {**provenance, "fingerprints": {"generator": self.G.fingerprint}}
        save_checkpoint(path, "encoder", describe(self.average), dict(self.average.state_dict()), provenance,
                        dtype=torch.float16)
