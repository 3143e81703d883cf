"""The joint stage: a generator that learns as the decoder of its encoder. Ours, beyond the paper.

Adversarial training alone needs days on a GPU before a small StyleGAN2 draws faces. Here half of each batch are
reconstructions G(E(x)), compared with x in pixels and in ImageNet features; the other half are decoded mixes of two
codes, so that what lies between two people is a person too. A projected discriminator looks at both, and the code of
a decoded mix has to be found again. Held-out pictures are never trained on.

It writes generator.safetensors and encoder.safetensors, which fit together.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core.checkpoints import load_generator, read_checkpoint, save_checkpoint
from reganie_core.errors import InputError
from reganie_core.networks import describe
from reganie_core.networks.joint_encoder import LAST_SIZE, JointEncoder, JointEncoderConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

from ..data.sources import open_pictures
from ..loop.config import StageConfig, option
from ..loop.ema import make_average, update_average
from ..loop.optimisation import descend, dtype_of
from ..loop.randomness import generator_at
from ..sheets import compared, grid
from .joint_export import into_w, move_codes
from .joint_networks import FeatureHeads, Features, ImageNetFeatures, augment, jitter

HELD_OUT = 20          # one picture in so many, by the hash of its name, is never trained on
NOISE = 0.1            # standard deviation of the noise on codes
GROWING = 20_000       # pictures over which the adversarial weight grows from .1 to 1: at first D leads
LR_E, LR_D = 0.25, 0.1  # learning rates of E and D, as shares of G's


@dataclass
class JointStageConfig(StageConfig):
    batch: int = 16
    total_kimg: float = 200.0
    ema_kimg: float = 10.0
    images: str = option("", "your pictures: a folder, .zip, .tar or shards")
    resolution: int = option(64, "of the pictures, a power of two")
    channels: tuple[int, ...] = option((192, 192, 160, 96, 48), "of the generator at 4, 8, ... resolution")
    encoder_channels: tuple[int, ...] = option((48, 64, 128, 192, 256),
                                               "of the encoder, from its input's size down to 4")
    w_dim: int = option(128, "width of a style vector")
    pixel_weight: float = option(6.0, "L1")
    feature_weight: float = option(3.0, "squared distance of unit features, four scales")
    difference_weight: float = option(0.03, "of the layers' differences from their common code, squared")

    def validate(self) -> None:
        super().validate()
        if self.batch % 4:
            raise InputError(f"batch is a multiple of 4 (half reconstructions, half mixes of two); found {self.batch}.")


class JointStage:
    config_class = JointStageConfig
    kind = "generator"

    def __init__(self, config: JointStageConfig, features: Features | None = None) -> None:
        if not config.images:
            raise InputError("The joint stage learns from pictures: give images=FOLDER.")
        self.config = config
        torch.manual_seed(config.seed)
        dtype, device = dtype_of(config), config.device
        self.pictures = open_pictures(config.images, config.resolution, config.seed)
        self.trained, self.held_out = split([self.pictures.name(i) for i in range(len(self.pictures))])
        self.features: Any = ImageNetFeatures(device, dtype) if features is None else features
        self.G = Generator(GeneratorConfig(config.resolution, config.channels, 128, config.w_dim, mapping_layers=1,
                                           mapping_lr_multiplier=1.0)).to(device)
        if dtype != torch.float32:
            self.G.synthesis.set_precision(dtype, len(config.channels))
        looked_at = LAST_SIZE << (len(config.encoder_channels) - 1)     # px; may be less than the generator's
        self.E = JointEncoder(JointEncoderConfig(looked_at, self.G.num_ws, config.w_dim, config.encoder_channels))
        self.E.compute_dtype = dtype
        self.E.to(device, memory_format=torch.channels_last)
        if config.init_from:
            self._grow(Path(config.init_from))
        with torch.no_grad():
            maps = self.features(torch.zeros(1, 3, config.resolution, config.resolution, device=device))
        self.D = FeatureHeads(tuple(m.shape[1] for m in maps), tuple(m.shape[-1] for m in maps), dtype).to(device)
        self.averages = nn.ModuleList([make_average(self.G), make_average(self.E)])
        self.modules = {"G": self.G, "E": self.E, "D": self.D, "average": self.averages}
        adam = {"lr": config.lr, "betas": (config.beta1, config.beta2), "eps": 1e-8, "fused": True}
        learned = [p for p in self.D.parameters() if p.requires_grad]
        self.optimizers = {
            "GE": torch.optim.Adam([{"params": list(self.G.synthesis.parameters())},
                                    {"params": list(self.E.parameters()), "lr": LR_E * config.lr,
                                     "betas": (0.5, config.beta2)}], **adam),
            "D": torch.optim.Adam(learned, **{**adam, "lr": LR_D * config.lr})}

    def _grow(self, path: Path) -> None:
        """Start from a smaller or equal result. Only sizes that are new begin from nothing."""
        for network, file, kind in ((self.G, path, "generator"),
                                    (self.E, path.with_name("encoder.safetensors"), "encoder")):
            known, own = read_checkpoint(file, kind=kind).tensors, network.state_dict()
            known = (enlarged(known, self.E.config) if kind == "encoder" else        # no mapping network is trained
                     {k: v for k, v in known.items() if not k.startswith("mapping.fc")})
            fitting = {k: v for k, v in known.items() if k in own and own[k].shape == v.shape}
            other = [k for k in known if k in own and k not in fitting and not k.startswith("stem.")]
            if other or not fitting:
                raise InputError(f"The {kind} of init_from={path} has other widths than this config: {len(other)} "
                                 f"layers differ{', ' + other[0] + ' for one' if other else ''}. Compare channels, "
                                 "encoder_channels and w_dim.")
            if kind == "generator":      # new sizes begin without a picture of their own: the enlarged smaller one
                own = {k: torch.zeros_like(v) if k.endswith(("torgb.weight", "torgb.bias")) else v
                       for k, v in own.items()}
            network.load_state_dict({**own, **fitting})
        move_codes(self.G, -self.G.w_avg)      # codes begin with a mean of 0, as those of a new encoder
        self.G.w_avg.zero_()

    def step(self, seen: int) -> dict[str, Tensor]:
        """One step of D, then one of G and E together, on ``batch`` pictures."""
        config, random = self.config, generator_at(self.config.seed, seen)
        drawn = torch.randint(len(self.trained), (config.batch,), generator=random)
        x = self.pictures.batch(self.trained[drawn], torch.rand(config.batch, generator=random) < 0.5)
        x = jitter(x.to(config.device), random)
        half = x[:config.batch // 2]

        common, differences = self.E.parts(half)
        code = common + differences
        share = torch.rand(len(half), 1, 1, generator=random).to(code)
        mixed = torch.lerp(code, code.roll(1, 0), share).detach() + self.noise(code, random)
        noise_seed = int(torch.randint(2**31, (1,), generator=random))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(noise_seed)
            pictures = self.G.synthesis(torch.cat([mixed, code + self.noise(code, random)]), noise="random").float()
        outside = F.relu(pictures.abs() - 1.0).square().mean()
        pictures = pictures.clamp(-1.0, 1.0)
        samples, reconstructions = pictures.chunk(2)

        logits = self.D(self.features(augment(torch.cat([x, pictures.detach()]), random)))
        real, fake = logits.chunk(2)
        loss_d = F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()
        descend(self, "D", loss_d)

        adversarial = -self.D(self.features(augment(pictures, random))).mean()
        with torch.no_grad():
            wanted = self.features(half)
        feature = sum((unit(a) - unit(b)).square().sum(1).mean()
                      for a, b in zip(self.features(reconstructions), wanted, strict=True))
        pixel = (reconstructions - half).abs().mean()
        found = sum(self.E.parts(samples.detach()))
        again = F.smooth_l1_loss(found, mixed)
        difference = differences.square().sum(-1).mean()
        loss = (min(1.0, 0.1 + seen / GROWING) * adversarial + 10.0 * outside + config.pixel_weight * pixel
                + config.feature_weight * feature + again + config.difference_weight * difference
                + 0.002 * code.square().sum(-1).mean())
        norm = descend(self, "GE", loss)
        for average, network in zip(self.averages, (self.G, self.E), strict=True):
            update_average(average, network, config.batch, config.ema_kimg, seen + config.batch)
        return {"D": loss_d.detach(), "adversarial": adversarial.detach(), "pixel": pixel.detach(),
                "feature": feature.detach(), "code": again.detach(), "gradient": norm}

    def noise(self, code: Tensor, random: torch.Generator) -> Tensor:
        """The same for all layers of a code: ``[B,1,w_dim]``."""
        return NOISE * torch.randn(len(code), 1, code.shape[2], generator=random).to(code)

    @torch.inference_mode()
    def _inverted(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Codes and pictures of the averaged networks, in float32."""
        G, E = self.averages
        codes = torch.cat([E(x.to(self.config.device)) for x in images.split(50)])
        return codes, torch.cat([G.synthesis(c, noise="const").float().clamp(-1, 1) for c in codes.split(50)])

    def validate(self) -> dict[str, float]:
        """Mean squared error of inversions of held-out pictures."""
        images = self.pictures.batch(self.held_out[:200])
        return {"held_out_l2": float((self._inverted(images)[1].cpu() - images).square().mean())}

    @torch.inference_mode()
    def sheet(self, path: Path) -> None:
        """Held-out pictures, their inversions, and what lies half-way to the next one's code."""
        images = self.pictures.batch(self.held_out[:16])
        codes, inverted = self._inverted(images)
        between = self.averages[0].synthesis((codes + codes.roll(1, 0)) / 2.0, noise="const").float().clamp(-1, 1)
        pictures = compared([images, inverted.cpu(), between.cpu()])
        people = min(2, len(images))            # in a row
        grid(pictures, 3 * people, ("picture", "inversion", "half-way") * people).save(path)

    @torch.inference_mode()
    def export(self, path: Path, provenance: dict[str, Any]) -> None:
        """Both averaged networks in W, with a mapping network; see `into_w`."""
        some = self.trained[:: max(1, len(self.trained) // 2000)]
        G, E = (make_average(network).cpu().float() for network in self.averages)
        E.compute_dtype = self.E.compute_dtype
        features = torch.cat([E.trunk(self.pictures.batch(part)) for part in some.split(50)])
        G, E = into_w(G, E, features.float())
        save_checkpoint(path, "generator", describe(G), dict(G.state_dict()), provenance, dtype=torch.float16)
        prints = {"generator": load_generator(path).fingerprint}
        beside = path.with_name(path.name.replace("generator", "encoder", 1))
        save_checkpoint(beside, "encoder", describe(E), dict(E.state_dict()), {**provenance, "fingerprints": prints},
                        dtype=torch.float16)


def enlarged(tensors: dict[str, Tensor], config: JointEncoderConfig) -> dict[str, Tensor]:
    """A smaller encoder's tensors for a larger one.

    Blocks are numbered from the input's size, which may have grown; layers that are new get the last one's difference.
    The mean code, ``latent_avg``, is left out.
    """
    ahead = len(config.channels) - len({key.split(".")[1] for key in tensors if key.startswith("blocks.")})
    out = {}
    for key, value in tensors.items():
        if key.startswith("blocks."):
            _, number, rest = key.split(".", 2)
            key = f"blocks.{int(number) + ahead}.{rest}"
        elif key.startswith("differences."):
            layers = value.unflatten(0, (-1, config.w_dim))
            new = layers[-1:].expand(max(config.num_ws - len(layers), 0), *layers.shape[1:])
            value = torch.cat([layers, new]).flatten(0, 1)
        out[key] = value
    out.pop("latent_avg", None)
    return out


def split(names: list[str]) -> tuple[Tensor, Tensor]:
    """Numbers of the pictures to train on, and of those never trained on, by the hash of their files' names."""
    files = [name.replace("\\", "/").rsplit("/", 1)[-1] for name in names]     # the same wherever the folder lies
    held = torch.tensor([int(hashlib.sha256(file.encode()).hexdigest(), 16) % HELD_OUT == 0 for file in files])
    numbers = torch.arange(len(names))
    trained, held_out = numbers[~held], numbers[held]
    if not len(held_out):
        trained, held_out = numbers[1:], numbers[:1]
    if not len(trained):
        raise InputError(f"{len(names)} pictures are too few to train on some and look at others; give more.")
    return trained, held_out


def unit(features: Tensor) -> Tensor:
    """Features of unit length in every place."""
    features = features.float()
    return features / (features.square().sum(1, keepdim=True) + 1e-4).sqrt()
